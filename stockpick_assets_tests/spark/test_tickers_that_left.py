"""A session that lacks rows of a ticker, beside sessions that have them: its features are as if that had no bar."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster_pyspark import PySparkResource
from pyspark.sql import SparkSession

from stockpick_assets.assets.features import features
from stockpick_assets.core.factors import factors
from stockpick_assets.core.market_hours import MINUTE, session_before
from stockpick_assets.core.schemas import FACTORS, FEATURE_ROWS, PREDICTIONS, RAW_PRICES, TRAINING_SET
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.jobs import LIVE
from stockpick_assets.partitions import Window
from stockpick_assets.store import Store
from stockpick_assets.walk_forward import Completed, Market, Terms, Walk
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at, tables
from stockpick_assets_tests.spark.market import PRICES, market

BEFORE = session_before(SESSION)
*STAYED, LEFT = [f"T{number:02d}" for number in range(6)]
MINUTES = 40
STARTED = (SESSION.open, SESSION.open + (MINUTES - 1) * MINUTE)


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """All tickers in the session before, and in this one those that stayed."""
    first, second = market(BEFORE.date, tickers=6, minutes=390), market(SESSION.date, tickers=6, minutes=MINUTES)
    known = pa.concat_tables([first, second.filter(pc.not_equal(second["ticker"], LEFT))])
    return fetched(known)


def fetched(bars: pa.Table) -> pa.Table:
    """The bars, each known at its minute."""
    for column in ("known_at", "fetched_at"):
        place = bars.column_names.index(column)
        bars = bars.set_column(place, bars.schema.field(column), bars["minute"])
    return bars


def of(table: pa.Table, first: datetime) -> pa.Table:
    return table.filter(pc.greater_equal(table["minute"], pa.scalar(first, table.schema.field("minute").type)))


class Given(PySparkResource):
    """The session of the tests, which no run closes."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._spark_session = SparkSession.getActiveSession()


def made(folder: Path, first: datetime, last: datetime) -> pa.Table:
    """What a run of the asset of these minutes stores."""
    window = Window((BEFORE, SESSION), tuple(STAYED))
    flow = replace(FLOW, window=window)
    held, now = tables(folder), at(SESSION.open)
    upstream = [
        dg.AssetSpec(flow.key(RAW_PRICES.name), partitions_def=window.ticker_minutes),
        dg.AssetSpec(flow.key(FACTORS.name), partitions_def=window.session_partitions),
    ]
    dg.materialize(
        [*upstream, features(flow)],
        selection=[flow.key(FEATURE_ROWS.name)],
        tags=window.select(first, last, STAYED).tags(),
        resources={
            "pyspark": Given(spark_config={}),
            "io_manager": TableIOManager(tables=held, now=now, live_job=LIVE),
        },
    )
    return of(held.store().read(FEATURE_ROWS.name).replace_schema_metadata(None), first)


def test_a_run_of_two_sessions_makes_of_each_what_a_run_of_it_alone_makes(
    spark: SparkSession, bars: pa.Table, tmp_path: Path
) -> None:
    store = Store(str(tmp_path), FLOW.source, {})
    store.append(RAW_PRICES.name, bars, {})
    past = bars.filter(pc.equal(bars["session"], pa.scalar(BEFORE.date)))
    store.append(FACTORS.name, factors(SESSION, STAYED, FLOW.source, past, TRAINING_SET.empty()), {})
    alone = made(tmp_path, *STARTED)
    both = made(tmp_path, BEFORE.last_minute - MINUTE, STARTED[1])
    assert alone["reversal"].null_count < alone.num_rows / 10
    assert of(both, SESSION.open).equals(alone)
    assert both["reversal"].null_count - alone["reversal"].null_count < len(STAYED)


def test_a_walk_makes_of_a_session_without_a_ticker_what_it_makes_of_one_whose_bars_are_null(
    spark: SparkSession, bars: pa.Table
) -> None:
    of_before, of_session = (bars.filter(pc.equal(bars["session"], pa.scalar(one.date))) for one in (BEFORE, SESSION))
    given = market(SESSION.date, tickers=6, minutes=MINUTES).to_pandas()
    given.loc[given["ticker"] == LEFT, [*PRICES, "volume"]] = None
    nulls = fetched(pa.Table.from_pandas(given, bars.schema, preserve_index=False))
    both = {BEFORE: of_before, SESSION: of_session}
    walk = Walk(spark, Market("simulated", tuple(both), (*STAYED, LEFT), both.__getitem__), Terms(("linear",), 2.0, 7))
    past = [Completed(BEFORE, of_before, TRAINING_SET.empty(), PREDICTIONS.empty())]

    def walked(versions: pa.Table) -> pd.DataFrame:
        rows = walk.forecast(SESSION, versions, past).features.to_pandas()
        return rows[rows["ticker"] != LEFT].reset_index(drop=True)

    answer, expected = walked(of_session), walked(nulls)
    assert expected["reversal"].notna().mean() > 0.9
    pd.testing.assert_frame_equal(answer, expected, rtol=0, atol=1e-12)
