"""What a score is worth: the probability that it pays and the returns to expect, learnt from earlier forecasts.

Forecasts are frames of `session minute score sig obtainable_return close_return`, made by models that had not seen
their session. What does not belong here: where forecasts come from (spark/training.py), or how a worth is applied to
new ones (spark/scoring.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockpick_assets.core.evaluation import Numbers, brier, logistic, probability_at, rank_ic, slope
from stockpick_assets.core.labels import HORIZON, HORIZON_MINUTES, profitable_above

Chosen = NDArray[np.bool_]

# The newest sessions whose forecasts count: 390,000 of 100 tickers. Twice as many take 1.6 s of a core a kind.
CALIBRATION_SESSIONS = 10
# `p_profit` is the logistic of a sum of these, each times a coefficient: 1, score, c, c² and score·c, where c is the
# cost in spreads of the five-minute return. A cost of more than 4 of them is as good as never earned.
COST_LIMIT = 4.0


@dataclass(frozen=True)
class Worth:
    """What forecasts of one kind turned out to be worth.

    coefficients: of the five terms of `p_profit`; None where the forecasts all paid, or none did.
    return_per_score: times score and sig, the close return's excess over the minute's mean, as a fraction.
    obtainable_per_score: the same of the obtainable return before cost, were the market to stand still. It is 0 where
    it came out below: of a score that was wrong the last ticker has no edge either. Both are None where no forecast has
    that return.
    """

    coefficients: tuple[float, ...] | None
    return_per_score: float | None
    obtainable_per_score: float | None


@dataclass(frozen=True)
class Measured:
    """How forecasts of one kind did.

    sessions: theirs; ic_close, ic_obtainable: rank IC of each, None where nothing varies. brier, brier_base_rate,
    brier_volatility: of `p_profit`, of the share that paid, and of a `p_profit` without the score, all learnt from
    all sessions but the newest, or the first two thirds of the only one, and measured on the rest; None where they
    cannot be learnt from it.
    """

    sessions: tuple[date, ...]
    ic_close: tuple[float | None, ...]
    ic_obtainable: tuple[float | None, ...]
    brier: float | None
    brier_base_rate: float | None
    brier_volatility: float | None


def cost_in_spreads(sig: Any, cost_bp: float) -> Any:
    """The stated cost over the spread of the five-minute return, without its limit; sig: numbers or a Spark column."""
    return profitable_above(cost_bp) / (sig * HORIZON_MINUTES**0.5)


def reference_briers(
    sig_before: Numbers, paid_before: Numbers, sig: Numbers, paid: Numbers, cost_bp: float
) -> tuple[float, float | None]:
    """What a `p_profit` must beat: the Brier scores of the share that paid before, and of volatility alone.

    paid_before, paid: whether the obtainable return beat the cost (0 or 1), of rows with these sig. Both are learnt
    from the rows before, of which there must be one. The second is None where they all paid, or none did.
    """
    base_rate = brier(np.full(paid.shape, paid_before.mean()), paid)
    coefficients = logistic(_volatility_terms(sig_before, cost_bp), paid_before)
    if coefficients is None:
        return base_rate, None
    return base_rate, brier(probability_at(_volatility_terms(sig, cost_bp), coefficients), paid)


def worth(forecasts: pd.DataFrame, cost_bp: float) -> Worth | None:
    """What they turned out to be worth; None where there are no forecasts.

    The returns are regressed within each minute, on score times sig: what the whole market does is noise to a score.
    """
    if forecasts.empty:
        return None
    graded = forecasts[forecasts["obtainable_return"].notna()]
    found = logistic(_terms(graded, cost_bp), _paid(graded, cost_bp))
    coefficients = None if found is None else tuple(found.tolist())
    close, obtainable = (_per_score(forecasts, f"{name}_return") for name in ("close", "obtainable"))
    return Worth(coefficients, close, None if obtainable is None else max(obtainable, 0.0))


def measured(forecasts: pd.DataFrame, cost_bp: float) -> Measured | None:
    """How the forecasts did; None where there are none."""
    if forecasts.empty:
        return None
    ics: dict[date, tuple[float | None, float | None]] = {}
    for session, of_session in forecasts.groupby("session"):
        close, obtainable = (rank_ic(of_session, "score", f"{name}_return") for name in ("close", "obtainable"))
        ics[cast("date", session)] = (close, obtainable)
    earlier, newest = (forecasts[rows] for rows in held_out(forecasts))
    close_ics, obtainable_ics = zip(*ics.values(), strict=True)
    return Measured(tuple(ics), close_ics, obtainable_ics, *_briers(earlier, newest, cost_bp))


def held_out(rows: pd.DataFrame) -> tuple[Chosen, Chosen]:
    """What is learnt from, and what this is tried on: the last session, or the last third of the only one.

    rows: columns `session` and `minute`. What a row of the first part turned out to be worth is known before the first
    minute of the second.
    """
    session, minute = rows["session"].to_numpy(), rows["minute"]
    if not session.size:
        return np.zeros(0, bool), np.zeros(0, bool)
    held = session == session.max()
    if not held.all():
        return ~held, held
    minutes = np.sort(minute.unique())
    first = minutes[int(len(minutes) * 2 / 3)]
    return (minute <= first - HORIZON).to_numpy(), (minute >= first).to_numpy()


def _per_score(forecasts: pd.DataFrame, outcome: str) -> float | None:
    known = forecasts[forecasts[outcome].notna()]
    if known.empty:
        return None
    both = pd.DataFrame({"score": known["score"] * known["sig"], "outcome": known[outcome]})
    within = both - both.groupby(known["minute"]).transform("mean")
    return slope(within["score"].to_numpy(float), within["outcome"].to_numpy(float))


def _paid(graded: pd.DataFrame, cost_bp: float) -> Numbers:
    return (graded["obtainable_return"].to_numpy(float) > profitable_above(cost_bp)).astype(float)


def _terms(graded: pd.DataFrame, cost_bp: float) -> Numbers:
    score = graded["score"].to_numpy(float)
    one, cost, square = _volatility_terms(graded["sig"].to_numpy(float), cost_bp).T
    return np.column_stack([one, score, cost, square, score * cost])


def _volatility_terms(sig: Numbers, cost_bp: float) -> Numbers:
    """Those without the score: 1, c and c²."""
    cost = np.minimum(cost_in_spreads(sig, cost_bp), COST_LIMIT)
    return np.column_stack([np.ones(len(cost)), cost, cost**2])


def _briers(
    earlier: pd.DataFrame, newest: pd.DataFrame, cost_bp: float
) -> tuple[float | None, float | None, float | None]:
    earlier, newest = (part[part["obtainable_return"].notna()] for part in (earlier, newest))
    if earlier.empty or newest.empty:
        return None, None, None
    paid_before, paid = _paid(earlier, cost_bp), _paid(newest, cost_bp)
    coefficients = logistic(_terms(earlier, cost_bp), paid_before)
    own = None if coefficients is None else brier(probability_at(_terms(newest, cost_bp), coefficients), paid)
    sig_before, sig = (part["sig"].to_numpy(float) for part in (earlier, newest))
    return own, *reference_briers(sig_before, paid_before, sig, paid, cost_bp)
