"""The whole chain on the simulated exchange: it recovers the planted effect, and finds nothing where none is.

Of the planted component a price shows only the sum with what lasts, so the best forecast is a filter's that knows its
half-life and share: IC .041 in these sessions, where the component itself would give .17. A linear model reaches .026
after one session and .032 after two. So what is held to its standard error is what the chain claims: of the obtainable
return that it expects, as much comes.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.evaluation import Estimate, mean, mean_error, minute_ics, pooled
from stockpick_assets.core.grid import Grid, Matrix, carried_forward
from stockpick_assets.core.labels import forward_returns
from stockpick_assets.resources.simulated_prices import REVERSION_HALF_LIFE, REVERSION_SHARE
from stockpick_assets.walk_forward import Market, Terms, Walk, Walked
from stockpick_assets_tests.short_market import short_market

DAYS = [date(2026, 11, day) for day in (18, 19, 20)]
SEED = 11
BLOCK = 10  # minutes that count as one: the returns of five minutes overlap


def walk(spark: SparkSession, market: Market) -> Sequence[Walked]:
    return list(Walk(spark, market, Terms(("linear",), cost_bp=2.0, seed=7)).sessions())


def performance(walked: Sequence[Walked]) -> pa.Table:
    return pa.concat_tables([session.performance for session in walked])


def skill(performance: pa.Table) -> Estimate:
    """The obtainable IC of the linear model over the sessions that had one."""
    rows = [row for row in performance.to_pylist() if row["kind"] == "linear"]
    return pooled([Estimate(row["ic_obtainable"], row["ic_obtainable_error"]) for row in rows])


def came_of_expected(walked: Walked) -> Estimate:
    """The slope of the obtainable returns on the expected ones across tickers: 1 where as much comes as is expected.

    A return counts by its ticker's precision, 1 / sig².
    """
    outcomes = walked.training.select(["minute", "ticker", "sig", "obtainable_return"])
    both = walked.predictions.join(outcomes, ["minute", "ticker"]).to_pandas()
    both = both[["minute", "sig", "expected_obtainable_return", "obtainable_return"]].dropna()
    names = ["expected_obtainable_return", "obtainable_return"]
    centred = both[names] - both.groupby("minute")[names].transform("mean")
    expected, came = centred.to_numpy().T / both["sig"].to_numpy()
    minute = (both["minute"] - both["minute"].min()).dt.total_seconds() // 60
    sums = pd.DataFrame({"square": expected**2, "product": expected * came}).groupby((minute // BLOCK).to_numpy()).sum()
    slope = sums["product"].sum() / sums["square"].sum()
    residual = sums["product"] - slope * sums["square"]
    return Estimate(slope, float(np.sqrt((residual**2).sum()) / sums["square"].sum()))


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


def best_skill(market: Market) -> Estimate:
    """The obtainable IC of that forecast in the sessions that a model is measured in."""
    found: list[Estimate] = []
    for session in market.sessions[1:]:
        grid, bars = Grid(session, market.tickers), market.versions(session)
        closes = grid.matrix(bars, "close")
        obtainable, _ = forward_returns(grid.matrix(bars, "open"), closes)
        ics = minute_ics(best_forecast(closes), obtainable)
        found.append(Estimate(mean(ics) or np.nan, mean_error(ics) or np.nan))
    return pooled(found)


def test_of_the_planted_effect_as_much_comes_as_the_chain_expects(spark: SparkSession) -> None:
    market = short_market(DAYS, tickers=80, minutes=390, seed=SEED)
    walked = walk(spark, market)
    measured = performance(walked)
    found, best = skill(measured), best_skill(market)
    assert best.value == pytest.approx(0.0405, abs=5e-4)
    assert best.value / 2 < found.value < best.value + 2 * found.error
    assert doubt(measured, "linear") is None
    came = came_of_expected(walked[-1])
    assert abs(came.value - 1) < 2 * came.error
    assert came.value > 2 * came.error


def test_without_an_effect_nothing_is_there_to_be_found_and_the_model_abstains(spark: SparkSession) -> None:
    """Twelve tickers would not show an effect either: that there is none is seen in the market of the first test."""
    best = best_skill(short_market(DAYS, tickers=80, minutes=390, seed=SEED, effect=False))
    assert abs(best.value) < 2 * best.error < 0.0405 / 2
    measured = performance(walk(spark, short_market(DAYS[:2], tickers=12, minutes=120, seed=SEED, effect=False)))
    found = skill(measured)
    assert abs(found.value) < 2 * found.error
    why = doubt(measured, "linear")
    assert why is not None and "within noise of zero" in why
