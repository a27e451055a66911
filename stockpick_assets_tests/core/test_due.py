"""What is due, given what has been answered."""

from collections import Counter
from datetime import date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.due import (
    FIRST_WAIT,
    LONGEST_WAIT,
    SWEEP_CLOSED_EVERY,
    SWEEP_OPEN_EVERY,
    SWEPT_SESSIONS,
    DueMinutes,
    DueSession,
    Healing,
    due_after_close,
    due_minutes,
    due_sweep,
)
from stockpick_assets.core.market_hours import MINUTE, Session, session_after, session_on, sessions_until

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


def due(held: set[tuple[str, Session]], complete: bool = True) -> DueSession | None:
    return due_after_close(SESSION, MONDAY, complete, lambda table, session: (table, session) in held)


def test_a_closed_session_is_learnt_from_and_measured_before_the_next_one_gets_its_factors_and_model() -> None:
    held: set[tuple[str, Session]] = set()
    assert due(held, complete=False) is None
    order = []
    while (found := due(held)) is not None:
        order.append(found)
        held.add((found.asset, found.session))
    assert order == [
        DueSession("training_set", SESSION),
        DueSession("performance", SESSION),
        DueSession("factors", MONDAY),
        DueSession("return_model", MONDAY),
    ]


NOTHING_YET = Healing(0, 0, SESSION.open, "7 2026-11-20")


def test_minutes_without_a_final_reason_are_asked_for_within_a_minute() -> None:
    found = NOTHING_YET.found(5, SESSION.open)
    assert (found.unexplained, found.attempts) == (5, 0)
    assert SESSION.open <= found.after <= SESSION.open + FIRST_WAIT


@given(st.integers(1, 100), st.integers(0, 1000))
def test_each_attempt_in_vain_doubles_the_longest_wait_up_to_an_hour(attempts: int, seed: int) -> None:
    plan = Healing(5, attempts - 1, SESSION.open, str(seed)).asked(SESSION.open)
    assert plan.attempts == attempts
    assert timedelta() <= plan.after - SESSION.open <= min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempts, 10))


def test_the_jitter_follows_from_the_seed_and_is_not_the_same_for_every_one() -> None:
    waits = {Healing(5, 3, SESSION.open, str(seed)).asked(SESSION.open).after for seed in range(50)}
    assert len(waits) == 50
    assert NOTHING_YET.asked(SESSION.open) == NOTHING_YET.asked(SESSION.open)


def test_more_minutes_without_a_reason_do_not_put_the_next_attempt_off_and_fewer_begin_anew() -> None:
    plan = Healing(5, 4, minute(30), "7")
    assert plan.found(9, minute(10)) == Healing(9, 4, minute(30), "7")
    assert plan.found(5, minute(10)) == plan
    begun = plan.found(4, minute(10))
    assert begun.attempts == 0
    assert begun.after <= minute(10) + FIRST_WAIT


SESSIONS = sessions_until(SESSION.date, 6)


def test_the_session_under_way_is_swept_every_quarter_of_an_hour_and_once_more_after_its_close() -> None:
    swept = {earlier.label(): SESSION.open for earlier in SESSIONS}
    assert due_sweep(SESSIONS, {**swept, SESSION.label(): minute(15)}, minute(29)) is None
    assert due_sweep(SESSIONS, {**swept, SESSION.label(): minute(15)}, minute(30)) == SESSION
    assert due_sweep(SESSIONS, {**swept, SESSION.label(): minute(389)}, minute(404)) == SESSION
    after_close = SESSION.close + SWEEP_OPEN_EVERY
    assert due_sweep(SESSIONS, {**swept, SESSION.label(): after_close}, after_close + timedelta(hours=5)) is None


def test_the_three_sessions_before_are_swept_daily_and_older_ones_no_more() -> None:
    after_close = SESSION.close + SWEEP_OPEN_EVERY
    swept = {session.label(): session.close for session in SESSIONS} | {SESSION.label(): after_close}
    found: list[Session] = []
    while (session := due_sweep(SESSIONS, swept, after_close)) is not None:
        found.append(session)
        swept[session.label()] = after_close
    assert found == SESSIONS[-2 : -2 - SWEPT_SESSIONS : -1]
    assert due_sweep(SESSIONS, swept, after_close + SWEEP_CLOSED_EVERY) == SESSION
