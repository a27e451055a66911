"""From what a source returned to the rows of `raw_prices`: one row and one reason for each expected ticker × minute.

What belongs here: what the presence of a row and its absence mean, and when an answer counts as known. What does not:
how a source is asked (resources/), which bars can be believed (quarantine.py), or what is done about reasons that are
not final.

A minute asked for has one of these reasons, the first that holds, by this evidence:

    present        one closed bar on the minute, whose prices break no rule; the volume may be withheld
    quarantined    such bars, whose prices break a rule
    halted         no bar, and the source knows of a halt: `Bars.halted`
    no_trade       no bar, and the source shows something later than the minute: `Bars.silent`
    what it says   no bar, and the source says why there is none and will be none: `Failure`, `Bars.absent`
    provider_error no bar, nothing that explains it, and BACKFILL_LAG has passed since the minute closed
    pending        the same before that

From bars alone a halt of some minutes cannot be told from minutes in which nobody traded: both are no_trade. Nor is a
flat bar without volume evidence of anything while it is the newest of an answer, closed minute or not: that is how a
bar that still forms looks. It is left out, and its minute stays pending until something later is there, but for the
last of a session that is over. Where the whole answer has nothing but such bars its feed stands still: they are
quarantined and the newest stays unanswered.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.bars import COLUMNS, Bars, Failure, Minutes, Numbers, no_bars
from stockpick_assets.core.market_hours import MINUTE, NEW_YORK, Session, minute_label
from stockpick_assets.core.quarantine import broken
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import RAW_PRICES

# The horizon of a forecast: a bar answered later than this could not have been acted upon. Such a bar is marked
# `backfilled` and dated this long after its close, which is no earlier than a live answer may come.
BACKFILL_LAG = timedelta(minutes=5)

# How long before the first minute asked for the rows begin that rules of quarantine compare it with.
CONTEXT = timedelta(minutes=15)

LEFT_OUT = b"left_out"  # where the schema's metadata says what was left out


class LeftOut(StrEnum):
    """Why a row with prices can be neither a bar of the minutes asked for nor compared with one.

    A forming row is one whose minute has not closed, or that looks so: flat, without volume and the newest.
    """

    OTHER_SESSION = "other_session"
    PRE_MARKET = "pre_market"
    POST_MARKET = "post_market"
    OFF_GRID = "off_grid"
    NOT_BEGUN = "not_begun"
    FORMING = "forming"


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

    @property
    def since(self) -> datetime:
        """From when rows are of use: CONTEXT before the first minute asked for, in its session."""
        return max(self.session.open, self.first - CONTEXT)


def silent_minutes(request: Request, quoted: Minutes, reaches: datetime | None = None) -> Minutes:
    """The minutes asked for that had closed when something later was seen, so that having no bar means no trade.

    quoted: starts of the rows of an answer that hold a price; only begun minutes of the session are evidence.
    reaches: the instant up to which the answer itself says that it goes.
    """
    begun = min(request.session.close, request.now + timedelta(microseconds=1))
    inside = quoted[np.isin(quoted, _minutes(request.session.open, begun))]
    asked = request.minutes()
    seen = np.max(np.append(inside, _utc64(reaches or request.session.open)))
    return asked[asked + np.timedelta64(MINUTE) <= seen]


def _minutes(start: datetime, stop: datetime) -> Minutes:
    return np.arange(_utc64(start), _utc64(stop), np.timedelta64(MINUTE), dtype="datetime64[us]")


def _utc64(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def raw_prices(source: str, request: Request, answers: Mapping[str, Bars | Failure]) -> pa.Table:
    """The rows of `raw_prices` that answer a request, by minute and ticker; `answers` holds every ticker asked for.

    Rows that are no bars of the minutes asked for are left out; `left_out` reads how many.
    """
    asked = request.minutes()
    left: Counter[LeftOut] = Counter()
    answered = [_answered(request, asked, answers[ticker], left) for ticker in request.tickers]
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
    return pa.table(arrays).cast(RAW_PRICES.columns).replace_schema_metadata({LEFT_OUT: json.dumps(+left)})


def left_out(rows: pa.Table) -> dict[str, int]:
    """How many rows `raw_prices` left out of its answer, of all tickers, by `LeftOut`; kinds without any are absent.

    Context is not among them: minutes of the session that were not asked for. Nor are rows without any price.
    """
    return json.loads((rows.schema.metadata or {}).get(LEFT_OUT, b"{}"))


def _answered(
    request: Request, asked: Minutes, answer: Bars | Failure, left: Counter[LeftOut]
) -> dict[str, NDArray[Any]]:
    """The columns that say what became of each minute asked for, of one ticker; adds to `left` what it leaves out."""
    if isinstance(answer, Failure):
        answer = no_bars(answer)
    bars = _closed(request, answer.take(answer.quoted()), left).ordered()
    by_price, by_volume = broken(bars)
    values = bars.values()
    rows = np.flatnonzero((bars.minutes >= asked[0]) & (bars.minutes <= asked[-1]))
    places = ((bars.minutes[rows] - asked[0]) // np.timedelta64(MINUTE)).astype(int)
    reason, detail = np.full(len(asked), Reason.PRESENT.value, dtype=object), np.full(len(asked), None, dtype=object)
    missing = np.ones(len(asked), dtype=np.bool_)
    missing[places] = False
    if missing.any():
        reason[missing], detail[missing] = _without_bar(request, asked[missing], answer)
    price_doubted, volume_doubted = by_price != "", by_volume != ""
    doubted = price_doubted | volume_doubted
    for row, place in zip(rows[doubted[rows]], places[doubted[rows]], strict=True):
        if by_price[row]:
            of_minute = values[:, bars.minutes == asked[place]]
            reason[place] = Reason.QUARANTINED.value
            detail[place] = f"{by_price[row]}: {'; '.join(_spoken(bar) for bar in of_minute.T)}"
        else:
            detail[place] = f"{by_volume[row]}: volume {values[-1, row]:g}"
    values[:, price_doubted] = np.nan
    values[-1, volume_doubted] = np.nan
    columns: dict[str, NDArray[Any]] = {name: np.full(len(asked), np.nan) for name in COLUMNS}
    for name, column in zip(COLUMNS, values, strict=True):
        columns[name][places] = column[rows]
    columns["split"] = np.full(len(asked), np.nan)
    for start, ratio in answer.splits.items():
        columns["split"][asked == start] = ratio
    return {**columns, "reason": reason, "detail": detail}


def _without_bar(request: Request, minutes: Minutes, answer: Bars) -> tuple[NDArray[Any], NDArray[Any]]:
    """The reason and the detail of minutes in which an answer has no bar."""
    if answer.absent is None:
        overdue = minutes + np.timedelta64(MINUTE) + np.timedelta64(BACKFILL_LAG) < _utc64(request.now)
        reason = np.where(overdue, Reason.PROVIDER_ERROR.value, Reason.PENDING.value).astype(object)
        detail = np.full(len(minutes), _extent(answer), dtype=object)
    else:
        reason = np.full(len(minutes), answer.absent.reason.value, dtype=object)
        detail = np.full(len(minutes), answer.absent.detail, dtype=object)
    for known, why in ((answer.silent, Reason.NO_TRADE), (answer.halted, Reason.HALTED)):
        told = np.isin(minutes, known)
        reason[told], detail[told] = why.value, None
    return reason, detail


def _closed(request: Request, bars: Bars, left: Counter[LeftOut]) -> Bars:
    """The closed bars of the session from the context on; adds to `left` the rows that are none, by what they are."""
    minutes, now = bars.minutes, _utc64(request.now)
    midnight, opening, close, next_midnight = _day(request.session)
    kinds = {
        LeftOut.OTHER_SESSION: (minutes < midnight) | (minutes >= next_midnight),
        LeftOut.PRE_MARKET: minutes < opening,
        LeftOut.POST_MARKET: minutes >= close,
        LeftOut.OFF_GRID: (minutes - opening) % np.timedelta64(MINUTE) != np.timedelta64(0),
        LeftOut.NOT_BEGUN: minutes > now,
    }
    rest = np.ones(len(bars), dtype=np.bool_)
    for kind, rows in kinds.items():
        left[kind] += int(np.count_nonzero(rows & rest))
        rest &= ~rows
    newest = rest & (minutes == np.max(np.append(minutes[rest], opening)))
    over = (minutes == close - np.timedelta64(MINUTE)) & (close + np.timedelta64(BACKFILL_LAG) <= now)
    forming = rest & ((minutes + np.timedelta64(MINUTE) > now) | (newest & bars.flat() & ~over))
    left[LeftOut.FORMING] += int(np.count_nonzero(forming))
    return bars.take(rest & ~forming & (minutes >= _utc64(request.since)))


@lru_cache(maxsize=8)
def _day(session: Session) -> tuple[np.datetime64, np.datetime64, np.datetime64, np.datetime64]:
    """A session's day in New York: its midnight, open and close, and the next midnight."""
    midnight, next_midnight = (
        datetime.combine(session.date + timedelta(days=days), time(), NEW_YORK) for days in (0, 1)
    )
    return _utc64(midnight), _utc64(session.open), _utc64(session.close), _utc64(next_midnight)


def _spoken(bar: Numbers) -> str:
    return " ".join(f"{name} {value:g}" for name, value in zip(COLUMNS, bar, strict=True))


def _extent(answer: Bars) -> str:
    """How far an answer goes that does not explain why a minute is missing."""
    quoted = answer.minutes[answer.quoted()]
    if not quoted.size:
        return "the answer holds no bar"
    first, last = (minute_label(minute.item().replace(tzinfo=UTC)) for minute in (quoted.min(), quoted.max()))
    return f"the answer holds {len(quoted)} bars from {first} to {last} New York and does not explain this minute"
