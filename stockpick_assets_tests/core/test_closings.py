"""Closings as they are written in the settings, and the minutes that they hold."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.closings import Closing, parse_closings
from stockpick_assets.core.market_hours import NEW_YORK, session_on

DAY = date(2026, 12, 1)


def test_days_and_hours_are_read_in_order_and_once() -> None:
    assert parse_closings(" 2026-12-02, 2026-12-01  13:00-16:00,,2026-12-02") == (
        Closing(DAY, time(13), time(16)),
        Closing(date(2026, 12, 2)),
    )


@given(st.lists(st.builds(Closing, st.dates(), st.times(time(9, 30), time(11)), st.times(time(12), time(16)))))
def test_what_is_written_of_closings_is_read_back(closings: list[Closing]) -> None:
    whole = {
        Closing(one.day, one.begins.replace(second=0, microsecond=0), one.ends.replace(second=0, microsecond=0))
        for one in closings
    }
    assert parse_closings(",".join(map(str, closings))) == tuple(sorted(whole))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tomorrow", "'tomorrow' is no closing: takes New York dates, 2026-12-01, and hours of one"),
        ("2026-12-32", "'2026-12-32' is no closing"),
        ("2026-12-01 1pm-4pm", "'2026-12-01 1pm-4pm' is no closing"),
        ("2026-12-01 13:00", "is no closing"),
        ("2026-12-01 24:00-25:00", "is no closing"),
        ("2026-12-01 16:00-13:00", "ends before it begins"),
        ("2026-12-01 13:00-13:00", "ends before it begins"),
        (
            "2026-12-01 01:00-04:00",
            "has no minute of a session, which lasts from 09:30 to 16:00; write 13:00, not 01:00",
        ),
    ],
)
def test_what_is_no_closing_is_named_with_what_it_takes(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_closings(f"2026-12-02,{text}")


def test_a_closing_holds_the_minutes_from_its_beginning_and_not_its_end() -> None:
    closing = Closing(DAY, time(13), time(13, 2))
    minutes = session_on(DAY).minutes().to_pydatetime()
    held = [minute.astimezone(NEW_YORK).time() for minute in minutes if closing.contains(minute)]
    assert held == [time(13), time(13, 1)]


@pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 11, 2)], ids=["after summer began", "after it ended"])
def test_its_hours_are_those_of_new_york_on_both_sides_of_a_clock_change(day: date) -> None:
    hours = [datetime.combine(one, time(13), NEW_YORK) for one in (day - timedelta(days=3), day)]
    assert hours[0].utcoffset() != hours[1].utcoffset()
    assert all(Closing(hour.date(), time(13), time(14)).contains(hour) for hour in hours)


def test_a_whole_day_holds_every_minute_of_a_session_and_of_no_other() -> None:
    closing = Closing(DAY)
    assert all(closing.contains(minute) for minute in session_on(DAY).minutes().to_pydatetime())
    assert not any(closing.contains(minute) for minute in session_on(date(2026, 12, 2)).minutes().to_pydatetime())
