"""Coverage: no expected minute is forgotten, and a reason that may still change is no explanation."""

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.quality import UNANSWERED, coverage
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
