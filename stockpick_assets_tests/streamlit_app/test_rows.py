"""From rows of the tables to what a page shows."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.schemas import SCORES
from stockpick_assets_tests.rows import SESSION
from streamlit_app.rows import HISTORY, Tally, duration, new_york, runs_without_bar, tally, trust_sentence
from streamlit_app.rows import history as history_of

OPEN = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def graded(*rows: tuple[float | None, bool | None]) -> pa.Table:
    columns = pa.schema({"p_profit": pa.float64(), "profitable": pa.bool_()})
    return pa.Table.from_pylist([{"p_profit": p, "profitable": profitable} for p, profitable in rows], schema=columns)


def sessions(count: int, one: Tally) -> dict[date, Tally]:
    return {date(2026, 11, 1) + timedelta(days=day): one for day in range(count)}


def test_a_forecast_counts_in_the_bin_that_begins_with_it() -> None:
    counted = tally(graded((0.45, True), (0.499, False), (0.5, True), (0.55, True), (1.0, False)))
    assert counted.forecasts[9:12] == (2, 1, 1)
    assert counted.profitable[9:12] == (1, 1, 1)
    assert counted.forecasts[19] == 1


def test_rows_without_a_grade_or_a_forecast_do_not_count() -> None:
    assert sum(tally(graded((None, True), (0.5, None))).forecasts) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())))
def test_every_graded_forecast_counts_once(rows: list[tuple[float, bool]]) -> None:
    counted = tally(graded(*rows))
    assert sum(counted.forecasts) == len(rows)
    assert sum(counted.profitable) == sum(profitable for _, profitable in rows)


def test_the_sentence_of_trust_states_share_number_and_sessions() -> None:
    one = tally(graded(*[(0.47, True)] * 46, *[(0.47, False)] * 54))
    assert trust_sentence(sessions(10, one), 0.48) == "When it said 45-50 %, 46 % came true (1,000 times, 10 sessions)."


def test_fewer_than_five_sessions_are_no_statistic() -> None:
    one = tally(graded((0.47, True)))
    assert "Too early" in trust_sentence(sessions(4, one), 0.48)
    assert "Too early" not in trust_sentence(sessions(5, one), 0.48)


def test_sessions_without_such_a_forecast_are_not_counted() -> None:
    assert "(0 times, 0 sessions;" in trust_sentence(sessions(10, tally(graded((0.47, True)))), 0.72)


def history(*reasons: str) -> pa.Table:
    rows = [{"minute": OPEN + at * MINUTE, "reason": reason} for at, reason in enumerate(reasons)]
    return pa.Table.from_pylist([{**dict.fromkeys(HISTORY.names), **row} for row in rows], schema=HISTORY)


def test_minutes_without_a_bar_are_merged_while_the_reason_is_the_same() -> None:
    runs = runs_without_bar(history("present", "halted", "halted", "no_trade", "present", "no_trade"))
    assert [(run.reason, run.minutes) for run in runs] == [("halted", 2), ("no_trade", 1), ("no_trade", 1)]
    assert runs[0].first == OPEN + MINUTE


@given(st.lists(st.sampled_from(["present", "halted", "no_trade"]), max_size=40))
def test_runs_cover_every_minute_without_a_bar_once(reasons: list[str]) -> None:
    runs = runs_without_bar(history(*reasons))
    assert sum(run.minutes for run in runs) == sum(reason != "present" for reason in reasons)


def outcomes(*rows: dict) -> list[str | None]:
    """What the history of a ticker says became of the last forecasts of its session, by these rows of scores."""
    scores = [{**dict.fromkeys(SCORES.columns.names), "ticker": "AAPL", **row} for row in rows]
    graded = pa.Table.from_pylist(scores, schema=SCORES.columns)
    last = SESSION.last_minute
    return history_of(None, None, graded, "AAPL", last - 6 * MINUTE, last)["grade"].to_pylist()


def test_a_forecast_that_has_no_grade_says_why() -> None:
    at = SESSION.last_minute - 6 * MINUTE
    ungraded = {"forecast_minute": at, "ungraded": "no bar at the exit minute (halted)"}
    closed = "the session closes before the forecast's horizon"
    assert outcomes(ungraded) == ["no bar at the exit minute (halted)", None, *[closed] * 5]


def test_a_grade_is_said_with_its_return_and_time() -> None:
    at = SESSION.last_minute - 6 * MINUTE
    assert outcomes({"forecast_minute": at, "profitable": True, "obtainable_return": 0.0008})[0] == (
        "came true, +8.0 bp, 15:53"
    )


def test_times_are_new_york_wall_time_in_winter_and_in_summer() -> None:
    instants = pa.chunked_array(
        [pa.array([OPEN, datetime(2026, 7, 1, 13, 30, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))]
    )
    assert [str(time) for time in new_york(instants).to_pylist()] == ["2026-11-23 09:30:00", "2026-07-01 09:30:00"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (185, "3 min 05 s"), (63_000, "17 h 30 min"), (234_000, "2 d 17 h")]
)
def test_spans_of_time_are_said_in_words(seconds: int, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said
