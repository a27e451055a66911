"""Where a replay begins and goes on."""

from datetime import date, datetime, timedelta

import pytest

from stockpick_assets.core.market_hours import MINUTE, sessions_until
from stockpick_assets.core.replay import HEAD_START, HISTORY, SESSIONS_AHEAD, NothingToPlay, Replay, replay

SESSIONS = sessions_until(date(2026, 11, 20), 8)


def test_a_market_that_was_never_played_leaves_sessions_to_come() -> None:
    live = SESSIONS[-1 - SESSIONS_AHEAD]
    assert replay(SESSIONS, None, None) == Replay(live, live.open + HEAD_START)


def test_a_short_source_leaves_sessions_to_learn_from_first() -> None:
    assert replay(SESSIONS[:4], None, None).live == SESSIONS[HISTORY]


def test_a_source_of_one_session_plays_it() -> None:
    assert replay(SESSIONS[:1], None, None).live == SESSIONS[0]


def test_a_session_that_was_left_in_the_middle_goes_on_at_its_next_minute() -> None:
    newest = SESSIONS[4].open + timedelta(hours=2)
    assert replay(SESSIONS, newest, None) == Replay(SESSIONS[4], newest + MINUTE)


def test_after_the_last_minute_of_a_session_comes_the_next_session() -> None:
    assert replay(SESSIONS, SESSIONS[4].last_minute, None) == Replay(SESSIONS[5], SESSIONS[5].open + HEAD_START)


def test_who_was_stopped_in_the_history_plays_the_session_after_it() -> None:
    live = SESSIONS[HISTORY]
    for done in SESSIONS[:HISTORY]:
        assert replay(SESSIONS, done.last_minute, None, SESSIONS[0].date).live == live


def test_a_session_left_in_the_middle_goes_on_however_little_history_it_has() -> None:
    newest = SESSIONS[0].open + timedelta(hours=2)
    assert replay(SESSIONS, newest, None, SESSIONS[0].date) == Replay(SESSIONS[0], newest + MINUTE)


def test_a_session_that_was_asked_for_is_played_even_if_others_were_not() -> None:
    assert replay(SESSIONS, None, SESSIONS[2].date) == Replay(SESSIONS[2], SESSIONS[2].open + HEAD_START)


@pytest.mark.parametrize(
    ("newest", "asked", "says"),
    [
        (SESSIONS[-1].last_minute, None, "every session up to 2026-11-20 has been played"),
        (SESSIONS[3].last_minute, SESSIONS[3].date, "has been played to its end"),
        (None, date(2026, 11, 21), "no session on 2026-11-21; it has 2026-11-11 to 2026-11-20"),
    ],
)
def test_what_cannot_be_played_is_said(newest: datetime | None, asked: date | None, says: str) -> None:
    with pytest.raises(NothingToPlay, match=says):
        replay(SESSIONS, newest, asked)


def test_a_source_without_a_session_that_is_over_has_nothing_to_play() -> None:
    with pytest.raises(NothingToPlay):
        replay([], None, None)
