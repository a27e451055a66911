"""What a page may claim of its newest minute, state by state."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.state import FLOW, Freshness, State, Tables, state_of

# 2026-11-23 is a Monday; the session runs 14:30 to 21:00 UTC.
MINUTE = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
CLOSE = MINUTE + timedelta(minutes=1)
FRIDAY_END = datetime(2026, 11, 20, 20, 59, tzinfo=UTC)


def tables(minute: datetime = MINUTE, **changes: object) -> Tables:
    """Two tickers, both with a bar and a rank, every table of the flow as far as `minute`."""
    whole = {
        "newest": dict.fromkeys(FLOW, minute),
        "expected": ("AAPL", "MSFT"),
        "reasons": {"AAPL": "present", "MSFT": "present"},
        "picked": ("AAPL", "MSFT"),
        "ranked": ("AAPL", "MSFT"),
        "models": ("2026-11-20.1",),
    }
    return Tables(**{**whole, **changes})  # pyright: ignore[reportArgumentType]


def seconds_after_close(seconds: float, speed: float = 1, **changes: object) -> State:
    """The state so many seconds of market time after the newest minute closed."""
    return state_of(CLOSE + timedelta(seconds=seconds), speed, tables(**changes))


def test_tables_without_a_row_are_empty() -> None:
    state = state_of(CLOSE, 1, Tables())
    assert state.names == ("empty",)
    assert state.minute is None


def test_a_minute_is_live_until_75_seconds_after_its_close() -> None:
    assert seconds_after_close(75).names == ("live",)
    assert seconds_after_close(76).names == ("late",)
    assert seconds_after_close(75).age == timedelta(seconds=75)


def test_a_minute_is_late_until_five_minutes_after_its_close_and_broken_after_that() -> None:
    assert seconds_after_close(300).names == ("late",)
    assert seconds_after_close(301).names == ("broken",)


def test_a_faster_clock_leaves_a_run_its_30_seconds_of_wall_time() -> None:
    assert seconds_after_close(300, speed=10).freshness is Freshness.LIVE
    assert seconds_after_close(301, speed=10).freshness is Freshness.LATE
    assert seconds_after_close(601, speed=10).freshness is Freshness.BROKEN


@given(st.floats(0.001, 600), st.integers(0, 3600))
def test_a_minute_never_becomes_fresher_as_time_passes(speed: float, seconds: int) -> None:
    order = [Freshness.LIVE, Freshness.LATE, Freshness.BROKEN]
    sooner, later = (order.index(seconds_after_close(after, speed).freshness) for after in (seconds, seconds + 1))
    assert sooner <= later


@pytest.mark.parametrize("behind", ["raw_prices", "features", "predictions"])
def test_a_late_minute_names_the_first_table_it_waits_for(behind: str) -> None:
    ahead = FLOW[: FLOW.index(behind)]
    newest = {name: MINUTE + timedelta(minutes=name in ahead) for name in FLOW}
    assert seconds_after_close(140, newest=newest).waiting_for == behind


def test_a_store_that_cannot_be_read_is_broken_and_keeps_the_last_good_minute() -> None:
    state = seconds_after_close(10, failure="no answer")
    assert state.names == ("broken",)
    assert (state.minute, state.failure) == (MINUTE, "no answer")


def test_a_store_that_could_never_be_read_is_broken_and_not_empty() -> None:
    assert state_of(CLOSE, 1, Tables(failure="no answer")).names == ("broken",)


def test_tables_ahead_of_the_market_clock_are_broken_with_a_reason() -> None:
    state = seconds_after_close(-3600)
    assert state.freshness is Freshness.BROKEN
    assert state.failure is not None
    assert "replay" in state.failure


def test_after_the_session_the_market_is_closed_until_the_next_one_opens() -> None:
    last = datetime(2026, 11, 23, 20, 59, tzinfo=UTC)
    state = state_of(datetime(2026, 11, 23, 23, 0, tzinfo=UTC), 1, tables(last))
    assert state.names == ("closed",)
    assert state.opening == datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    assert state.due == last
    assert state.complete


def test_a_closed_market_tells_which_minute_the_tables_should_have_reached() -> None:
    state = state_of(datetime(2026, 11, 23, 23, 0, tzinfo=UTC), 1, tables())
    assert state.freshness is Freshness.CLOSED
    assert state.due == datetime(2026, 11, 23, 20, 59, tzinfo=UTC)
    assert not state.complete


def test_before_the_first_minute_is_due_the_market_counts_as_closed() -> None:
    opening = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert state_of(opening + timedelta(seconds=30), 1, tables(FRIDAY_END)).names == ("closed",)


def test_a_session_whose_first_minute_does_not_come_is_late_then_broken() -> None:
    opening = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert state_of(opening + timedelta(seconds=140), 1, tables(FRIDAY_END)).names == ("late",)
    assert state_of(opening + timedelta(seconds=301), 1, tables(FRIDAY_END)).names == ("broken",)


def test_a_minute_abstains_when_each_of_its_rows_does() -> None:
    state = seconds_after_close(10, abstained={"AAPL": "no skill", "MSFT": "no skill"}, ranked=())
    assert state.names == ("live", "abstain")
    assert state.abstain == "no skill"


def test_one_ticker_without_a_forecast_does_not_make_the_minute_abstain() -> None:
    assert seconds_after_close(10, abstained={"AAPL": "no bar"}).abstain is None


def test_the_reason_of_an_abstention_is_the_one_most_tickers_give() -> None:
    reasons = {"AAPL": "no bar", "MSFT": "no skill", "NVDA": "no skill"}
    state = seconds_after_close(10, abstained=reasons, picked=tuple(reasons), expected=tuple(reasons))
    assert state.abstain == "no skill"


def test_a_minute_is_partial_when_a_ticker_has_no_bar_and_lists_it_with_its_reason() -> None:
    state = seconds_after_close(10, reasons={"AAPL": "present", "MSFT": "halted"}, ranked=("AAPL",))
    assert state.names == ("live", "partial")
    assert state.without == {"halted": ("MSFT",)}
    assert (state.present, state.ranked, state.expected) == (1, 1, 2)


def test_a_ticker_that_is_not_listed_that_day_lacks_no_bar() -> None:
    state = seconds_after_close(10, reasons={"AAPL": "present", "MSFT": "not_listed"}, ranked=("AAPL",))
    assert (state.expected, state.present, state.partial) == (1, 1, False)


def test_a_ticker_without_any_row_is_listed_too() -> None:
    assert seconds_after_close(10, reasons={"AAPL": "present"}).without == {"no_row": ("MSFT",)}


def test_forecasts_of_two_models_in_one_minute_are_mixed() -> None:
    state = seconds_after_close(10, models={"2026-11-20.2", "2026-11-20.1"})
    assert state.names == ("live", "mixed")
    assert state.models == ("2026-11-20.1", "2026-11-20.2")


def test_states_combine() -> None:
    state = seconds_after_close(
        140, reasons={"AAPL": "present"}, abstained={"AAPL": "no skill", "MSFT": "no bar"}, models=("1", "2")
    )
    assert state.names == ("late", "abstain", "partial", "mixed")
