"""What became of a session's minutes, ticker by ticker: what `stockpick quality` shows.

What does not belong here: whether that is good enough (quality.py), reading the rows, or how the table looks.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.market_hours import Session, last_closed_minute
from stockpick_assets.core.quality import FINAL, AnswerMatrix
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.versions import BAR

_THINNEST = 5
_VERSION = ("fetched_at", "known_at", *BAR)


@dataclass(frozen=True)
class Row:
    """What became of one ticker's minutes, or of those of all.

    reasons: how many have each, the most frequent first. withheld: bars without their volume. first, last: its first
    and last bar; None where it has none. revised: minutes with more than one stored version. late: minutes whose first
    bar, or without any whose first answer, came too late to act upon.
    """

    reasons: Mapping[str, int]
    withheld: int
    first: datetime | None
    last: datetime | None
    revised: int
    late: int

    @property
    def expected(self) -> int:
        """Its minutes."""
        return sum(self.reasons.values())

    @property
    def unexplained(self) -> int:
        """Minutes that have no row, or whose reason is not final."""
        return sum(count for reason, count in self.reasons.items() if reason not in FINAL)


@dataclass(frozen=True)
class ThinMinute:
    """A minute in which some listed tickers have no bar. listed: how many could have one. without: which have none."""

    minute: datetime
    listed: int
    without: tuple[str, ...]


@dataclass(frozen=True)
class Remark:
    """A minute of a ticker that is not plainly present or was revised, and what its newest row says of it.

    versions: fetched_at, known_at and the columns BAR of each stored row, the oldest first.
    """

    minute: datetime
    reason: str
    detail: str | None
    versions: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class SessionQuality:
    """A session so far. tickers: one row each. thinnest: a few minutes, the worst first."""

    tickers: Mapping[str, Row]
    together: Row
    thinnest: tuple[ThinMinute, ...]


def expected_minutes(session: Session, newest: datetime | None, now: datetime) -> list[datetime]:
    """The session's minutes that must be answered at market time `now`, ascending.

    Those up to `newest`, the newest that has a row, and those that closed BACKFILL_LAG ago: a younger one may be on its
    way.
    """
    closed = last_closed_minute(session, now, BACKFILL_LAG)
    last = max((minute for minute in (newest, closed) if minute is not None), default=None)
    return [minute for minute in session.minutes().to_pydatetime() if last is not None and minute <= last]


def session_quality(answers: AnswerMatrix, versions: pa.Table) -> SessionQuality:
    """What became of the session's minutes.

    versions: every stored row of the session (ticker, minute, reason, backfilled), the oldest first.
    """
    present, withheld = answers.present, answers.withheld
    late = _first_answers(answers, versions).column("backfilled", False).astype(bool)
    stored = versions.group_by(["ticker", "minute"]).aggregate([([], "count_all")])
    revised = Counter(stored["ticker"].take(np.flatnonzero(stored["count_all"].to_numpy() > 1)).to_pylist())

    def row(tickers: slice) -> Row:
        having: list[int] = np.flatnonzero(present[:, tickers].any(axis=1)).tolist()
        return Row(
            answers.counts(tickers),
            int(withheld[:, tickers].sum()),
            answers.minutes[having[0]] if having else None,
            answers.minutes[having[-1]] if having else None,
            sum(revised[ticker] for ticker in answers.tickers[tickers]),
            int(late[:, tickers].sum()),
        )

    each = {ticker: row(slice(place, place + 1)) for place, ticker in enumerate(answers.tickers)}
    return SessionQuality(each, row(slice(None)), tuple(_thinnest(answers)))


def remarks(answers: AnswerMatrix, versions: pa.Table, ticker: str) -> list[Remark]:
    """The ticker's minutes that have no bar, one with something to say about it, or several; ascending.

    versions: every stored row of the session, the oldest first.
    """
    stored = defaultdict[datetime, list[Mapping[str, Any]]](list)
    of_ticker = versions.filter(pc.field("ticker") == ticker)
    minutes: list[Any] = of_ticker["minute"].to_pylist()
    for minute, version in zip(minutes, of_ticker.select(_VERSION).to_pylist(), strict=True):
        stored[minute].append(version)
    column = answers.tickers.index(ticker)
    details, unsized = answers.column("detail", None)[:, column], answers.unsized[:, column]
    reasons: list[str] = answers.reasons[:, column].tolist()
    return [
        Remark(minute, reason, detail, tuple(stored[minute]))
        for minute, reason, detail, odd in zip(answers.minutes, reasons, details, unsized, strict=True)
        if reason != Reason.PRESENT or detail is not None or odd or len(stored[minute]) > 1
    ]


def _first_answers(answers: AnswerMatrix, versions: pa.Table) -> AnswerMatrix:
    """The oldest version with a bar of each minute × ticker, or where none has one the oldest."""
    bars = np.array([reason == Reason.PRESENT for reason in versions["reason"].to_pylist()], bool)
    wanted_last = np.lexsort((-np.arange(len(bars)), bars))  # of a repeated one the last counts
    return AnswerMatrix.of(versions.take(wanted_last), answers.tickers, answers.minutes)


def _thinnest(answers: AnswerMatrix) -> list[ThinMinute]:
    listed, missing = answers.listed.sum(axis=1), answers.listed & ~answers.present
    share = missing.sum(axis=1) / np.maximum(listed, 1)
    worst: list[int] = np.argsort(-share, kind="stable")[:_THINNEST].tolist()
    return [
        ThinMinute(
            answers.minutes[place],
            int(listed[place]),
            tuple(answers.tickers[ticker] for ticker in np.flatnonzero(missing[place])),
        )
        for place in worst
        if share[place]
    ]
