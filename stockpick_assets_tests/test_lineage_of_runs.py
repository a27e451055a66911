"""A message is traced back through what runs have written: the IO manager and the asset picks are the real ones."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.picks import picks
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, minute_label
from stockpick_assets.core.messages import message_id
from stockpick_assets.core.schemas import FEATURE_ROWS, PREDICTIONS, RAW_PRICES
from stockpick_assets.core.versions import stamped
from stockpick_assets.io_managers import Extent, TableIOManager
from stockpick_assets.jobs import LIVE
from stockpick_assets.lineage import Step, trace
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store
from stockpick_assets_tests.null_flow import NULL_FLOW, TICKERS
from stockpick_assets_tests.picks import minute
from stockpick_assets_tests.rows import SESSION, bars
from stockpick_assets_tests.traced import steps


def run(store: Store, first: int, last: int, close: float) -> str:
    """A run of the flow at the close of the minute `last`, with bars of that close; its id."""
    wall = minute(last) + MINUTE
    now = Now(MarketClock(), lambda: wall)

    @dg.asset(**NULL_FLOW.minutely(RAW_PRICES.name, description=None, kinds=set()))
    def raw_prices() -> pa.Table:
        return bars(last - first + 1, start=first, tickers=TICKERS, close=close, fetched_at=wall)

    @dg.asset(
        **NULL_FLOW.minutely(FEATURE_ROWS.name, description=None, kinds=set()),
        ins={"bars": NULL_FLOW.reads(RAW_PRICES.name, Extent.SESSION_SO_FAR)},
    )
    def features(bars: pa.Table) -> pa.Table:
        return of_minutes(stamped(bars, bars), FEATURE_ROWS.columns, first)

    @dg.asset(
        **NULL_FLOW.minutely(PREDICTIONS.name, description=None, kinds=set()),
        ins={"features": NULL_FLOW.reads(FEATURE_ROWS.name, Extent.MINUTES)},
    )
    def predictions(features: pa.Table) -> pa.Table:
        return of_minutes(features, PREDICTIONS.columns, first)

    tables = Tables(s3=S3Resource(), bucket="", source=store.source, root=store.root)
    io_manager = TableIOManager(tables=tables, now=now, live_job=LIVE)
    keys = [f"{minute_label(minute(at))}|{ticker}" for at, ticker in ((first, TICKERS[0]), (last, TICKERS[-1]))]
    return dg.materialize(
        [raw_prices, features, predictions, picks(NULL_FLOW)],
        resources={"io_manager": io_manager, "now": now, "tables": tables},
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[1]},
    ).run_id


def of_minutes(rows: pa.Table, schema: pa.Schema, first: int) -> pa.Table:
    """The rows from the minute `first` on, nulls in the columns that they have not."""
    kept = [row for row in rows.to_pylist() if row["minute"] >= minute(first)]
    return pa.Table.from_pylist(kept, schema=schema)


def closes(step: Step) -> list[tuple[float, datetime]]:
    return [(row["close"], row["fetched_at"]) for row in step.rows]


def test_each_row_of_a_message_is_what_its_run_read_though_later_runs_revised_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "simulated", {})
    opening = run(store, 0, 2, 100.0)
    live = run(store, 3, 3, 101.0)
    late = run(store, 0, 4, 200.0)
    of_run = {}
    for at, wanted in ((3, live), (2, opening), (4, late)):
        found = trace(store, message_id("simulated", minute(at), "AMD"), 1, 390)
        of_run[at] = {step.name: step for step in steps(found.step)}
        assert [step.remark for step in of_run[at].values()] == [None] * 5
        written = [step.written.run_id for step in of_run[at].values() if step.written]
        assert written == [wanted] * 3
        of_features, bars_read = of_run[at]["features"], of_run[at]["bars"]
        assert bars_read.values["newest_fetched_at_of_all_tickers"] == of_features.values["bars_fetched_at"]
    before, after = minute(3), minute(4)
    assert closes(of_run[2]["bars"]) == [(100.0, before)] * 3
    assert closes(of_run[3]["bars"]) == [(100.0, before)] * 3 + [(101.0, after)]
    assert closes(of_run[4]["bars"]) == [(200.0, minute(5))] * 5
    assert of_run[3]["bars for price and changes"].rows == of_run[3]["bars"].rows

    store.compact("raw_prices", SESSION.date)
    store.vacuum("raw_prices", timedelta(0))
    for at in (2, 3):
        again = trace(store, message_id("simulated", minute(at), "AMD"), 1, 390)
        (found_again,) = [step for step in steps(again.step) if step.name == "bars"]
        assert "no longer kept" in (found_again.remark or "")
        assert closes(found_again) == closes(of_run[at]["bars"])
