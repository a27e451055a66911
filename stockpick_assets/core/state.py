"""How current the newest minute of the tables is, and how complete: the one judgement that every page shows.

Pure: what the tables hold and what time it is are arguments. What does not belong here: reading them, or the words
and colours a state is shown with.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from stockpick_assets.core.market_hours import MINUTE, last_closed_minute, last_session_begun, session_after
from stockpick_assets.core.reasons import Reason

FLOW = ("raw_prices", "features", "predictions", "picks")
NO_ROW = "no_row"

# One minute until the next bar closes, and 15 s for it to come through the flow.
LIVE_WITHIN = timedelta(seconds=75)
LATE_WITHIN = timedelta(minutes=5)
# A replay at ten times the speed closes a minute every 6 s, but a run takes as long as ever: 12 s at the 95th
# percentile. A page is allowed two runs and their wait before it says late, and twice that before it says broken.
LIVE_WITHIN_WALL = timedelta(seconds=30)
LATE_WITHIN_WALL = timedelta(seconds=60)


class Freshness(StrEnum):
    """How current the newest minute is."""

    EMPTY = "empty"
    LIVE = "live"
    LATE = "late"
    BROKEN = "broken"
    CLOSED = "closed"


@dataclass(frozen=True)
class Tables:
    """What the tables hold.

    newest: newest minute of each table of the flow that has a row.
    The other fields speak of the newest minute of picks. expected: the tickers there ought to be, and those that are
    not listed that day and only have a row. reasons: ticker to
    `raw_prices.reason`. picked: the tickers with a row in picks. ranked: those with a rank. abstained: ticker to the
    reason there is no forecast to rely on. models: the model versions of its rows.
    failure: why the store could not be read, where it could not; the rest is then what was read last.
    """

    newest: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    expected: Collection[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    picked: Collection[str] = ()
    ranked: Collection[str] = ()
    abstained: Mapping[str, str] = field(default_factory=dict[str, str])
    models: Collection[str] = ()
    failure: str | None = None


@dataclass(frozen=True)
class State:
    """What a page may claim of its newest minute.

    minute: the newest minute of picks; None while there is none. age: market time since its close.
    due: the newest minute there ought to be by now. waiting_for: the first table of the flow that has not come
    further than picks. opening: when the market opens next, where it is closed. ranked, expected: numbers of tickers.
    without: reason to the expected tickers that have no bar. abstain: why the whole minute has no forecast to rely
    on. models: the model versions of the minute, sorted. failure: why what is shown is not current.
    """

    freshness: Freshness
    minute: datetime | None = None
    age: timedelta = timedelta(0)
    due: datetime | None = None
    waiting_for: str | None = None
    opening: datetime | None = None
    ranked: int = 0
    expected: int = 0
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    abstain: str | None = None
    models: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def present(self) -> int:
        """Number of expected tickers that have a bar."""
        return self.expected - sum(map(len, self.without.values()))

    @property
    def complete(self) -> bool:
        """Whether the tables have come as far as they ought to by now."""
        return self.minute is not None and (self.due is None or self.minute >= self.due)

    @property
    def partial(self) -> bool:
        """Whether an expected ticker has no bar."""
        return bool(self.without)

    @property
    def mixed(self) -> bool:
        """Whether the minute holds forecasts of more than one model."""
        return len(self.models) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """The state in words: its freshness, then what else holds."""
        marks = {"abstain": self.abstain is not None, "partial": self.partial, "mixed": self.mixed}
        return (self.freshness.value, *(name for name, holds in marks.items() if holds))


def state_of(now: datetime, speed: float, tables: Tables) -> State:
    """Judge what the tables hold at market time `now`, on a market clock that runs `speed` times as fast as the wall's.

    Ages are market time. A minute is live up to 75 s after its close, late up to 5 min, or as many market seconds as
    pass in 30 s and 60 s of wall time where the clock is so fast that this is more. Before the first minute of a
    session is due the market counts as closed, and the session before it is the one to show.
    """
    live = max(LIVE_WITHIN, LIVE_WITHIN_WALL * speed)
    late = max(LATE_WITHIN, LATE_WITHIN_WALL * speed)
    session = last_session_begun(now)
    minute = tables.newest.get("picks")
    if minute is None:
        freshness = Freshness.BROKEN if tables.failure else Freshness.EMPTY
        return State(freshness, due=last_closed_minute(session, now, live - MINUTE), failure=tables.failure)

    opening = session_after(session).open if not session.contains(now) else None
    if minute < session.open and session.open <= now <= session.open + live:
        opening = session.open
    overdue = now - max(minute + MINUTE, session.open)
    failure = tables.failure
    if failure is None and overdue < -MINUTE:
        failure = "the tables hold minutes that the market clock has not reached; was the replay started again?"
    if failure is not None:
        freshness = Freshness.BROKEN
    elif opening is not None:
        freshness = Freshness.CLOSED
    elif overdue <= live:
        freshness = Freshness.LIVE
    else:
        freshness = Freshness.LATE if overdue <= late else Freshness.BROKEN

    without: dict[str, tuple[str, ...]] = {}
    expected = sorted(ticker for ticker in tables.expected if tables.reasons.get(ticker) != Reason.NOT_LISTED)
    for ticker in expected:
        reason = tables.reasons.get(ticker, NO_ROW)
        if reason != Reason.PRESENT:
            without[reason] = (*without.get(reason, ()), ticker)
    abstains = bool(tables.picked) and all(ticker in tables.abstained for ticker in tables.picked)
    return State(
        freshness,
        minute,
        age=max(now - minute - MINUTE, timedelta(0)),
        due=last_closed_minute(session, now, live - MINUTE),
        waiting_for=next((name for name in FLOW if tables.newest.get(name, minute) <= minute), None),
        opening=opening,
        ranked=len(tables.ranked),
        expected=len(expected),
        without=without,
        abstain=Counter(tables.abstained.values()).most_common(1)[0][0] if abstains else None,
        models=tuple(sorted(tables.models)),
        failure=failure,
    )
