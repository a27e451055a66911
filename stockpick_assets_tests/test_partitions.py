"""The partitions: which minutes exist, and what a run's range of keys stands for."""

import re
from datetime import date, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE, NEW_YORK, session_on, sessions_until
from stockpick_assets.partitions import SelectionError, Window

TICKERS = ("AAPL", "AMD", "MSFT", "NVDA")
WINDOW = Window(tuple(sessions_until(date(2026, 11, 20), 3)), TICKERS)


def minutes_at(window: Window, wall: datetime) -> list[str]:
    with partition_loading_context(effective_dt=wall):
        return list(window.minutes.get_partition_keys())


def test_a_week_with_a_holiday_and_a_half_day_has_just_the_minutes_the_exchange_was_open() -> None:
    window = Window(tuple(sessions_until(date(2025, 12, 1), 4)), TICKERS)
    keys = window.minutes.get_partition_keys()
    days = {key[:10]: [other for other in keys if other[:10] == key[:10]] for key in keys}
    assert {day: (len(minutes), minutes[0][11:], minutes[-1][11:]) for day, minutes in days.items()} == {
        "2025-11-25": (390, "09:30", "15:59"),
        "2025-11-26": (390, "09:30", "15:59"),
        "2025-11-28": (210, "09:30", "12:59"),
        "2025-12-01": (390, "09:30", "15:59"),
    }


@pytest.mark.parametrize(
    ("friday", "monday", "openings"),
    [(date(2026, 3, 6), date(2026, 3, 9), (14, 13)), (date(2026, 10, 30), date(2026, 11, 2), (13, 14))],
    ids=["into summer", "out of summer"],
)
def test_a_window_over_a_clock_change_has_every_minute_of_both_sides_once(
    friday: date, monday: date, openings: tuple[int, int]
) -> None:
    sessions = (session_on(friday), session_on(monday))
    assert tuple(session.open.hour for session in sessions) == openings  # UTC
    keys = list(Window(sessions, TICKERS).minutes.get_partition_keys())
    of_a_day = [f"{9 + (30 + number) // 60:02}:{(30 + number) % 60:02}" for number in range(390)]
    assert keys == [f"{day} {minute}" for day in (friday, monday) for minute in of_a_day]


def test_the_last_minute_of_a_session_exists_as_soon_as_it_has_closed() -> None:
    close = datetime(2026, 11, 20, 16, 0, tzinfo=NEW_YORK)
    assert minutes_at(WINDOW, close - timedelta(seconds=1))[-1] == "2026-11-20 15:58"
    assert minutes_at(WINDOW, close)[-1] == "2026-11-20 15:59"


def test_the_newest_model_has_a_partition_for_the_session_after_the_window() -> None:
    keys = WINDOW.session_partitions.get_partition_keys()
    assert list(keys) == ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-23"]


@given(data=st.data())
def test_the_keys_of_a_selection_lead_back_to_it(data: st.DataObject) -> None:
    session = data.draw(st.sampled_from(WINDOW.sessions))
    offsets = sorted(data.draw(st.tuples(st.integers(0, 389), st.integers(0, 389))))
    ends = sorted(data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3))))
    selection = WINDOW.select(
        session.open + MINUTE * offsets[0], session.open + MINUTE * offsets[1], TICKERS[ends[0] : ends[1] + 1]
    )
    assert WINDOW.selection(selection.keys, "prices") == selection
    assert selection.size == (offsets[1] - offsets[0] + 1) * (ends[1] - ends[0] + 1)


def test_the_size_of_a_selection_over_several_sessions_is_the_number_of_its_partitions() -> None:
    selection = WINDOW.select(WINDOW.sessions[0].last_minute, WINDOW.sessions[2].open)
    keys = WINDOW.ticker_minutes.get_partition_keys_in_range(selection.keys)
    assert selection.size == len(keys) == (1 + 390 + 1) * 4


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-11-20 09:30|AAPL", "2026-11-20 09:31|TSLA", "TSLA"),
        ("2026-11-21 09:30|AAPL", "2026-11-21 09:31|AAPL", "no trading session"),
        ("2026-11-20 09:29|AAPL", "2026-11-20 09:31|AAPL", "outside the session"),
        ("2026-11-20 09:31|AAPL", "2026-11-20 09:30|AAPL", "comes after"),
        ("2026-11-20 09:30|MSFT", "2026-11-20 09:31|AMD", "MSFT comes after AMD"),
        ("2026-11-13 09:30|AAPL", "2026-11-13 09:31|AAPL", "outside the window"),
        ("2026-11-20|AAPL", "2026-11-20 09:31|AAPL", "'2026-11-20|AAPL' is no minute and ticker"),
        ("2026-11-20 09:30", "2026-11-20 09:30", "is no minute and ticker"),
    ],
)
def test_a_range_that_cannot_be_run_is_refused_with_the_reason(start: str, end: str, says: str) -> None:
    with pytest.raises(SelectionError, match=re.escape(says)) as caught:
        WINDOW.selection(dg.PartitionKeyRange(start, end), "prices")
    asked = start if start == end else f"{start} to {end}"
    assert str(caught.value).startswith(f"prices: no run can answer {asked}: ")
