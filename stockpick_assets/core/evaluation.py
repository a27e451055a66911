"""How good forecasts were: rank correlation with what happened, how well probabilities keep their word, and how far
what a model reads has moved from what it learnt on.

What belongs here: measures of any forecasts, and their standard errors. What does not: which forecasts are measured
(performance.py), or what follows from it (abstaining.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Lags of the standard errors, in minutes; outcomes of neighbouring minutes overlap for five. Of forecasts without skill
# that read the last five, in 600 sessions of 100 tickers, the error came out 12 % too small with 5 lags, 8 % with 10.
OVERLAP_LAGS = 10
NEWTON_STEPS = 25
CERTAIN = 1e-6  # a probability is kept this far from 0 and 1
BINS = 10
LEAST_SHARE = 1e-3  # of a bin; without it one row where there was none is an index of 0.4


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


def pooled(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, each weighed by its precision.

    Where they differ by more than their errors allow, the error grows to what the differences say (Birge, 1932). Raises
    ZeroDivisionError of none.
    """
    weights = [1 / estimate.error**2 for estimate in estimates]
    value = sum(weight * estimate.value for weight, estimate in zip(weights, estimates, strict=True)) / sum(weights)
    excess = sum(((estimate.value - value) / estimate.error) ** 2 for estimate in estimates)
    spread = max(1.0, excess / max(len(estimates) - 1, 1))
    return Estimate(value, float(np.sqrt(spread / sum(weights))))


def minute_ics(scores: Numbers, outcomes: Numbers) -> Numbers:
    """Spearman correlation across tickers at each minute; NaN where not both have two different values.

    scores, outcomes: minutes × tickers; a ticker that lacks either, NaN, is left out of its minute.
    """
    either = np.isnan(scores) | np.isnan(outcomes)
    first, second = (_centred_ranks(np.where(either, np.nan, values)) for values in (scores, outcomes))
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.divide((first * second).sum(axis=1), spread, out=np.full(len(spread), np.nan), where=spread > 0)


def _centred_ranks(values: Numbers) -> Numbers:
    ranks = pd.DataFrame(values).rank(axis=1)
    return ranks.sub(ranks.mean(axis=1), axis=0).fillna(0.0).to_numpy(float)


def rank_ic(forecasts: pd.DataFrame, score: str, outcome: str) -> float | None:
    """Spearman correlation across tickers of `score` with `outcome` at each minute, averaged over the minutes.

    forecasts: columns `minute`, `score` and `outcome`; rows without either are left out. None when no minute has two
    different values of both.
    """
    both = forecasts[["minute", score, outcome]].dropna()
    if both.empty:
        return None
    both["place"] = both.groupby("minute").cumcount()
    wide = both.pivot(index="minute", columns="place", values=[score, outcome])
    return mean(minute_ics(wide[score].to_numpy(float), wide[outcome].to_numpy(float)))


