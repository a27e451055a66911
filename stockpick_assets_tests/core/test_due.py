"""What is due, given what has been answered."""

from collections import Counter
from datetime import date, datetime

from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.due import DueMinutes, DueSession, due_after_close, due_minutes
from stockpick_assets.core.market_hours import MINUTE, Session, session_after, session_on

SESSION = session_on(date(2026, 11, 20))
MONDAY = session_after(SESSION)


def minute(index: int) -> datetime:
    return SESSION.open + index * MINUTE


def test_nothing_is_due_before_the_first_minute_has_closed() -> None:
    assert due_minutes(SESSION, {}, 3, None) is None


def test_minutes_that_are_late_are_due_as_one_request() -> None:
    answered = Counter({minute(0): 3, minute(1): 3})
    assert due_minutes(SESSION, answered, 3, minute(6)) == DueMinutes(minute(2), minute(6))


def test_a_minute_that_only_some_tickers_were_answered_for_is_due() -> None:
    assert due_minutes(SESSION, {minute(0): 3, minute(1): 1}, 3, minute(1)) == DueMinutes(minute(1), minute(1))


def test_nothing_is_due_when_every_closed_minute_is_answered() -> None:
    assert due_minutes(SESSION, {minute(index): 3 for index in range(5)}, 3, minute(4)) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 19))
def test_once_what_is_due_is_answered_nothing_is_due(counts: list[int], last: int) -> None:
    answered = {minute(index): count for index, count in enumerate(counts)}
    due = due_minutes(SESSION, answered, 3, minute(last))
    for index in range(last + 1):
        late = answered.get(minute(index), 0) < 3
        assert not late or (due is not None and due.first <= minute(index) <= due.last)
        if due and due.first <= minute(index):
            answered[minute(index)] = 3
    assert due_minutes(SESSION, answered, 3, minute(last)) is None


def test_a_closed_session_is_trained_from_before_the_next_one_gets_its_model() -> None:
    held: set[tuple[str, Session]] = set()

    def due(complete: bool = True) -> DueSession | None:
        return due_after_close(SESSION, MONDAY, complete, lambda table, session: (table, session) in held)

    assert due(complete=False) is None
    assert due() == DueSession("training_set", SESSION)
    held.add(("training_set", SESSION))
    assert due() == DueSession("return_model", MONDAY)
    held.add(("return_model", MONDAY))
    assert due() is None
