"""The asset `factors` in Dagster: which sessions it reads, and that it writes its session as one whole."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.factors import factors
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import Session, sessions_until
from stockpick_assets.core.schemas import FACTORS, RAW_PRICES, TRAINING_SET
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store
from stockpick_assets_tests.core.test_factors import bars_of
from stockpick_assets_tests.null_flow import NULL_FLOW, TICKERS

SESSIONS = tuple(sessions_until(date(2026, 11, 20), 3))
*EARLIER, SESSION = SESSIONS


def append(store: Store, session: Session, tickers: Sequence[str] = TICKERS) -> None:
    """Bars of a session."""
    random = np.random.default_rng(session.date.toordinal())
    shape = (session.length, len(tickers))
    closes = 50 * np.exp(random.normal(0, 1e-3, shape).cumsum(axis=0))
    bars = bars_of(session, closes, np.ceil(random.uniform(1, 100, shape)), tickers)
    source = pa.array([NULL_FLOW.source] * bars.num_rows)
    store.append(RAW_PRICES.name, bars.set_column(bars.column_names.index("source"), "source", source), {})


def materialize(root: Path, tickers: tuple[str, ...] = TICKERS) -> pa.Table:
    """Run the asset for SESSION; returns what is stored of it then."""
    flow = replace(NULL_FLOW, window=Window(SESSIONS, tickers))
    tables = Tables(s3=S3Resource(), bucket="none", source=flow.source, root=str(root))
    now = Now(MarketClock())
    bars = dg.AssetSpec(flow.key(RAW_PRICES.name), partitions_def=flow.window.ticker_minutes)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [bars, factors(flow)],
            instance=instance,
            partition_key=SESSION.label(),
            resources={"tables": tables, "io_manager": TableIOManager(tables=tables, now=now, live_job="live")},
        )
    return tables.store().read(FACTORS.name).replace_schema_metadata(None)


def test_factors_rest_on_earlier_sessions_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path), NULL_FLOW.source, {})
    for session in EARLIER:
        append(store, session)
    before = materialize(tmp_path)
    assert before["sessions"].to_pylist() == [2] * len(TICKERS)
    append(store, SESSION)
    assert materialize(tmp_path).equals(before)


def test_without_any_session_before_every_ticker_has_a_row_that_knows_nothing(tmp_path: Path) -> None:
    made = materialize(tmp_path)
    assert made["ticker"].to_pylist() == list(TICKERS)
    assert made["sig_before"].null_count == len(TICKERS)


def test_slopes_are_read_from_the_training_sets_of_earlier_sessions(tmp_path: Path) -> None:
    store = Store(str(tmp_path), NULL_FLOW.source, {})
    rows = [
        {
            "session": session.date,
            "minute": session.open,
            "ticker": ticker,
            "source": NULL_FLOW.source,
            "neutral_e1": 1.0,
            "neutral_forward": 0.5 if session is not SESSION else 100.0,
        }
        for session in SESSIONS
        for ticker in TICKERS
    ]
    store.append(TRAINING_SET.name, pa.Table.from_pylist(rows, schema=TRAINING_SET.columns), {})
    assert materialize(tmp_path)["slope_e1"].to_pylist() == [0.5] * len(TICKERS)


def test_no_row_is_left_of_a_ticker_that_has_left_the_window(tmp_path: Path) -> None:
    append(Store(str(tmp_path), NULL_FLOW.source, {}), EARLIER[-1])
    materialize(tmp_path)
    fewer = TICKERS[1:]
    made = materialize(tmp_path, fewer)
    assert made["ticker"].to_pylist() == list(fewer)
    assert {len(row) for row in made["projection"].to_pylist()} == {len(fewer)}
