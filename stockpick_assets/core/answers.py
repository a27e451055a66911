"""From what a source returned to the rows of `raw_prices`: one row and one reason for each expected ticker × minute.

What belongs here: which bars can be believed, what the absence of a bar means, and when an answer counts as known.
What does not: how a source is asked (resources/), or what is done about reasons that are not final.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.market_hours import MINUTE, Session, minute_label
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import RAW_PRICES

# The horizon of a forecast: a bar answered later than this could not have been acted upon. Such a bar is marked
# `backfilled` and dated this long after its close, which is no earlier than a live answer may come.
BACKFILL_LAG = timedelta(minutes=5)

PRICES = ("open", "high", "low", "close")

Minutes = NDArray[np.datetime64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """The minutes `first` to `last` of one session for `tickers`, asked at market time `now` and wall time `wall`.

    Raises ValueError when a minute lies outside the session, is off the minute grid, or has not closed by `now`.
    """

    session: Session
    first: datetime
    last: datetime
    tickers: tuple[str, ...]
    now: datetime
    wall: datetime

    def __post_init__(self) -> None:
        for minute in (self.first, self.last):
            if not self.session.contains(minute) or (minute - self.session.open) % MINUTE:
                raise ValueError(f"{minute_label(minute)} is no minute of the session of {self.session.date}")
        if self.first > self.last:
            raise ValueError(f"{minute_label(self.first)} comes after {minute_label(self.last)}")
        if self.last + MINUTE > self.now:
            raise ValueError(f"the minute {minute_label(self.last)} has not closed at {self.now:%Y-%m-%d %H:%M:%S} UTC")

    def minutes(self) -> Minutes:
        """Starts of the minutes asked for, datetime64[us] in UTC, ascending."""
        return _minutes(self.first, self.last + MINUTE)


@dataclass(frozen=True)
class Failure:
    """There is no bar, for this reason; `detail` says what the source said."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Bars:
    """The rows a source returned for one ticker, as it returned them: any order, any minute, believable or not.

    minutes: datetime64[us], UTC. The others: float64 of the same length, NaN where the source had nothing.
    silent: minutes of which the source shows that nothing traded, should they have no row here.
    absent: what it means when a minute has no row and is not silent; None while that may still change.
    splits: by the start of the minute from which it holds, how many shares one share became.
    day_volume: shares that the source says were traded in the session so far; None where it does not say.
    """

    minutes: Minutes
    open: Numbers
    high: Numbers
    low: Numbers
    close: Numbers
    volume: Numbers
    silent: Minutes
    absent: Failure | None = None
    splits: Mapping[np.datetime64, float] = field(default_factory=dict[np.datetime64, float])
    day_volume: float | None = None

    def quoted(self) -> NDArray[np.bool_]:
        """Which rows hold any price at all: a row of nulls says no more than no row."""
        return ~(np.isnan(self.open) & np.isnan(self.high) & np.isnan(self.low) & np.isnan(self.close))


def no_bars(absent: Failure | None = None) -> Bars:
    """The answer of a source that returned no row."""
    none, never = np.array([], dtype=np.float64), np.array([], dtype="datetime64[us]")
    return Bars(never, none, none, none, none, none, never, absent)


def silent_minutes(request: Request, quoted: Minutes, reaches: datetime | None = None) -> Minutes:
    """The minutes asked for that had closed when something later was seen, so that having no bar means no trade.

    quoted: starts of the rows of an answer that hold a price; only minutes of the session are evidence.
    reaches: the instant up to which the answer itself says that it goes.
    """
    inside = quoted[np.isin(quoted, _minutes(request.session.open, request.session.close))]
    asked = request.minutes()
    seen = np.max(np.append(inside, _utc64(reaches or request.session.open)))
    return asked[asked + np.timedelta64(MINUTE) <= seen]


def _minutes(start: datetime, stop: datetime) -> Minutes:
    return np.arange(_utc64(start), _utc64(stop), np.timedelta64(MINUTE), dtype="datetime64[us]")


