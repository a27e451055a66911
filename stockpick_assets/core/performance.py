"""How each kind of model did in a session that is over: the rows of the table `performance`.

What does not belong here: what a measure is (evaluation.py), or what follows from it (abstaining.py, registry.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from stockpick_assets.core.calibration import reference_briers
from stockpick_assets.core.evaluation import (
    Estimate,
    Numbers,
    Reliability,
    brier,
    calibration_slope,
    joined,
    mean,
    mean_error,
    minute_ics,
    reliability,
    stability_index,
)
from stockpick_assets.core.feature_set import NAMES
from stockpick_assets.core.grid import Grid, Matrix
from stockpick_assets.core.labels import profitable_above
from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.schemas import KINDS, NAIVE, PERFORMANCE

BEST = 10
# What an IC takes. The error of a session's IC (evaluation.mean_error) is half of what it should be
# with 13 of them, and 0.93 of it with 60, as with 390: in 400 sessions of 100 tickers, of forecasts without skill that
# read the last five minutes. The error of a calibration slope allows for neighbouring minutes in the same way.
LEAST_MINUTES = 60
# Of earlier sessions what a session is compared with: as many as models rest on, in these columns.
REFERENCE_SESSIONS = 12
# What may drift. Features are standardised within their minute, and know nothing of how volatile the market is.
WATCHED = ("sig", *NAMES)
REFERENCE = ("obtainable_return", *WATCHED)


@dataclass(frozen=True)
class Briers:
    """Mean Brier scores over the same sessions: of `p_profit`, of the base rate, and of volatility alone."""

    own: float
    base_rate: float
    volatility: float
    sessions: int


def performance(
    predictions: pa.Table,
    training: pa.Table,
    earlier: pa.Table,
    session: Session,
    source: str,
    cost_bp: float,
    champion: str | None = None,
) -> pa.Table:
    """A row PERFORMANCE for each kind that has scores in the session, and one of the naive score.

    predictions: PREDICTIONS of the session. training: TRAINING_SET of the session, which says what became of the
    forecasts; the naive score is minus its `return_1`. champion: the kind that `score` is of, and whose row is measured
    by it: a version that is pinned need not be the candidate of its kind. Without it, the kind whose scores it repeats.
    earlier: REFERENCE of TRAINING_SET of sessions before. The base rate and the probability by volatility alone are
    learnt from it, and features are compared with it; without it these are null. ICs are means over every minute, and
    their errors allow for forecasts that overlap (`evaluation.mean_error`). What cannot be said is null: nothing
    correlates across one ticker or constant prices, of ten tickers none is replaced, and of fewer than LEAST_MINUTES
    minutes there is neither an IC nor a calibration slope.
    """
    tickers: list[Any] = (
        pa.chunked_array([*predictions["ticker"].chunks, *training["ticker"].chunks]).unique().to_pylist()
    )
    grid = Grid(session, tuple(sorted(tickers)))
    obtainable, close = (grid.matrix(training, name) for name in ("obtainable_return", "close_return"))
    champion = champion or _repeated(grid, predictions)
    rows: list[dict[str, Any]] = []
    for kind, scores in _scores(grid, predictions, training, champion):
        row = {
            "session": session.date,
            "source": source,
            "kind": kind,
            "champion": kind == champion,
            "cost_bp": cost_bp,
            **_ranking(scores, obtainable, close, cost_bp),
        }
        if kind == champion:
            row |= {"version": champion_version(predictions)}
            row |= _probabilities(grid, predictions, training, obtainable, earlier, cost_bp)
        rows.append(row)
    drift = _drift(training, earlier)
    return pa.Table.from_pylist([{**row, **drift} for row in rows], schema=PERFORMANCE.columns)


def joined_reliability(rows: Sequence[Mapping[str, Any]]) -> Reliability:
    """How `p_profit` kept its word in several rows of PERFORMANCE; one in which none was measured adds nothing."""
    return joined(
        [
            Reliability(tuple(row["reliability_p"]), tuple(row["reliability_paid"]), tuple(row["reliability_count"]))
            for row in rows
            if row["reliability_p"]
        ]
    )


def mean_briers(rows: Sequence[Mapping[str, Any]]) -> Briers | None:
    """Over the rows of PERFORMANCE that have all three; None where there is none."""
    names = ("brier", "brier_base_rate", "brier_volatility")
    known = [[row[name] for name in names] for row in rows if None not in (row[name] for name in names)]
    if not known:
        return None
    own, base_rate, volatility = np.mean(known, axis=0).tolist()
    return Briers(own, base_rate, volatility, len(known))


def estimates(rows: Sequence[Mapping[str, Any]], name: str) -> list[Estimate]:
    """What rows of PERFORMANCE say of a measure that has an error; a row that lacks either says nothing."""
    told = ((row[name], row[f"{name}_error"]) for row in rows)
    return [Estimate(value, error) for value, error in told if value is not None and error is not None]


def ic_estimates(rows: Sequence[Mapping[str, Any]], name: str) -> list[Estimate]:
    """What rows of PERFORMANCE say of `ic_close` or `ic_obtainable`, as `estimates`.

    No error is less than the one of as many forecasts that share nothing: 0.07 of 200. A row of a few minutes that was
    written before LEAST_MINUTES held has an error near 0, and would outweigh all others.
    """
    counted = [row for row in rows if None not in (row[name], row[f"{name}_error"])]
    return [Estimate(row[name], max(row[f"{name}_error"], (row["forecasts"] or inf) ** -0.5)) for row in counted]


def champion_version(predictions: pa.Table) -> str | None:
    """The model version of the session's forecasts, of several the one that made most of them."""
    versions: list[Any] = predictions["model_version"].drop_null().to_pylist()
    return max(sorted(set(versions)), key=versions.count, default=None)


