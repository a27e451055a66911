"""When the exchange is open: sessions and their minutes, as recorded by exchange_calendars (XNYS).

A minute is named by the start of its bar, in UTC; its text form, used in partition keys, is New York wall time.
What does not belong here: which minutes stockpick keeps partitions for (partitions.py), or what the time is.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pandas as pd

from stockpick_assets.core.errors import StockpickError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar  # pyright: ignore[reportMissingTypeStubs]

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
MINUTE_FORMAT = "%Y-%m-%d %H:%M"


class NotASession(StockpickError):
    """The exchange is closed on that date."""


@dataclass(frozen=True, order=True)
class Session:
    """One trading day: its date in New York, and its opening and closing instants in UTC."""

    date: date
    open: datetime
    close: datetime

    @property
    def last_minute(self) -> datetime:
        """Start of the session's last bar."""
        return self.close - MINUTE

    @property
    def length(self) -> int:
        """Number of minutes: 390, or fewer on a half-day."""
        return int((self.close - self.open) / MINUTE)

    def minutes(self) -> pd.DatetimeIndex:
        """Starts of all its bars, datetime64[us, UTC], ascending."""
        return pd.date_range(self.open, self.last_minute, freq="min", unit="us")

    def contains(self, minute: datetime) -> bool:
        """Whether a bar that starts at `minute` belongs to this session."""
        return self.open <= minute < self.close

    def label(self) -> str:
        """The session's partition key."""
        return self.date.isoformat()


@cache
def _calendar() -> "ExchangeCalendar":
    # Imported on first use: it takes 0.4 s, which a process that never asks for a session should not pay.
    import exchange_calendars  # pyright: ignore[reportMissingTypeStubs]

    return exchange_calendars.get_calendar("XNYS", start="2004-01-01", side="left")


@cache
def session_on(day: date) -> Session:
    """The session of that date. Raises NotASession on weekends, holidays and dates the calendar does not reach."""
    calendar = _calendar()
    stamp = pd.Timestamp(day)
    if not calendar.first_session <= stamp <= calendar.last_session:
        raise NotASession(
            f"{day} lies outside the exchange calendar, which knows "
            f"{calendar.first_session.date()} to {calendar.last_session.date()}"
        )
    if not calendar.is_session(stamp):
        before, after = calendar.date_to_session(stamp, "previous"), calendar.date_to_session(stamp, "next")
        raise NotASession(
            f"{day} ({day:%A}) is no trading session of the XNYS calendar; the nearest are "
            f"{before.date()} and {after.date()}"
        )
    return Session(
        day,
        calendar.session_open(stamp).to_pydatetime().astimezone(UTC),
        calendar.session_close(stamp).to_pydatetime().astimezone(UTC),
    )


def sessions_between(first: date, last: date) -> list[Session]:
    """Every session from `first` to `last`, both included, ascending."""
    return [
        session_on(stamp.date()) for stamp in _calendar().sessions_in_range(pd.Timestamp(first), pd.Timestamp(last))
    ]


def sessions_until(last: date, count: int) -> list[Session]:
    """The `count` sessions up to and including the date `last` (or the session before it), ascending."""
    end = _calendar().date_to_session(pd.Timestamp(last), "previous")
    return [session_on(stamp.date()) for stamp in _calendar().sessions_window(end, -count)]


def session_before(session: Session) -> Session:
    """The trading session before this one."""
    return session_on(_calendar().previous_session(pd.Timestamp(session.date)).date())


def session_after(session: Session) -> Session:
    """The trading session after this one."""
    return session_on(_calendar().next_session(pd.Timestamp(session.date)).date())


def new_york_date(instant: datetime) -> date:
    """The calendar date in New York at that instant."""
    return instant.astimezone(NEW_YORK).date()


def session_of(minute: datetime) -> Session:
    """The session whose bars include the one starting at `minute`. Raises NotASession outside market hours."""
    session = session_on(new_york_date(minute))
    if not session.contains(minute):
        raise NotASession(
            f"{minute_label(minute)} New York is outside the session of {session.date}, whose bars start "
            f"{minute_label(session.open)} to {minute_label(session.last_minute)}"
        )
    return session


def last_session_begun(now: datetime) -> Session:
    """The newest session whose opening lies at or before `now`."""
    session = sessions_until(new_york_date(now), 1)[0]
    return session if session.open <= now else session_before(session)


def last_closed_minute(session: Session, now: datetime, delay: timedelta) -> datetime | None:
    """Start of the session's newest bar that had closed `delay` before `now`; None while there is none."""
    closed = int((now - delay - session.open) / MINUTE)
    if now - delay < session.open + MINUTE:
        return None
    return session.open + MINUTE * (min(closed, session.length) - 1)


def next_close(session: Session, now: datetime, delay: timedelta) -> datetime | None:
    """When the session's next bar will have closed `delay` before; None where it has none left to close.

    The first moment after `now` at which `last_closed_minute` answers another minute.
    """
    last = last_closed_minute(session, now, delay)
    following = session.open if last is None else last + MINUTE
    return following + MINUTE + delay if following <= session.last_minute else None


def minute_label(minute: datetime) -> str:
    """The minute's partition key: New York wall time, `2026-11-23 09:30`."""
    return minute.astimezone(NEW_YORK).strftime(MINUTE_FORMAT)


def minute_from_label(label: str) -> datetime:
    """The minute (UTC) that a partition key names. Raises ValueError when it is no such text."""
    return datetime.strptime(label, MINUTE_FORMAT).replace(tzinfo=NEW_YORK).astimezone(UTC)
