"""The partitions: ticker × minute for the flow of a minute, session for what is made once a day.

Partition keys are New York wall time of a bar's start, and a ticker: `2026-11-23 09:30|AAPL`. A run answers a
rectangle of them, a `Selection`. What does not belong here: reading or writing the rows of a selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import dagster as dg

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import (
    MINUTE_FORMAT,
    NEW_YORK,
    NotASession,
    Session,
    minute_from_label,
    minute_label,
    session_after,
    session_of,
)

TICKER = "ticker"
MINUTE_DIMENSION = "minute"


class SelectionError(StockpickError):
    """A partition key or range that cannot be run."""


@dataclass(frozen=True)
class Window:
    """What stockpick keeps live partitions for: sessions of the source, oldest first, and the tickers in key order."""

    sessions: tuple[Session, ...]
    tickers: tuple[str, ...]

    @cached_property
    def minutes(self) -> dg.TimeWindowPartitionsDefinition:
        """The minute dimension: the minutes of the window's sessions, whose last one exists as soon as it closed.

        The cron runs to 16:59 and 16:xx is excluded: with `* 9-15` the window of 15:59 would end at the next session's
        first minute, and the partition would not exist until then.
        """
        first, last = self.sessions[0], self.sessions[-1]
        closed: list[datetime] = []
        day = first.date
        open_days = {session.date: session for session in self.sessions}
        while day <= last.date:
            session = open_days.get(day)
            if day.weekday() < 5:
                opening = datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK)
                for offset in range(390):
                    minute = opening + timedelta(minutes=offset)
                    if session is None or not session.contains(minute.astimezone(UTC)):
                        closed.append(minute.replace(tzinfo=None))
            day += timedelta(days=1)
        return dg.TimeWindowPartitionsDefinition(
            start=first.open.astimezone(NEW_YORK).replace(tzinfo=None),
            end=last.close.astimezone(NEW_YORK).replace(tzinfo=None),
            fmt=MINUTE_FORMAT,
            timezone=NEW_YORK.key,
            cron_schedule="* 9-16 * * 1-5",
            exclusions=["0-29 9 * * 1-5", "* 16 * * 1-5", *closed],
        )

    @cached_property
    def ticker_minutes(self) -> dg.MultiPartitionsDefinition:
        """The partitions of the five assets of the flow."""
        return dg.MultiPartitionsDefinition(
            {TICKER: dg.StaticPartitionsDefinition(list(self.tickers)), MINUTE_DIMENSION: self.minutes}
        )

    @cached_property
    def session_partitions(self) -> dg.StaticPartitionsDefinition:
        """The partitions of training_set and return_model; the last is the session that the newest model is for."""
        sessions = (*self.sessions, self.following(self.sessions[-1]))
        return dg.StaticPartitionsDefinition([session.label() for session in sessions])

    def following(self, session: Session) -> Session:
        """The session whose model learns from `session` last: the window's next, or the exchange's after its last.

        A recording may lack a day, which then has no partition.
        """
        return next((later for later in self.sessions if later > session), None) or session_after(session)

    def __str__(self) -> str:
        return f"{self.sessions[0].label()} to {self.sessions[-1].label()} × {len(self.tickers)} tickers"

    def session(self, label: str) -> Session:
        """The window's session of that key. Raises SelectionError when it is not in the window."""
        for session in self.sessions:
            if session.label() == label:
                return session
        raise SelectionError(
            f"session {label} is outside the window, which holds {self.sessions[0].label()} to "
            f"{self.sessions[-1].label()}; set STOCKPICK_LAST_SESSION and STOCKPICK_SESSIONS to move it"
        )

    def select(self, first: datetime, last: datetime, tickers: Sequence[str] = ()) -> "Selection":
        """The minutes `first` to `last` of `tickers` (all when empty), which must be consecutive in key order.

        Raises SelectionError for a ticker or minute that is not in the window, and for ends the wrong way round.
        """
        unknown = [ticker for ticker in tickers if ticker not in self.tickers]
        if unknown:
            raise SelectionError(
                f"unknown ticker {', '.join(unknown)}; this {len(self.tickers)}-ticker universe runs from "
                f"{self.tickers[0]} to {self.tickers[-1]} and is set by STOCKPICK_TICKERS"
            )
        for minute in (first, last):
            try:
                self.session(session_of(minute).label())
            except NotASession as error:
                raise SelectionError(f"{error}; choose minutes in which the exchange was open") from None
        if first > last:
            raise SelectionError(
                f"{minute_label(first)} comes after {minute_label(last)}; the earlier minute comes first"
            )
        return Selection(first, last, tuple(tickers) or self.tickers, self)

    def selection(self, keys: dg.PartitionKeyRange, asset: str) -> "Selection":
        """What a run's range of partition keys stands for: its corners span a rectangle.

        Raises SelectionError, which names `asset` and the range, where `select` does and for keys of another form.
        """
        try:
            (first, first_ticker), (last, last_ticker) = (_parts(key) for key in (keys.start, keys.end))
            self.select(first, last, (first_ticker, last_ticker))
            start, stop = self.tickers.index(first_ticker), self.tickers.index(last_ticker)
            if start > stop:
                raise SelectionError(f"{first_ticker} comes after {last_ticker}; the earlier ticker comes first")
        except SelectionError as error:
            asked = keys.start if keys.start == keys.end else f"{keys.start} to {keys.end}"
            raise SelectionError(f"{asset}: no run can answer {asked}: {error}") from None
        return Selection(first, last, self.tickers[start : stop + 1], self)


def _parts(key: str) -> tuple[datetime, str]:
    try:
        minute, ticker = key.split("|", 1)
        return minute_from_label(minute), ticker
    except ValueError:
        raise SelectionError(f"{key!r} is no minute and ticker; write them as 2026-11-23 09:30|AAPL") from None


@dataclass(frozen=True)
class Selection:
    """A rectangle of partitions: the window's minutes from `first` to `last`, for consecutive tickers."""

    first: datetime
    last: datetime
    tickers: tuple[str, ...]
    window: Window

    @cached_property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions it touches."""
        return tuple(
            session for session in self.window.sessions if session.open <= self.last and self.first < session.close
        )

    def minutes(self) -> list[datetime]:
        """Its minutes, ascending."""
        every = (minute for session in self.sessions for minute in session.minutes().to_pydatetime())
        return [minute for minute in every if self.first <= minute <= self.last]

    @property
    def keys(self) -> dg.PartitionKeyRange:
        """The range of partition keys that a run of it carries."""
        return dg.PartitionKeyRange(
            f"{minute_label(self.first)}|{self.tickers[0]}", f"{minute_label(self.last)}|{self.tickers[-1]}"
        )

    @property
    def size(self) -> int:
        """Number of partitions."""
        return len(self.minutes()) * len(self.tickers)

    def tags(self) -> dict[str, str]:
        """The run tags that make Dagster run it as one range."""
        return {
            "dagster/asset_partition_range_start": self.keys.start,
            "dagster/asset_partition_range_end": self.keys.end,
        }

    def __str__(self) -> str:
        tickers = f"{len(self.tickers)} tickers" if len(self.tickers) > 3 else ", ".join(self.tickers)
        return f"{minute_label(self.first)} to {minute_label(self.last)} New York × {tickers}"
