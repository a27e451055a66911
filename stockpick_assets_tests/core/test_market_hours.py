"""Sessions as the exchange recorded them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import (
    MINUTE,
    NotASession,
    last_closed_minute,
    last_session_begun,
    minute_from_label,
    minute_label,
    next_close,
    session_after,
    session_before,
    session_of,
    session_on,
    sessions_between,
)

FRIDAY = session_on(date(2026, 11, 20))


@pytest.mark.parametrize(
    ("day", "opens", "minutes"),
    [
        (date(2026, 3, 6), datetime(2026, 3, 6, 14, 30, tzinfo=UTC), 390),
        (date(2026, 3, 9), datetime(2026, 3, 9, 13, 30, tzinfo=UTC), 390),  # the clocks went forward on the 8th
        (date(2026, 11, 2), datetime(2026, 11, 2, 14, 30, tzinfo=UTC), 390),  # and back on the 1st
        (date(2025, 11, 28), datetime(2025, 11, 28, 14, 30, tzinfo=UTC), 210),  # the day after Thanksgiving
    ],
)
def test_a_session_opens_and_lasts_as_the_exchange_said(day: date, opens: datetime, minutes: int) -> None:
    session = session_on(day)
    assert (session.open, session.length, len(session.minutes())) == (opens, minutes, minutes)


@pytest.mark.parametrize("day", [date(2026, 11, 21), date(2026, 11, 26), date(2025, 1, 9)])
def test_a_day_without_trading_is_no_session_and_its_neighbours_are_named(day: date) -> None:
    with pytest.raises(NotASession, match="no trading session"):
        session_on(day)


def test_a_weekend_lies_between_two_sessions() -> None:
    monday = session_after(FRIDAY)
    assert (monday.date, session_before(monday)) == (date(2026, 11, 23), FRIDAY)
    assert sessions_between(FRIDAY.date, monday.date) == [FRIDAY, monday]


def test_the_newest_session_to_have_begun_is_yesterdays_until_the_bell() -> None:
    monday = session_after(FRIDAY)
    assert last_session_begun(monday.open - MINUTE) == FRIDAY
    assert last_session_begun(monday.open) == monday


def test_a_minute_is_closed_once_its_delay_is_over_and_never_before() -> None:
    delay = timedelta(seconds=2)
    assert last_closed_minute(FRIDAY, FRIDAY.open + timedelta(seconds=61), delay) is None
    assert last_closed_minute(FRIDAY, FRIDAY.open + timedelta(seconds=62), delay) == FRIDAY.open
    assert last_closed_minute(FRIDAY, FRIDAY.close + timedelta(days=1), delay) == FRIDAY.last_minute


@given(st.integers(-600, 24_000))
def test_the_next_close_is_the_first_moment_at_which_another_minute_is_closed(seconds: int) -> None:
    delay, now = timedelta(seconds=2), FRIDAY.open + timedelta(seconds=seconds)
    closed, coming = last_closed_minute(FRIDAY, now, delay), next_close(FRIDAY, now, delay)
    if closed == FRIDAY.last_minute:
        assert coming is None
        return
    assert coming is not None and coming > now
    assert last_closed_minute(FRIDAY, coming - timedelta(microseconds=1), delay) == closed
    assert last_closed_minute(FRIDAY, coming, delay) == (FRIDAY.open if closed is None else closed + MINUTE)


def test_a_minute_outside_market_hours_belongs_to_no_session() -> None:
    with pytest.raises(NotASession, match="outside the session of 2026-11-20"):
        session_of(FRIDAY.close)


def test_the_label_of_a_minute_leads_back_to_it() -> None:
    for minute in (FRIDAY.open, FRIDAY.last_minute):
        assert minute_from_label(minute_label(minute)) == minute
    assert minute_label(FRIDAY.open) == "2026-11-20 09:30"
