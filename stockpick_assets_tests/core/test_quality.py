"""No expected minute is forgotten, a reason that may still change is no explanation, and bad data does not pass."""

from collections.abc import Callable, Sequence
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.quality import (
    UNANSWERED,
    AnswerMatrix,
    Finding,
    answered,
    believed,
    coverage,
    covered,
    fresh,
    sized,
)
from stockpick_assets.core.reasons import Reason

OPEN = session_on(date(2026, 11, 20)).open
MINUTES = [OPEN + offset * MINUTE for offset in range(4)]
TICKERS = ("AAPL", "MSFT")


def table(reasons: dict[tuple[str, int], str]) -> pa.Table:
    """Rows by ticker and minutes after the open."""
    return pa.table(
        {
            "ticker": pa.array([ticker for ticker, _ in reasons], pa.string()),
            "minute": pa.array([OPEN + offset * MINUTE for _, offset in reasons], pa.timestamp("us", tz="UTC")),
            "reason": pa.array(list(reasons.values()), pa.string()),
        }
    )


def test_minutes_that_all_have_a_final_reason_are_complete() -> None:
    rows = {(ticker, offset): "present" for ticker in TICKERS for offset in range(4)} | {("MSFT", 2): "no_trade"}
    found = coverage(table(rows), TICKERS, MINUTES)
    assert found.complete
    assert found.reasons == {"present": 7, "no_trade": 1}
    assert found.text == "8 expected: 7 present, 1 no_trade"


def test_a_minute_without_a_row_and_one_whose_reason_may_change_are_unexplained() -> None:
    rows = {("AAPL", 0): "present", ("AAPL", 1): "pending", ("AAPL", 3): "present"}
    found = coverage(table(rows), TICKERS, MINUTES)
    assert not found.complete
    assert found.unexplained == {"AAPL": (MINUTES[1], MINUTES[2]), "MSFT": tuple(MINUTES)}
    assert found.reasons == {UNANSWERED: 5, "present": 2, "pending": 1}
    assert found.text == (
        "8 expected: 5 unanswered, 2 present, 1 pending; 6 unexplained: "
        "AAPL 2026-11-20 09:31 and 1 more; MSFT 2026-11-20 09:30 and 3 more"
    )


@pytest.mark.parametrize("reason", Reason)
def test_only_a_final_reason_explains_a_minute(reason: Reason) -> None:
    assert coverage(table({("AAPL", 0): reason.value}), ("AAPL",), MINUTES[:1]).complete == reason.final


def test_of_many_tickers_the_line_names_a_few() -> None:
    tickers = [f"T{number}" for number in range(101)]
    assert coverage(table({}), tickers, MINUTES[:1]).text.endswith(
        "T0 2026-11-20 09:30; T1 2026-11-20 09:30; T2 2026-11-20 09:30; 98 more tickers"
    )


def test_nothing_expected_is_complete_and_says_so() -> None:
    found = coverage(table({("AAPL", 0): "pending"}), (), ())
    assert found.complete
    assert found.text == "nothing was expected"


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(("AAPL", "MSFT", "OTHER")), st.integers(0, 6)),
        st.sampled_from([reason.value for reason in Reason]),
    )
)
def test_every_expected_minute_is_counted_once(rows: dict[tuple[str, int], str]) -> None:
    found = coverage(table(rows), TICKERS, MINUTES)
    assert sum(found.reasons.values()) == found.expected == 8
    unexplained = {(ticker, minute) for ticker, minutes in found.unexplained.items() for minute in minutes}
    final = {(t, OPEN + offset * MINUTE) for (t, offset), reason in rows.items() if Reason(reason).final}
    assert unexplained == {(t, minute) for t in TICKERS for minute in MINUTES} - final


Look = Callable[[AnswerMatrix], Finding]
MANY = tuple(f"T{number:02}" for number in range(40))


def answers(
    minutes: int,
    tickers: Sequence[str] = TICKERS,
    *,
    but: dict[tuple[str, int], str | None] | None = None,
    details: dict[tuple[str, int], str] | None = None,
    volumes: dict[tuple[str, int], float | None] | None = None,
) -> AnswerMatrix:
    """Bars of 100 shares in each of the minutes, but for what is said of a ticker and place; None is no row."""
    places = [(ticker, place) for place in range(minutes) for ticker in tickers]
    reasons = {place: (but or {}).get(place, "present") for place in places}
    kept = [place for place in places if reasons[place]]
    rows = table({place: str(reasons[place]) for place in kept})
    rows = rows.append_column("volume", pa.array([(volumes or {}).get(place, 100.0) for place in kept], pa.float64()))
    rows = rows.append_column("detail", pa.array([(details or {}).get(place) for place in kept], pa.string()))
    return AnswerMatrix.of(rows, tickers, [OPEN + place * MINUTE for place in range(minutes)])


