"""The markets that are walked through, and which sessions another may be made of."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets import walk_forward
from stockpick_assets.assets import performance
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.store import Store
from stockpick_assets.walk_forward import earlier, market_of_store
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars
from stockpick_assets_tests.short_market import short_market


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


@given(st.lists(st.dates(), unique=True).map(sorted), st.dates())
def test_a_session_is_made_of_earlier_ones_alone(sessions: list[date], session: date) -> None:
    read = earlier(sessions, session)
    assert set(read) == {day for day in sessions if (session - day).days > 0}
    assert read == sorted(read)


def test_features_are_compared_with_as_many_sessions_as_in_the_asset() -> None:
    assert walk_forward.REFERENCE_SESSIONS == performance.REFERENCE_SESSIONS
