"""How good forecasts were: rank correlation with what happened, and how well probabilities keep their word."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def rank_ic(forecasts: pd.DataFrame, score: str, outcome: str) -> float | None:
    """Spearman correlation across tickers of `score` with `outcome` at each minute, averaged over the minutes.

    forecasts: columns `minute`, `score` and `outcome`; rows without either are left out. None when no minute has two
    different values of both.
    """
    both = forecasts[["minute", score, outcome]].dropna()
    ranks = both.groupby("minute")[[score, outcome]].rank()
    centred = ranks - ranks.groupby(both["minute"]).transform("mean")
    first, second = centred[score].to_numpy(float), centred[outcome].to_numpy(float)
    _, minute = np.unique(both["minute"].to_numpy(), return_inverse=True)
    product, first_square, second_square = (
        np.bincount(minute, weights=values) for values in (first * second, first * first, second * second)
    )
    spread = np.sqrt(first_square * second_square)
    varies = spread > 0
    return float((product[varies] / spread[varies]).mean()) if varies.any() else None


def brier(probability: Numbers, happened: Numbers) -> float:
    """Mean squared distance of the probabilities from what happened (0 or 1)."""
    return float(((probability - happened) ** 2).mean())


def slope(score: Numbers, outcome: Numbers) -> float:
    """Least-squares slope of `outcome` on `score`; 0 where the score does not vary."""
    centred = score - score.mean()
    variance = float((centred**2).mean())
    return float((centred * outcome).mean()) / variance if variance > 0 else 0.0
