"""The whole chain on the simulated exchange: it recovers the planted effect, and finds nothing where none is.

Of the planted component a price shows only the sum with what lasts, so the best forecast is a filter's: IC .04, where
the component itself would give .17. Of one session to learn from, a model recovers most of it.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.evaluation import Estimate, mean, minute_ics
from stockpick_assets.core.grid import Grid, Matrix, carried_forward
from stockpick_assets.core.labels import forward_returns
from stockpick_assets.resources.simulated_prices import REVERSION_HALF_LIFE, REVERSION_SHARE
from stockpick_assets.walk_forward import Market, Terms, Walk
from stockpick_assets_tests.short_market import short_market

DAYS = [date(2026, 11, day) for day in (18, 19)]
SEED = 11


def performance(spark: SparkSession, market: Market) -> pa.Table:
    walk = Walk(spark, market, Terms(("linear",), cost_bp=2.0, seed=7))
    return pa.concat_tables([walked.performance for walked in walk.sessions()])


def skill(performance: pa.Table) -> Estimate:
    (row,) = (row for row in performance.to_pylist() if row["kind"] == "linear")
    assert row["session"] == DAYS[-1]
    return Estimate(row["ic_obtainable"], row["ic_obtainable_error"])


def best_forecast(closes: Matrix) -> Matrix:
    """Kalman's filter of the passing part of log prices that are the sum of it and a random walk, of known shares."""
    memory = 0.5 ** (1 / REVERSION_HALF_LIFE)
    returns = np.diff(np.log(carried_forward(closes)), axis=0, prepend=np.nan)
    returns[1:] -= np.nanmean(returns[1:], axis=1, keepdims=True)
    spread = np.nanstd(returns, axis=0)
    walk = 1 / (1 + 2 * REVERSION_SHARE**2 * (1 - memory))  # variances, of returns in units of their spread
    share, fresh = REVERSION_SHARE * walk**0.5, 1 - memory**2
    passing, variance = np.zeros(len(spread)), 1.0
    forecasts = np.zeros_like(returns)
    for minute, seen in enumerate(np.nan_to_num(returns / spread)):
        expected = share * (memory - 1) * passing
        both = share * (memory * (memory - 1) * variance + fresh)
        total = walk + share**2 * ((memory - 1) ** 2 * variance + fresh)
        passing = memory * passing + both / total * (seen - expected)
        variance = memory**2 * variance + fresh - both**2 / total
        forecasts[minute] = -passing * spread
    return np.where(np.isnan(closes), np.nan, forecasts)


def best_skill(market: Market) -> float:
    """Mean obtainable IC of that forecast in the session that the model is measured in."""
    session = market.sessions[-1]
    grid, bars = Grid(session, market.tickers), market.versions(session)
    closes = grid.matrix(bars, "close")
    obtainable, _ = forward_returns(grid.matrix(bars, "open"), closes)
    return mean(minute_ics(best_forecast(closes), obtainable)) or 0.0


def test_the_planted_effect_is_recovered_within_two_standard_errors(spark: SparkSession) -> None:
    market = short_market(DAYS, tickers=80, minutes=390, seed=SEED)
    measured = performance(spark, market)
    found, best = skill(measured), best_skill(market)
    assert best == pytest.approx(0.0392, abs=5e-4)
    assert abs(found.value - best) < 2 * found.error
    assert found.value > 2 * found.error
    assert doubt(measured, "linear") is None


def test_without_an_effect_there_is_no_skill_and_the_model_abstains(spark: SparkSession) -> None:
    measured = performance(spark, short_market(DAYS, tickers=12, minutes=120, seed=SEED, effect=False))
    found = skill(measured)
    assert abs(found.value) < 2 * found.error
    why = doubt(measured, "linear")
    assert why is not None and "within noise of zero" in why
