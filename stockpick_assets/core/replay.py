"""Where a replayed market begins: which session is live, and at which instant of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, Session

# The longest look-back of a feature is an hour; half of it has every feature defined, and a first run that answers 30
# minutes at once shows how late minutes are made up for.
HEAD_START = timedelta(minutes=30)
# A market that has never been played begins this many sessions before the newest, so that there is something to come.
SESSIONS_AHEAD = 5
# One session to fit the first model to, and one to see it at work before anything is live.
HISTORY = 2


@dataclass(frozen=True)
class Replay:
    """The session to play as if it were live, and the market time at which the clock starts."""

    live: Session
    start: datetime


class NothingToPlay(StockpickError):
    """Every session that could be played has been."""


def replay(
    available: Sequence[Session], newest: datetime | None, asked: date | None, oldest: date | None = None
) -> Replay:
    """Go on where the market stopped: in the session of the minute `newest`, or the next if that was its last.

    available: the sessions of the source that are over, ascending. newest: the newest minute that has gone through
    the flow, None when there is none. asked: the session to play, where one was named. oldest: the first session that
    has gone through the flow; who was stopped in the history goes on with it, HISTORY sessions from there.
    Raises NothingToPlay when there is no such session, or it has been played to its end.
    """
    if not available:
        raise NothingToPlay("the source has no session that is over")
    if asked is not None:
        live = next((session for session in available if session.date == asked), None)
        if live is None:
            raise NothingToPlay(
                f"the source has no session on {asked}; it has {available[0].label()} to {available[-1].label()}"
            )
    elif newest is None:
        live = available[max(min(HISTORY, len(available) - 1), len(available) - 1 - SESSIONS_AHEAD)]
    else:
        since = [session for session in available if oldest and session.date >= oldest]
        history = since[: min(HISTORY, len(since) - 1)]
        if any(newest == session.last_minute for session in history):
            newest = history[-1].last_minute
        live = next((session for session in available if newest < session.last_minute), None)
        if live is None:
            raise NothingToPlay(
                f"every session up to {available[-1].label()} has been played; `make clean` begins anew"
            )
    if newest is None or newest < live.open:
        return Replay(live, live.open + HEAD_START)
    if newest >= live.last_minute:
        raise NothingToPlay(f"session {live.label()} has been played to its end; `make clean` begins anew")
    return Replay(live, newest + MINUTE)
