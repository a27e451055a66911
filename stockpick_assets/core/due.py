"""What is to be done next, decided from what the tables hold: the minutes that are late, and the work after a close.

Pure decisions; sensors/ turns them into run requests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from stockpick_assets.core.market_hours import MINUTE, Session


@dataclass(frozen=True)
class DueMinutes:
    """Closed minutes of one session that have not been answered for every ticker; both ends are included."""

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


def due_after_close(
    closed: Session,
    following: Session,
    complete: bool,
    has_rows: Callable[[str, Session], bool],
) -> DueSession | None:
    """The next daily work after a close: the session's training set, then the model of the session that follows.

    complete: whether every minute of the closed session has been answered. has_rows: whether the table of that name
    holds the session.
    """
    if not complete:
        return None
    if not has_rows("training_set", closed):
        return DueSession("training_set", closed)
    if not has_rows("return_model", following):
        return DueSession("return_model", following)
    return None