def _utc64(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def raw_prices(source: str, request: Request, answers: Mapping[str, Bars | Failure]) -> pa.Table:
    """The rows of `raw_prices` that answer a request, by minute and ticker; `answers` holds every ticker asked for.

    A bar whose prices are not all positive, or not between low and high, is quarantined, as is a minute with two
    different bars. A volume that is negative or no number is withheld. Rows of other minutes are left out.
    """
    asked = request.minutes()
    answered = [_answered(request, asked, answers[ticker]) for ticker in request.tickers]
    closes_at = asked + np.timedelta64(MINUTE)
    late_at = closes_at + np.timedelta64(BACKFILL_LAG)
    now = _utc64(request.now)
    tickers, rows = len(request.tickers), len(request.tickers) * len(asked)
    columns = {
        "session": np.full(rows, np.datetime64(request.session.date)),
        "minute": np.repeat(asked, tickers),
        "ticker": np.tile(np.array(request.tickers, dtype=object), len(asked)),
        "source": np.full(rows, source, dtype=object),
        **{name: np.stack([columns[name] for columns in answered], axis=1).ravel() for name in answered[0]},
        "fetched_at": np.full(rows, _utc64(request.wall)),
        "known_at": np.repeat(np.minimum(late_at, now), tickers),
        "backfilled": np.repeat(late_at < now, tickers),
    }
    arrays = {name: pa.array(columns[name], from_pandas=True) for name in RAW_PRICES.columns.names}
    return pa.table(arrays).cast(RAW_PRICES.columns)


def _answered(request: Request, asked: Minutes, answer: Bars | Failure) -> dict[str, NDArray[Any]]:
    """The columns that say what became of each minute asked for, of one ticker."""
    if isinstance(answer, Failure):
        answer = no_bars(answer)
    reason, detail = np.full(len(asked), "", dtype=object), np.full(len(asked), None, dtype=object)
    if answer.absent is None:
        overdue = asked + np.timedelta64(MINUTE) + np.timedelta64(BACKFILL_LAG) < _utc64(request.now)
        reason[:] = np.where(overdue, Reason.PROVIDER_ERROR.value, Reason.PENDING.value)
        detail[:] = _extent(answer)
    else:
        reason[:], detail[:] = answer.absent.reason.value, answer.absent.detail
    silent = np.isin(asked, answer.silent)
    reason[silent], detail[silent] = Reason.NO_TRADE.value, None

    values = {name: np.full(len(asked), np.nan) for name in (*PRICES, "volume")}
    rows = np.flatnonzero(answer.quoted() & np.isin(answer.minutes, asked))
    places = np.searchsorted(asked, answer.minutes[rows])
    bars = np.stack([getattr(answer, name)[rows] for name in values])
    reason[places], detail[places] = Reason.PRESENT.value, None
    for row in np.flatnonzero(~_volume_believed(bars)):
        detail[places[row]] = f"volume withheld: it was {bars[-1, row]:g}"
        bars[-1, row] = np.nan
    for row in np.flatnonzero(~_prices_believed(bars)):
        reason[places[row]], detail[places[row]] = Reason.QUARANTINED.value, f"impossible: {_spoken(bars[:, row])}"
    for place in np.flatnonzero(np.bincount(places, minlength=len(asked)) > 1):
        versions = bars[:, places == place]
        if not np.array_equal(versions[:, 1:], versions[:, :-1], equal_nan=True):
            reason[place] = Reason.QUARANTINED.value
            detail[place] = "different bars: " + "; ".join(_spoken(version) for version in versions.T)
    for name, column in zip(values, bars, strict=True):
        values[name][places] = column
        values[name][reason != Reason.PRESENT.value] = np.nan
    split = np.array([answer.splits.get(minute, np.nan) for minute in asked])
    return {**values, "split": split, "reason": reason, "detail": detail}


def _prices_believed(bars: Numbers) -> NDArray[np.bool_]:
    opening, high, low, close = bars[:4]
    return (low > 0) & (low <= np.minimum(opening, close)) & (np.maximum(opening, close) <= high) & (high < np.inf)


def _volume_believed(bars: Numbers) -> NDArray[np.bool_]:
    return np.isfinite(bars[4]) & (bars[4] >= 0)


def _spoken(bar: Numbers) -> str:
    return " ".join(f"{name} {value:g}" for name, value in zip((*PRICES, "volume"), bar, strict=True))


def _extent(answer: Bars) -> str:
    """How far an answer goes that does not explain why a minute is missing."""
    quoted = answer.minutes[answer.quoted()]
    if not quoted.size:
        return "the answer holds no bar"
    first, last = (minute_label(minute.item().replace(tzinfo=UTC)) for minute in (quoted.min(), quoted.max()))
    return f"the answer holds {len(quoted)} bars from {first} to {last} New York and does not explain this minute"
