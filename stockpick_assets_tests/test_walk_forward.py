"""The markets that are walked through, and which sessions another may be made of."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, sessions_until
from stockpick_assets.core.schemas import PREDICTIONS, RAW_PRICES
from stockpick_assets.spark.training import FIT_SESSIONS, FittedModel
from stockpick_assets.store import Store
from stockpick_assets.walk_forward import Completed, Steps, Terms, Walk, earlier, market_of_store
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars
from stockpick_assets_tests.short_market import short_market
from stockpick_assets_tests.spark.learnt import training_set


def test_the_sessions_of_a_store_have_every_version_of_their_bars(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "simulated", {})
    first = bars(3, tickers=("MSFT", "AAPL"))
    revised = bars(1, close=101.0, fetched_at=FETCHED_AT + MINUTE)
    store.append(RAW_PRICES.name, pa.concat_tables([first, revised]), {})
    market = market_of_store(store)
    assert (market.source, market.sessions, market.tickers) == ("simulated", (SESSION,), ("AAPL", "MSFT"))
    assert market.versions(SESSION).num_rows == 7


def test_a_store_whose_bars_were_removed_is_no_empty_market(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "simulated", {})
    store.append(RAW_PRICES.name, RAW_PRICES.empty(), {})
    with pytest.raises(StockpickError, match="raw_prices has no rows yet; `stockpick backfill` fetches sessions"):
        market_of_store(store)


def test_a_market_until_a_session_has_that_and_as_many_before_as_there_are() -> None:
    days = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]
    market = short_market(days, tickers=1, minutes=5)
    middle = market.sessions[1]
    assert [session.date for session in market.until(middle, 0).sessions] == days[1:2]
    assert [session.date for session in market.until(middle, 5).sessions] == days[:2]


def test_bars_of_a_source_are_those_known_after_the_close() -> None:
    market = short_market([date(2026, 11, 20)], tickers=2, minutes=390)
    rows = market.versions(market.sessions[0])
    assert rows.num_rows == 2 * 390
    assert set(rows["reason"].to_pylist()) <= {"present", "no_trade"}


def test_models_are_fitted_to_the_newest_sessions_alone() -> None:
    days = [session.date for session in sessions_until(date(2026, 11, 20), FIT_SESSIONS + 3)]
    read: list[date] = []

    def fit(spark: Any, training: pa.Table, *rest: Any) -> tuple[FittedModel]:
        read.extend(training["session"].to_pylist())
        return (FittedModel("linear", None, None, (), 0, None, None),)

    market = short_market(days, tickers=1, minutes=5)
    walk = Walk(Any, market, Terms(("linear",), cost_bp=2.0, seed=7), Steps(fit=fit))
    past = [
        Completed(session, RAW_PRICES.empty(), training_set([session.date], tickers=2, minutes=1), PREDICTIONS.empty())
        for session in market.sessions
    ]
    walk.models(market.sessions[-1], past)
    assert sorted(set(read)) == days[2:-1]


@given(st.lists(st.dates(), unique=True).map(sorted), st.dates())
def test_a_session_is_made_of_earlier_ones_alone(sessions: list[date], session: date) -> None:
    read = earlier(sessions, session)
    assert set(read) == {day for day in sessions if (session - day).days > 0}
    assert read == sorted(read)
