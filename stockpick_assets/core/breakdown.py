"""Where in a session, and at which scores, forecasts were good: what one number for a session does not tell.

Scores and outcomes are matrices of minutes × tickers of one session, NaN where there is none; an outcome is a return as
a fraction. What does not belong here: the figures of a whole session (performance.py), what they let one conclude
(conclusions.py), or how any of it is drawn.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.evaluation import Numbers, minute_ics
from stockpick_assets.core.grid import Grid, Matrix
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.schemas import NAIVE

HALF_HOUR = 30  # minutes
MOST_GROUPS = 10


def _none() -> defaultdict[tuple[str, str], list[Numbers]]:
    return defaultdict(list)


@dataclass
class Breakdown:
    """The sessions of an evaluation, gathered one after the other, by model (`champion`, `naive`) and label."""

    _half_hours: defaultdict[tuple[str, str], list[Numbers]] = field(default_factory=_none)
    _groups: defaultdict[tuple[str, str], list[Numbers]] = field(default_factory=_none)

    def add(self, grid: Grid, predictions: pa.Table, training: pa.Table) -> None:
        """One session more: its PREDICTIONS and TRAINING_SET. One without forecasts adds nothing."""
        champion = grid.matrix(predictions, "score")
        if np.isnan(champion).all():
            return
        groups = groups_of(len(grid.tickers))
        for model, scores in (("champion", champion), (NAIVE, -grid.matrix(training, "return_1"))):
            for label in ("close", "obtainable"):
                outcomes = grid.matrix(training, f"{label}_return")
                self._half_hours[model, label].append(by_half_hour(scores, outcomes))
                self._groups[model, label].append(by_group(scores, outcomes, groups))

    def half_hours(self) -> list[dict[str, Any]]:
        """Records of `model label minute ic error`; the minute is the half-hour's first since the open."""
        return _records(self._half_hours, "minute", "ic", HALF_HOUR, 0)

    def groups(self) -> list[dict[str, Any]]:
        """Records of `model label group return_bp error`; group 1 has the lowest scores."""
        return _records(self._groups, "group", "return_bp", 1, 1)


def _records(
    sessions: dict[tuple[str, str], list[Numbers]], place: str, name: str, step: int, first: int
) -> list[dict[str, Any]]:
    return [
        {"model": model, "label": label, place: first + step * number, name: value, "error": _or_none(error)}
        for (model, label), rows in sessions.items()
        for number, (value, error) in enumerate(zip(*(column.tolist() for column in over_rows(rows)), strict=True))
        if not np.isnan(value)
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def by_half_hour(scores: Matrix, outcomes: Matrix) -> Numbers:
    """Mean rank IC of the minutes of each half-hour since the open; NaN where it cannot be told."""
    ics = minute_ics(scores, outcomes)
    count = -(-len(ics) // HALF_HOUR)
    padded = np.full(count * HALF_HOUR, np.nan)
    padded[: len(ics)] = ics
    return over_rows(padded.reshape(count, HALF_HOUR).T)[0]


def groups_of(tickers: int) -> int:
    """Into how many groups of equal size so many tickers are put by their scores: two or more a group, at most ten."""
    return max(2, min(MOST_GROUPS, tickers // 2))


def by_group(scores: Matrix, outcomes: Matrix, groups: int) -> Numbers:
    """Mean return of each group of a minute's scores, the lowest first, in excess of the minute's, in basis points.

    NaN for a group that is always empty.
    """
    both = np.where(np.isnan(outcomes), np.nan, scores)
    place = (pd.DataFrame(both).rank(axis=1, method="first").to_numpy(float) - 0.5) / _count(both, axis=1)
    known = ~np.isnan(place)
    group = np.floor(place[known] * groups).astype(int)
    excess = np.where(known, outcomes, np.nan)
    excess = excess - np.nansum(excess, axis=1, keepdims=True) / _count(excess, axis=1)
    total = np.bincount(group, excess[known], groups).astype(float)
    return _quotient(total, np.bincount(group, minlength=groups)) * BASIS_POINTS


def over_rows(rows: Sequence[Numbers] | Numbers) -> tuple[Numbers, Numbers]:
    """Mean of each column over the rows that have it, and its standard error: NaN where fewer than two have it.

    A row that is shorter lacks the last columns, as a half-day does.
    """
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for number, row in enumerate(rows):
        values[number, : len(row)] = row
    count = (~np.isnan(values)).sum(axis=0)
    mean = _quotient(np.nansum(values, axis=0), count)
    squares = np.nansum((values - mean) ** 2, axis=0)
    return mean, np.sqrt(_quotient(squares, (count - 1) * count))


def _quotient(total: Numbers, count: NDArray[np.int64]) -> Numbers:
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _count(values: Matrix, axis: int) -> Matrix:
    """How many there are, at least 1, with the axis kept."""
    return np.maximum((~np.isnan(values)).sum(axis=axis, keepdims=True), 1)
