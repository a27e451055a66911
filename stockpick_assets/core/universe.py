"""Which tickers are ranked in a session: the NASDAQ-100 of that day, or those that the settings name.

What belongs here: who was a member when, what a session changed of it, and what a ticker may look like. The record is
nasdaq_100.csv beside this module, which says where it is from. What does not: which minutes are asked for
(expected.py), or which tickers have partitions (window.py).
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files

from stockpick_assets.core.errors import StockpickError

# Yahoo's own form: letters and digits, with a dot, dash, caret or equals sign inside (BRK-B, ^NDX, EURUSD=X).
TICKER = re.compile(r"\^?[A-Z0-9][A-Z0-9.=-]{0,14}")

# From here to 2026-06-22 the record has, on each of the 37 days of a change, the members that a second one has.
KNOWN_FROM = date(2020, 1, 1)
BESIDE = "beside the index, named in the settings"


class UnknownMembership(StockpickError):
    """Who was a member on that day is not recorded."""


class Change(StrEnum):
    """What became of a ticker between two days. The words stand in `universe.change`."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    DELISTED = "delisted"


@dataclass(frozen=True)
class Entry:
    """A ticker on a day: whether it is in the universe then, and what changed since an earlier day, if anything did.

    A renamed company has two: its new ticker is in, its old one is not.
    """

    ticker: str
    name: str | None = None
    member: bool = True
    change: Change | None = None
    detail: str | None = None


@dataclass(frozen=True)
class _Stretch:
    """A row of the record: a member from `first` until the day before `until`, and why it left."""

    ticker: str
    name: str
    first: date
    until: date | None
    left: Change | None
    became: str | None

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.until is None or day < self.until)


@dataclass(frozen=True)
class Universe:
    """The tickers of each session: `fixed` where there are any, else the members of the NASDAQ-100; `extra` always."""

    fixed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def on(self, day: date) -> tuple[str, ...]:
        """The tickers of a session, in alphabetical order. Raises UnknownMembership."""
        return tuple(sorted({*(self.fixed or members(day)), *self.extra}))

    def over(self, days: Iterable[date]) -> tuple[str, ...]:
        """The tickers of any of these sessions, in alphabetical order. Raises UnknownMembership."""
        return tuple(sorted({ticker for day in days for ticker in self.on(day)}))

    def entries(self, day: date, before: date) -> tuple[Entry, ...]:
        """The tickers of a session, and those that left it since the day `before`, in alphabetical order.

        Of days before KNOWN_FROM nothing is known to have changed. Raises UnknownMembership.
        """
        if self.fixed:
            found = {ticker: Entry(ticker) for ticker in self.fixed}
        else:
            found = {ticker: Entry(ticker, name) for ticker, name in _names(day).items()}
            found |= {entry.ticker: entry for entry in changes(max(before, KNOWN_FROM), day)}
        found |= {ticker: Entry(ticker, detail=BESIDE) for ticker in set(self.extra) - set(self.fixed or members(day))}
        return tuple(found[ticker] for ticker in sorted(found))

    @property
    def as_of(self) -> date | None:
        """The newest change that the record has; None where it is not asked."""
        return None if self.fixed else data_as_of()

    def is_outdated(self, day: date) -> bool:
        """Whether a yearly change that holds on that day is newer than the record."""
        if self.as_of is None:
            return False
        return any(self.as_of < reconstituted(year) <= day for year in range(self.as_of.year, day.year + 1))


def reconstituted(year: int) -> date:
    """The day from which the index of that December holds: the Monday after the month's third Friday.

    The record has a change on that day in each of the six years from 2020 to 2025. That it has none for long is no sign
    of its age: between two changes up to 212 days went by.
    """
    first = date(year, 12, 1)
    third_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    return third_friday + timedelta(days=3)


def members(day: date) -> tuple[str, ...]:
    """The members of the NASDAQ-100 on that day, in alphabetical order: some 100 companies, a few with two tickers.

    After the record's newest change they are those of that change. Raises UnknownMembership before KNOWN_FROM.
    """
    return tuple(sorted(_names(day)))


def changes(before: date, after: date) -> tuple[Entry, ...]:
    """What of the membership on the day `before` is another on the day `after`, in the order of tickers.

    Raises UnknownMembership.
    """
    earlier, later = _names(before), _names(after)
    left = {stretch.ticker: stretch for stretch in _record() if stretch.holds(before) and stretch.ticker not in later}
    found: dict[str, Entry] = {
        ticker: Entry(ticker, later[ticker], True, Change.ADDED) for ticker in set(later) - set(earlier)
    }
    for ticker, stretch in left.items():
        found[ticker] = Entry(ticker, stretch.name, False, stretch.left)
        if stretch.became in found:
            found[ticker] = Entry(ticker, stretch.name, False, Change.RENAMED, f"now {stretch.became}")
            found[stretch.became] = Entry(stretch.became, later[stretch.became], True, Change.RENAMED, f"was {ticker}")
    return tuple(found[ticker] for ticker in sorted(found))


@cache
def ever_members() -> tuple[str, ...]:
    """Every ticker that was a member at any time since KNOWN_FROM, in alphabetical order."""
    return tuple(sorted({stretch.ticker for stretch in _record()}))


@cache
def data_as_of() -> date:
    """The day of the newest change that the record has."""
    return max(day for stretch in _record() for day in (stretch.first, stretch.until) if day is not None)


def checked_tickers(tickers: Iterable[str]) -> tuple[str, ...]:
    """The tickers in alphabetical order, without repetition. Raises ValueError naming those that are no tickers."""
    unique = sorted(set(tickers))
    wrong = [ticker for ticker in unique if not TICKER.fullmatch(ticker)]
    if wrong:
        raise ValueError(f"no such ticker can exist: {', '.join(map(repr, wrong))}; they look like AAPL or BRK-B")
    return tuple(unique)


@cache
def _names(day: date) -> dict[str, str]:
    """Ticker to name of each member on that day."""
    if day < KNOWN_FROM:
        raise UnknownMembership(
            f"who was a member of the NASDAQ-100 on {day} is not recorded, only from {KNOWN_FROM} on; choose later "
            "sessions, or name the tickers in STOCKPICK_TICKERS"
        )
    return {stretch.ticker: stretch.name for stretch in _record() if stretch.holds(day)}


@cache
def _record() -> tuple[_Stretch, ...]:
    text = files("stockpick_assets.core").joinpath("nasdaq_100.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        _Stretch(
            row["ticker"],
            row["name"],
            date.fromisoformat(row["first"]),
            date.fromisoformat(row["until"]) if row["until"] else None,
            Change(row["left"]) if row["left"] else None,
            row["became"] or None,
        )
        for row in rows
    )


# The members after the newest change: 102 shares of 101 companies.
NASDAQ_100 = members(data_as_of())
