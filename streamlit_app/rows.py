"""From rows of the tables to the rows that a page shows: pure, Arrow in and out, no pandas.

What does not belong here: reading (data.py), drawing (charts.py), or layout (views/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.grading import never_graded
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.links import ticker_parameters
from stockpick_assets.core.market_hours import MINUTE, NEW_YORK, session_of
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import TIMESTAMP
from stockpick_assets.core.state import NO_ROW

BIN_POINTS = 5  # width of a bin of p_profit, in percentage points
SESSIONS_NEEDED = 5  # fewer sessions than this are no statistic
RECENT_MINUTES = 30
ABSENT = "–"  # of a value that does not exist

HISTORY = pa.schema(
    {
        "minute": TIMESTAMP,
        "close": pa.float64(),
        "reason": pa.string(),
        "detail": pa.string(),
        "rank": pa.int32(),
        "p_profit": pa.float64(),
        "lowest": pa.float64(),
        "highest": pa.float64(),
        "obtainable_bp": pa.float64(),
        "excess_bp": pa.float64(),
        "pop_window": pa.float64(),
        "mark": pa.string(),
        "grade": pa.string(),
    }
)


@dataclass(frozen=True)
class Tally:
    """Graded forecasts of one session by bin of p_profit: how many there were, and how many were profitable."""

    forecasts: tuple[int, ...]
    profitable: tuple[int, ...]


def tally(scores: pa.Table) -> Tally:
    """Count the graded rows (p_profit float64, profitable bool) by bins of five percentage points."""
    graded = scores.filter(pc.and_(pc.is_valid(scores["profitable"]), pc.is_valid(scores["p_profit"])))
    bins = _bin(graded["p_profit"].to_numpy())
    true = graded["profitable"].to_numpy().astype(bool)
    size = 100 // BIN_POINTS
    return Tally(
        tuple(np.bincount(bins, minlength=size).tolist()), tuple(np.bincount(bins[true], minlength=size).tolist())
    )


def trust_sentence(tallies: Mapping[date, Tally], p_profit: float) -> str:
    """How often forecasts like this one came true: the share of those graded in the same bin, and their number."""
    at = int(_bin(np.array(p_profit)))
    said = f"{at * BIN_POINTS}-{(at + 1) * BIN_POINTS} %"
    counted = [one for one in tallies.values() if one.forecasts[at]]
    forecasts, profitable = sum(one.forecasts[at] for one in counted), sum(one.profitable[at] for one in counted)
    extent = f"{_count(forecasts, 'time')}, {_count(len(counted), 'session')}"
    if len(counted) < SESSIONS_NEEDED:
        return f"Too early to say how often {said} comes true ({extent}; {SESSIONS_NEEDED} sessions are needed)."
    return f"When it said {said}, {100 * profitable / forecasts:.0f} % came true ({extent})."


def at_minute(table: pa.Table, minute: datetime) -> pa.Table:
    """The rows of one minute."""
    return between(table, minute, minute)


def between(table: pa.Table, first: datetime, last: datetime) -> pa.Table:
    """The rows of the minutes from `first` to `last`, both included."""
    minutes: Any = table["minute"]
    start, end = (pa.scalar(minute, TIMESTAMP) for minute in (first, last))
    return table.filter(pc.and_(pc.greater_equal(minutes, start), pc.less_equal(minutes, end)))


def of_ticker(table: pa.Table, ticker: str) -> pa.Table:
    """The rows of one ticker."""
    tickers: Any = table["ticker"]
    return table.filter(pc.equal(tickers, pa.scalar(ticker)))


def new_york(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """UTC instants as New York wall time without a zone, which is how charts and tables show them as they are."""
    local: Any = column.cast(pa.timestamp("us", tz=NEW_YORK.key))
    return pc.local_timestamp(local)


def sparks(picks: pa.Table, tickers: Sequence[str], minute: datetime) -> list[list[float]]:
    """Price of each ticker in the 30 minutes up to `minute`, in per cent against the first of them."""
    recent = between(picks, minute - (RECENT_MINUTES - 1) * MINUTE, minute)
    recent = recent.filter(pc.is_valid(recent["price"]))
    prices: dict[Any, list[Any]] = {ticker: [] for ticker in tickers}
    for ticker, price in zip(recent["ticker"].to_pylist(), recent["price"].to_pylist(), strict=True):
        if ticker in prices:
            prices[ticker].append(price)
    return [[100 * (price / line[0] - 1) for price in line] for line in prices.values()]


def grades(scores: pa.Table | None, minute: datetime) -> dict[str, str]:
    """Ticker to the words of its last grade of the 30 minutes up to `minute`."""
    if scores is None:
        return {}
    known = between(scores, minute - (RECENT_MINUTES - 1) * MINUTE, minute)
    return {row["ticker"]: grade(row) for row in known.filter(pc.is_valid(known["profitable"])).to_pylist()}


def grade(row: Mapping[str, Any]) -> str:
    """One graded row of scores in words: whether it came true, the obtainable return, and when it was forecast."""
    returned = row["obtainable_return"] * BASIS_POINTS
    made = row["forecast_minute"].astimezone(NEW_YORK)
    return f"{'came true' if row['profitable'] else 'did not'}, {returned:+.1f} bp, {made:%H:%M}"


def _grade_or_why(minute: datetime, score: Mapping[str, Any] | None) -> str | None:
    """What became of the forecast of a minute, by its row of scores; None while that is not known."""
    if score is None:
        return never_graded(minute, session_of(minute))
    return grade(score) if score["profitable"] is not None else score["ungraded"]


def pick_table(picks: pa.Table, scores: pa.Table | None, minute: datetime) -> pa.Table:
    """The rows of picks at `minute` in the order of their rank, those without one last, as the Picks page shows them.

    p_profit and changes are in per cent, obtainable_bp and excess_bp in basis points, last_30_minutes is a list of per
    cent. mark: why the pick is not to be relied on.
    """
    found = at_minute(picks, minute).to_pylist()
    found.sort(key=lambda row: (row["rank"] is None, row["rank"], row["ticker"]))
    tickers = [row["ticker"] for row in found]
    graded = grades(scores, minute)
    return pa.table(
        {
            "rank": pa.array([row["rank"] for row in found], pa.int32()),
            "ticker": pa.array(tickers, pa.string()),
            "p_profit": pa.array([_times(row["p_profit"], 100) for row in found], pa.float64()),
            "obtainable_bp": pa.array(
                [_times(row["expected_obtainable_return"], BASIS_POINTS) for row in found], pa.float64()
            ),
            "excess_bp": pa.array([_times(row["expected_excess_return"], BASIS_POINTS) for row in found], pa.float64()),
            "change_day": pa.array([_times(row["change_day"], 100) for row in found], pa.float64()),
            "change_5m": pa.array([_times(row["change_5m"], 100) for row in found], pa.float64()),
            "pop_window": pa.array([row["pop_window"] for row in found], pa.float64()),
            "last_30_minutes": pa.array(sparks(picks, tickers, minute), pa.list_(pa.float64())),
            "mark": pa.array([row["abstain"] for row in found], pa.string()),
            "last_grade": pa.array([graded.get(ticker) for ticker in tickers], pa.string()),
            "open": pa.array([f"/ticker?{urlencode(ticker_parameters(ticker))}" for ticker in tickers], pa.string()),
        }
    )


def chosen(table: pa.Table, few: int | None, least_p_profit: float) -> pa.Table:
    """The first `few` rows (None: all) with at least that p_profit in per cent; 0 lets those without one pass."""
    if least_p_profit:
        probabilities: Any = table["p_profit"]
        table = table.filter(pc.greater_equal(probabilities, pa.scalar(float(least_p_profit))))
    return table.slice(0, few)


def history(
    picks: pa.Table | None, raw: pa.Table | None, scores: pa.Table | None, ticker: str, first: datetime, last: datetime
) -> pa.Table:
    """Everything known of a ticker, a row for each minute from `first` to `last`, nulls where nothing is.

    Columns: minute, close, reason, detail, rank, p_profit, lowest, highest (p_profit of all tickers that minute),
    obtainable_bp, excess_bp, pop_window, mark, grade (or why there is none). p_profit, lowest and highest are in per
    cent.
    """
    bars = {row["minute"]: row for row in of_ticker(raw, ticker).to_pylist()} if raw is not None else {}
    said = {row["minute"]: row for row in of_ticker(picks, ticker).to_pylist()} if picks is not None else {}
    graded = (
        {row["forecast_minute"]: row for row in of_ticker(scores, ticker).to_pylist()} if scores is not None else {}
    )
    ends: dict[datetime, dict[str, float]] = {}
    if picks is not None:
        of_all = picks.group_by("minute").aggregate([("p_profit", "min"), ("p_profit", "max")])
        ends = {row["minute"]: row for row in of_all.to_pylist()}
    rows = []
    for step in range(int((last - first) / MINUTE) + 1):
        minute = first + step * MINUTE
        bar, pick, end = bars.get(minute, {}), said.get(minute, {}), ends.get(minute, {})
        score = graded.get(minute)
        rows.append(
            {
                "minute": minute,
                "close": bar.get("close"),
                "reason": bar.get("reason", NO_ROW),
                "detail": bar.get("detail"),
                "rank": pick.get("rank"),
                "p_profit": _times(pick.get("p_profit"), 100),
                "lowest": _times(end.get("p_profit_min"), 100),
                "highest": _times(end.get("p_profit_max"), 100),
                "obtainable_bp": _times(pick.get("expected_obtainable_return"), BASIS_POINTS),
                "excess_bp": _times(pick.get("expected_excess_return"), BASIS_POINTS),
                "pop_window": pick.get("pop_window"),
                "mark": pick.get("abstain"),
                "grade": _grade_or_why(minute, score),
            }
        )
    return pa.Table.from_pylist(rows, schema=HISTORY)


@dataclass(frozen=True)
class Run:
    """Consecutive minutes of a ticker without a bar, for one reason; `last` is the start of the last of them."""

    reason: str
    first: datetime
    last: datetime
    detail: str

    @property
    def minutes(self) -> int:
        """How many they are."""
        return int((self.last - self.first) / MINUTE) + 1


def runs_without_bar(history: pa.Table) -> list[Run]:
    """The runs of a ticker's history in which it has no bar."""
    runs: list[Run] = []
    for row in history.select(["minute", "reason", "detail"]).to_pylist():
        if row["reason"] == Reason.PRESENT:
            continue
        run = Run(row["reason"], row["minute"], row["minute"], row["detail"] or "")
        before = runs[-1] if runs else None
        if before and (before.reason, before.detail, before.last) == (run.reason, run.detail, run.first - MINUTE):
            run = Run(run.reason, before.first, run.last, run.detail)
            runs.pop()
        runs.append(run)
    return runs


def duration(span: timedelta) -> str:
    """A span of time in words: `45 s`, `3 min 05 s`, `17 h 30 min`, `2 d 17 h`."""
    seconds = int(span.total_seconds())
    if seconds < 100:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def _bin(p_profit: np.ndarray) -> np.ndarray:
    """Which bin holds each p_profit. Rounded first, because 0.29 * 100 is 28.999999999999996."""
    return np.minimum(np.round(100 * p_profit, 9) // BIN_POINTS, 100 // BIN_POINTS - 1).astype(np.int64)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