def of(ticker: str, places: range, reason: str | None) -> dict[tuple[str, int], str | None]:
    """The same reason in some minutes of a ticker."""
    return {(ticker, place): reason for place in places}


def in_all(tickers: Sequence[str], places: range, reason: str | None) -> dict[tuple[str, int], str | None]:
    """The same reason in some minutes of several tickers."""
    return {(ticker, place): reason for ticker in tickers for place in places}


@pytest.mark.parametrize("look", [answered, covered, sized, believed, fresh])
def test_bars_in_every_minute_pass_every_look(look: Look) -> None:
    assert look(answers(60, MANY)).passed


@pytest.mark.parametrize("look", [answered, covered, sized, believed, fresh])
@pytest.mark.parametrize("reason", ["closed", "not_listed", "halted", "delisted"])
def test_minutes_that_could_have_no_bar_are_held_against_nobody(look: Look, reason: str) -> None:
    assert look(answers(60, MANY, but=in_all(MANY, range(60), reason))).passed


@pytest.mark.parametrize("look", [answered, covered, sized, believed, fresh])
def test_nothing_asked_for_passes_every_look(look: Look) -> None:
    assert look(answers(0, MANY)).passed
    assert look(answers(3, ())).passed


def test_an_answered_minute_counts_the_unexplained() -> None:
    found = answered(answers(2, but={("AAPL", 1): "pending", ("MSFT", 1): None}))
    assert not found.passed
    assert found.numbers == {"expected": 4, "unexplained": 2, "present": 2, "pending": 1, UNANSWERED: 1}
    assert found.text.endswith("2 unexplained: AAPL 2026-11-20 09:31; MSFT 2026-11-20 09:31")


def test_a_reason_that_is_none_is_no_answer() -> None:
    assert answered(answers(1, ("AAPL",), but={("AAPL", 0): "asleep"})).numbers[UNANSWERED] == 1


def test_minutes_in_which_too_few_tickers_have_a_bar_are_named_the_thinnest_first() -> None:
    but = in_all(MANY[:9], range(1, 2), "no_trade") | in_all(MANY[:12], range(2, 3), "lost")
    found = covered(answers(4, MANY, but=but))
    assert not found.passed
    assert found.text == (
        "86.9% of 160 listed ticker-minutes have a bar; thinnest 2026-11-20 09:32 28 of 40; "
        "2 minutes below 80%: 2026-11-20 09:32 28 of 40; 2026-11-20 09:31 31 of 40"
    )
    assert found.numbers == {
        "listed": 160,
        "with a bar": 139,
        "minutes below the floor": 2,
        "coverage": 0.8688,
        "thinnest minute": 0.7,
    }


def test_a_minute_at_the_floor_is_covered() -> None:
    found = covered(answers(1, MANY, but=in_all(MANY[:8], range(1), "no_trade")))
    assert found.passed
    assert found.numbers["thinnest minute"] == 0.8


def test_coverage_is_of_the_listed_tickers_alone() -> None:
    but = in_all(MANY[:30], range(1), "not_listed") | in_all(MANY[30:33], range(1), "no_trade")
    assert covered(answers(1, MANY, but=but)).text.endswith("1 minutes below 80%: 2026-11-20 09:30 7 of 10")


def test_one_ticker_without_a_trade_is_no_thin_minute() -> None:
    assert covered(answers(1, ("AAPL",), but={("AAPL", 0): "no_trade"})).passed


def test_a_ticker_whose_volumes_are_wrong_is_named_among_many_that_are_right() -> None:
    volumes = {("T07", place): 0.0 for place in range(0, 60, 2)} | {("T07", 1): None, ("T09", 3): 0.0}
    found = sized(answers(60, MANY, volumes=volumes, details={("T07", 1): "session volume: volume 7"}))
    assert not found.passed
    assert found.text == (
        "2400 bars: 1 with their volume withheld (1 session volume), 31 with none; "
        "more than 5% of T07 2026-11-20 09:30 and 30 more"
    )
    assert found.numbers == {
        "bars": 2400,
        "volume withheld": 1,
        "volume zero": 31,
        "tickers above the limit": 1,
        "rule session volume": 1,
    }