def _scores(
    grid: Grid, predictions: pa.Table, training: pa.Table, champion: str | None
) -> Iterator[tuple[str, Matrix]]:
    for kind in KINDS:
        yield from _if_any(kind, grid.matrix(predictions, "score" if kind == champion else f"score_{kind}"))
    yield from _if_any(NAIVE, -grid.matrix(training, "return_1"))


def _if_any(kind: str, scores: Matrix) -> Iterator[tuple[str, Matrix]]:
    if not np.isnan(scores).all():
        yield kind, scores


def _repeated(grid: Grid, predictions: pa.Table) -> str | None:
    scores = grid.matrix(predictions, "score")
    if np.isnan(scores).all():
        return None
    same = (kind for kind in KINDS if np.array_equal(scores, grid.matrix(predictions, f"score_{kind}"), equal_nan=True))
    return next(same, None)


def _ranking(scores: Matrix, obtainable: Matrix, close: Matrix, cost_bp: float) -> dict[str, Any]:
    ics, close_ics = (minute_ics(scores, outcome) for outcome in (obtainable, close))
    top = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    lines = np.arange(len(scores))
    returns = np.where(np.isnan(scores).all(axis=1), np.nan, obtainable[lines, top])
    told = ~np.isnan(ics) & ~np.isnan(returns)
    top_return = mean(returns)
    return {
        "forecasts": int((~np.isnan(scores) & ~np.isnan(obtainable)).sum()),
        **_ic("ic_close", close_ics),
        **_ic("ic_obtainable", ics),
        "hit_rate": mean((returns[told] > np.nanmean(obtainable[told], axis=1)).astype(float)),
        "top_return": top_return,
        "top_return_after_cost": None if top_return is None else top_return - profitable_above(cost_bp),
        "turnover": _turnover(scores),
    }


def _ic(name: str, ics: Numbers) -> dict[str, Any]:
    if (~np.isnan(ics)).sum() < LEAST_MINUTES:
        return {}
    return {name: mean(ics), f"{name}_error": mean_error(ics)}


def _turnover(scores: Matrix) -> float | None:
    """Mean share of a minute's ten best that are not among the next minute's, where both have more than ten to choose.

    Equal scores stand in the order of tickers, as in picks.
    """
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1, kind="stable")
    best = np.zeros(scores.shape, bool)
    np.put_along_axis(best, order[:, :BEST], True, axis=1)
    choice = (~np.isnan(scores)).sum(axis=1) > BEST
    kept = (best[:-1] & best[1:]).sum(axis=1)[choice[:-1] & choice[1:]]
    return mean(1 - kept / BEST)


def _probabilities(
    grid: Grid, predictions: pa.Table, training: pa.Table, obtainable: Matrix, earlier: pa.Table, cost_bp: float
) -> dict[str, Any]:
    said, sig = grid.matrix(predictions, "p_profit"), grid.matrix(training, "sig")
    minute, ticker = np.nonzero(~(np.isnan(said) | np.isnan(obtainable) | np.isnan(sig)))
    if not minute.size:
        return {}
    probability = said[minute, ticker]
    paid = (obtainable[minute, ticker] > profitable_above(cost_bp)).astype(float)
    bins = reliability(probability, paid)
    slope = calibration_slope(probability, paid, minute) if np.unique(minute).size >= LEAST_MINUTES else None
    measured: dict[str, Any] = {
        "brier": brier(probability, paid),
        "reliability_p": bins.probability,
        "reliability_paid": bins.came_true,
        "reliability_count": bins.count,
    }
    if slope is not None:
        measured |= {"calibration_slope": slope.value, "calibration_slope_error": slope.error}
    before, before_sig = (earlier[name].to_numpy() for name in ("obtainable_return", "sig"))
    known = ~(np.isnan(before) | np.isnan(before_sig))
    paid_before = (before[known] > profitable_above(cost_bp)).astype(float)
    if paid_before.size:
        measured["brier_base_rate"], measured["brier_volatility"] = reference_briers(
            before_sig[known], paid_before, sig[minute, ticker], paid, cost_bp
        )
    return measured


def _drift(training: pa.Table, earlier: pa.Table) -> dict[str, Any]:
    found = {name: stability_index(earlier[name].to_numpy(), training[name].to_numpy()) for name in WATCHED}
    known = {name: index for name, index in found.items() if index is not None}
    if not known:
        return {}
    feature = max(known, key=lambda name: known[name])
    return {"stability_index": known[feature], "stability_feature": feature}