def mean(values: Numbers) -> float | None:
    """The mean of the values that exist; None of none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def mean_error(values: Numbers, lags: int = OVERLAP_LAGS) -> float | None:
    """Standard error of the mean of what was seen at consecutive minutes, NaN where nothing was: Newey and West (1987).

    None of fewer than two values, and where all are equal.
    """
    known = ~np.isnan(values)
    if known.sum() < 2:
        return None
    away = np.where(known, values - values[known].mean(), 0.0)
    variance = float(_long_run(away[:, None], lags)[0, 0])
    return float(np.sqrt(variance)) / int(known.sum()) if variance > 0 else None


def _long_run(sums: Numbers, lags: int) -> Numbers:
    """Covariance of the total of rows that are correlated over up to `lags` rows. sums: rows × columns, centred."""
    total = sums.T @ sums
    for lag in range(1, min(lags, len(sums) - 1) + 1):
        product = sums[lag:].T @ sums[:-lag]
        total += (1 - lag / (lags + 1)) * (product + product.T)
    return total


def brier(probability: Numbers, happened: Numbers) -> float:
    """Mean squared distance of the probabilities from what happened (0 or 1)."""
    return float(((probability - happened) ** 2).mean())


def slope(score: Numbers, outcome: Numbers) -> float:
    """Least-squares slope of `outcome` on `score`; 0 where the score does not vary."""
    centred = score - score.mean()
    variance = float((centred**2).mean())
    return float((centred * outcome).mean()) / variance if variance > 0 else 0.0


def logistic(columns: Numbers, happened: Numbers) -> Numbers | None:
    """Coefficients of the logistic regression of `happened` (0 or 1) on `columns` (rows × columns), by Newton's steps.

    A column of ones is the intercept. None where it does not come to rest: with no row, nothing but ones or noughts, or
    columns that tell them apart.
    """
    if not happened.size or happened.min() == happened.max():
        return None
    coefficients = np.zeros(columns.shape[1])
    for _ in range(NEWTON_STEPS):
        likely = probability_at(columns, coefficients)
        curvature = (columns * (likely * (1 - likely))[:, None]).T @ columns
        step = np.linalg.pinv(curvature, hermitian=True) @ (columns.T @ (happened - likely))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-9:
            return coefficients
    return None


def probability_at(columns: Numbers, coefficients: Numbers) -> Numbers:
    """What a logistic regression says of rows."""
    return 1 / (1 + np.exp(-np.clip(columns @ coefficients, -30, 30)))


def calibration_slope(probability: Numbers, happened: Numbers, minute: NDArray[np.int64]) -> Estimate | None:
    """Slope of the logistic regression of what happened on the log-odds of the probability: 1 where it keeps its word.

    Below 1 it says too much, above 1 too little. minute: of each row, counted from the open. The error allows for what
    the tickers of a minute have in common, and neighbouring minutes (OVERLAP_LAGS): by the rows alone it would be
    several times too small. None where the probability or the outcome does not vary.
    """
    within = np.clip(probability, CERTAIN, 1 - CERTAIN)
    odds = np.log(within / (1 - within))
    if not odds.size or odds.min() == odds.max():
        return None
    columns = np.column_stack([np.ones(len(odds)), odds])
    coefficients = logistic(columns, happened)
    if coefficients is None:
        return None
    likely = probability_at(columns, coefficients)
    bread = np.linalg.pinv((columns * (likely * (1 - likely))[:, None]).T @ columns, hermitian=True)
    pulls = columns * (happened - likely)[:, None]
    sums = np.column_stack([np.bincount(minute, weights=pull) for pull in pulls.T]).astype(np.float64)
    variance = float((bread @ _long_run(sums, OVERLAP_LAGS) @ bread)[1, 1])
    return Estimate(float(coefficients[1]), float(np.sqrt(variance))) if variance > 0 else None


@dataclass(frozen=True)
class Reliability:
    """Forecasts by bin of their probability, ascending: its mean, the share that came true, and how many there were."""

    probability: tuple[float, ...]
    came_true: tuple[float, ...]
    count: tuple[int, ...]


def reliability(probability: Numbers, happened: Numbers) -> Reliability:
    """Ten bins of as many forecasts each; fewer where equal probabilities fall together."""
    bins = np.searchsorted(_tenths(probability), probability, side="right")
    count = np.bincount(bins)
    filled = count > 0
    said, true = (
        (np.bincount(bins, weights=values)[filled] / count[filled]).tolist() for values in (probability, happened)
    )
    return Reliability(tuple(said), tuple(true), tuple(count[filled].tolist()))


def joined(several: Sequence[Reliability]) -> Reliability:
    """The bins of several together, by probability: ten of about as many forecasts each, or fewer."""
    bins = sorted(bin for one in several for bin in zip(one.probability, one.came_true, one.count, strict=True))
    if not bins:
        return Reliability((), (), ())
    probability, came_true, count = np.array(bins).T
    before = np.cumsum(count) - count
    place = (before * BINS // count.sum()).astype(int)
    size = np.bincount(place, weights=count)
    filled = size > 0
    said, true = (
        (np.bincount(place, weights=values * count)[filled] / size[filled]).tolist()
        for values in (probability, came_true)
    )
    return Reliability(tuple(said), tuple(true), tuple(size[filled].astype(int).tolist()))


def stability_index(reference: Numbers, now: Numbers) -> float | None:
    """Population stability index of a feature: the sum over bins of (share now - share then) × ln(share now / then).

    The bins are the tenths of the reference, and one of rows without a value (NaN). 0 where nothing moved. None without
    a row in either.
    """
    if not reference.size or not now.size:
        return None
    edges = _tenths(reference[~np.isnan(reference)])
    then, today = _shares(reference, edges), _shares(now, edges)
    return float(((today - then) * np.log(today / then)).sum())


def _tenths(values: Numbers) -> Numbers:
    """The different values that part ten equal shares; none of no value."""
    return np.unique(np.quantile(values, np.arange(1, BINS) / BINS)) if values.size else values


def _shares(values: Numbers, edges: Numbers) -> Numbers:
    # Counted by comparing: of 468,000 values 10 ms, where searching each in the edges takes 40.
    known = int(np.count_nonzero(~np.isnan(values)))
    above = np.array([known, *(int(np.count_nonzero(values >= edge)) for edge in edges), 0])
    counts = np.append(-np.diff(above), len(values) - known)
    return np.maximum(counts / len(values), LEAST_SHARE)