def test_one_minute_in_which_the_volume_of_many_is_zero_fails() -> None:
    found = sized(answers(1, MANY, volumes={(ticker, 0): 0.0 for ticker in MANY[:5]}))
    assert not found.passed
    assert found.text.endswith(
        "more than 5% of T00 2026-11-20 09:30; T01 2026-11-20 09:30; T02 2026-11-20 09:30; 2 more tickers"
    )


def test_a_few_volumes_that_are_zero_pass() -> None:
    assert sized(answers(1, volumes={("AAPL", 0): 0.0, ("MSFT", 0): None})).passed


def test_quarantined_bars_are_told_with_ticker_minute_and_rule() -> None:
    found = believed(
        answers(
            3,
            but={("AAPL", 1): "quarantined", ("AAPL", 2): "quarantined", ("MSFT", 0): "quarantined"},
            details={
                ("AAPL", 1): "impossible: open -1 high 2",
                ("AAPL", 2): "impossible: open -3 high 2",
                ("MSFT", 0): "different bars: open 1; open 2",
            },
        )
    )
    assert not found.passed
    assert found.text == (
        "3 bars quarantined: 2 impossible; 1 different bars: AAPL 2026-11-20 09:31 and 1 more; MSFT 2026-11-20 09:30"
    )
    assert found.numbers == {"bars": 3, "quarantined": 3, "rule impossible": 2, "rule different bars": 1}


@pytest.mark.parametrize(("detail", "rule"), [("odd\nname: it said", "odd\\nname"), ("it said so", "no rule named")])
def test_a_rule_is_one_line_whatever_a_detail_says(detail: str, rule: str) -> None:
    found = believed(answers(1, ("AAPL",), but={("AAPL", 0): "quarantined"}, details={("AAPL", 0): detail}))
    assert f"1 {rule}: AAPL" in found.text


def test_a_ticker_that_fell_silent_though_it_usually_trades_is_named() -> None:
    found = fresh(answers(60, MANY, but=of("T03", range(30, 60), "no_trade")))
    assert not found.passed
    assert (
        found.text == "newest bar of any ticker: 2026-11-20 10:29, 0 min old; silent: T03: 2026-11-20 09:59, 30 min old"
    )
    assert found.numbers == {"newest bar age": 0, "silent tickers": 1, "longest silence": 30}


def test_a_ticker_without_any_bar_is_silent() -> None:
    found = fresh(answers(31, MANY, but=of("T03", range(31), "lost")))
    assert not found.passed
    assert found.text.endswith("; silent: T03: none in 31 min")


@pytest.mark.parametrize(
    "but",
    [
        of("T03", range(31, 60), "no_trade"),  # not for so long
        of("T03", range(20, 50), "no_trade"),  # but there is a bar since
        of("T03", range(25, 60), "halted"),  # and could have none
        of("T03", range(59), "no_trade") | of("T03", range(5, 7), "present"),  # which is usual
        of("T03", range(30, 59), "no_trade") | of("T03", range(59, 60), "quarantined"),  # but was heard
    ],
)
def test_a_silence_that_says_nothing_passes(but: dict[tuple[str, int], str | None]) -> None:
    assert fresh(answers(60, MANY, but=but)).passed


def test_a_minute_of_which_no_ticker_was_heard_is_stale_and_that_of_a_few_is_not() -> None:
    found = fresh(answers(1, MANY, but=in_all(MANY, range(1), "pending")))
    assert not found.passed
    assert found.text == "newest bar of any ticker: none in 1 min"
    assert found.numbers["newest bar age"] == 1
    assert fresh(answers(1, but=in_all(TICKERS, range(1), "pending"))).passed


@pytest.mark.parametrize("look", [answered, covered, sized, believed, fresh])
def test_whatever_is_wrong_is_told_in_a_bounded_line(look: Look) -> None:
    tickers = [f"TICKER{number:03}" for number in range(101)]
    reasons = ["pending", "quarantined", "lost", "provider_error", None]
    but = {(ticker, place): reasons[place % 5] for ticker in tickers for place in range(300)}
    zero = {(ticker, place): 0.0 for ticker in tickers for place in range(300, 330)}
    details = {(ticker, place): f"rule {place}: {'x' * 500}" for ticker in tickers for place in range(300)}
    found = look(
        answers(390, tickers, but=but | in_all(tickers, range(340, 390), "lost"), volumes=zero, details=details)
    )
    assert not found.passed
    assert len(found.text) < 400
    assert "\n" not in found.text
