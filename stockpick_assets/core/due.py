"""What is to be done next, decided from what the tables hold: the minutes that are late or to be asked for again, and
the work after a close.

Pure decisions; sensors/ turns them into run requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from stockpick_assets.core.market_hours import MINUTE, Session
from stockpick_assets.core.schemas import FACTORS, PERFORMANCE, RETURN_MODEL, TRAINING_SET

# A minute whose reason is not final is asked for again after at most this long, twice as long each time, at most
# LONGEST_WAIT: Yahoo's refusals last from seconds to an hour.
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
# Yahoo changes a bar mostly in the minutes after it closed, and at times days later. A sweep is a request a ticker.
SWEEP_OPEN_EVERY = timedelta(minutes=15)
SWEEP_CLOSED_EVERY = timedelta(days=1)
SWEPT_SESSIONS = 3  # before the newest, as each costs a request a ticker a day


# What a close is followed by, in order, as each is made of what those before it made: the assets of the session that
# has closed, then those of the one that follows.
OF_CLOSED = (TRAINING_SET.name, PERFORMANCE.name)
OF_FOLLOWING = (FACTORS.name, RETURN_MODEL.name)
DAILY = (*OF_CLOSED, *OF_FOLLOWING)


@dataclass(frozen=True)
class DueMinutes:
    """Closed minutes of one session that something is to be done about; both ends are included."""

    first: datetime
    last: datetime


def due_minutes(
    session: Session, answered: Mapping[datetime, int], tickers: int, last_closed: datetime | None
) -> DueMinutes | None:
    """Everything late as one request: from the first minute not answered to the last one closed.

    answered: number of tickers with a row, by minute. None when nothing is late.
    """
    if last_closed is None:
        return None
    minute = session.open
    while minute <= last_closed:
        if answered.get(minute, 0) < tickers:
            return DueMinutes(minute, last_closed)
        minute += MINUTE
    return None


@dataclass(frozen=True)
class DueSession:
    """One daily asset that a session's close has made due."""

    asset: str
    session: Session


def daily_work(closed: Session, following: Session) -> tuple[DueSession, ...]:
    """What a session's close has to be followed by, in order."""
    return (
        *(DueSession(asset, closed) for asset in OF_CLOSED),
        *(DueSession(asset, following) for asset in OF_FOLLOWING),
    )


def due_after_close(
    closed: Session,
    following: Session,
    complete: bool,
    is_made: Callable[[str, Session], bool],
) -> DueSession | None:
    """The next of the daily work after a close.

    complete: whether every minute of the closed session has been answered. is_made: whether the session of the table
    of that name has been made, be it without a row: of 25 minutes of bars without a history there is nothing to learn.
    """
    if not complete:
        return None
    return next((due for due in daily_work(closed, following) if not is_made(due.asset, due.session)), None)


@dataclass(frozen=True)
class Healing:
    """How many of a ticker's minutes in a session have no final reason, and how often they were asked for again.

    after: wall time from which they are next. seed: what the jitter follows from, beside the attempt.
    """

    unexplained: int
    attempts: int
    after: datetime
    seed: str

    def found(self, unexplained: int, wall: datetime) -> "Healing":
        """The plan after a look: begun anew where some were answered, else as it stands."""
        if unexplained < self.unexplained or not self.unexplained:
            return Healing(unexplained, 0, wall + _wait(self.seed, 0), self.seed)
        return replace(self, unexplained=unexplained)

    def asked(self, wall: datetime) -> "Healing":
        """The plan once they were asked for again: exponential back-off with full jitter."""
        attempts = self.attempts + 1
        return replace(self, attempts=attempts, after=wall + _wait(self.seed, attempts))


def _wait(seed: str, attempts: int) -> timedelta:
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempts, 16))
    return longest * np.random.default_rng(list(f"{seed} {attempts}".encode())).random()


def due_sweep(sessions: Sequence[Session], swept: Mapping[str, datetime], market: datetime) -> Session | None:
    """The session whose minutes are to be compared with the source's again; None when none is.

    sessions: those that have begun, ascending. swept: of each by label, market time of the last sweep.
    """
    for session in reversed(sessions[-SWEPT_SESSIONS - 1 :]):
        last = swept[session.label()]
        waits = SWEEP_OPEN_EVERY if last < session.close + SWEEP_OPEN_EVERY else SWEEP_CLOSED_EVERY
        if market >= last + waits:
            return session
    return None
