"""Training sets against the definition of the returns, and of what is taken out of them."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.grid import Grid
from stockpick_assets.core.labels import forward_returns
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.training import LABELLED, training_rows
from stockpick_assets_tests.spark.learnt import factors, features_of, replaced, training_set
from stockpick_assets_tests.spark.market import joined, market

DAYS = [date(2026, 11, 18), date(2026, 11, 19)]
TICKERS, MINUTES = 12, 40


@pytest.fixture(scope="module")
def known() -> tuple[pa.Table, pa.Table]:
    """Bars of two sessions, some missing, and features of their minutes, some missing."""
    bars = joined([market(day, tickers=TICKERS, minutes=MINUTES, reverting=4e-3) for day in DAYS])
    features = features_of(training_set(DAYS, tickers=TICKERS, minutes=MINUTES))
    short = [None if number % 17 == 0 else value for number, value in enumerate(features["n_cmid"].to_pylist())]
    return bars, replaced(features, "n_cmid", short)


def made(spark: SparkSession, known: tuple[pa.Table, pa.Table], of_factors: pa.Table) -> pa.Table:
    bars, features = known
    return rows(training_rows(frame(spark, features), frame(spark, bars), frame(spark, of_factors)), LABELLED)


@pytest.fixture(scope="module")
def training(spark: SparkSession, known: tuple[pa.Table, pa.Table]) -> pa.Table:
    return made(spark, known, factors(DAYS, TICKERS))


def matrices(known: tuple[pa.Table, pa.Table], day: date) -> tuple[Grid, Any, Any, Any]:
    """Grid, obtainable and close returns, and sig where a row has its features."""
    bars, features = known
    grid = Grid(session_on(day), tuple(f"T{number:02d}" for number in range(TICKERS)))
    obtainable, close = forward_returns(grid.matrix(bars, "open"), grid.matrix(bars, "close"))
    sig = np.where(np.isnan(grid.matrix(features, "n_cmid")), np.nan, grid.matrix(features, "sig"))
    return grid, obtainable, np.where(np.isnan(sig), np.nan, close), sig


def less_mean(values: Any) -> Any:
    return values - np.nanmean(values, axis=1, keepdims=True)


def neutral(values: Any, bound: Any, basis: Any) -> Any:
    """Clipped, demeaned, and without its projection on the basis, a missing value counting as 0."""
    away = less_mean(np.clip(values, -bound, bound))
    return away - np.where(np.isnan(away), 0, away) @ basis @ basis.T


def test_a_training_row_holds_both_returns_as_they_are_defined(
    known: tuple[pa.Table, pa.Table], training: pa.Table
) -> None:
    found = 0
    for day in DAYS:
        grid, obtainable, close, _ = matrices(known, day)
        for name, truth in (("obtainable_return", obtainable), ("close_return", close)):
            held = grid.matrix(training, name)
            expected = np.where(np.isnan(close), np.nan, truth)[: len(held)]
            np.testing.assert_allclose(held, expected, rtol=0, atol=1e-12)
        found += np.count_nonzero(~np.isnan(close))
    assert training.num_rows == found > 500


def test_the_label_ranks_the_close_return_without_market_and_factors(
    known: tuple[pa.Table, pa.Table], training: pa.Table
) -> None:
    of_factors = factors(DAYS, TICKERS)
    for number, day in enumerate(DAYS):
        grid, _, close, sig = matrices(known, day)
        asked = ~np.isnan(close).all(axis=1)
        bases = {
            name: np.array(of_factors[name].to_pylist()[number * TICKERS : (number + 1) * TICKERS])
            for name in ("basis", "label_basis")
        }
        close, sig = close[asked], sig[asked]
        ranked = pd.DataFrame(neutral(less_mean(close), 8 * sig * np.sqrt(5), bases["label_basis"]))
        label = (ranked.rank(axis=1) - 0.5).div(ranked.count(axis=1), axis=0) - 0.5
        np.testing.assert_allclose(grid.matrix(training, "label")[asked], label, atol=1e-12)
        forward = less_mean(np.log1p(close)) / sig
        expected = neutral(forward, 8, bases["basis"])
        np.testing.assert_allclose(grid.matrix(training, "neutral_forward")[asked], expected, atol=1e-9)
        assert (np.abs(forward) > 8).any()


def test_without_factors_the_label_is_the_percentile_among_the_minute(
    spark: SparkSession, known: tuple[pa.Table, pa.Table]
) -> None:
    bars, features = known
    unbounded = replaced(features, "sig", np.full(features.num_rows, 0.1))
    found = made(spark, (bars, unbounded), factors(DAYS, TICKERS, seed=None)).to_pandas()
    of_minute = found.groupby("minute")["close_return"]
    expected = (of_minute.rank(method="average") - 0.5) / of_minute.transform("count") - 0.5
    np.testing.assert_allclose(found["label"], expected, atol=1e-12)
    assert found["close_return"].duplicated().any()


def test_tickers_that_all_do_the_same_are_in_the_middle(spark: SparkSession, known: tuple[pa.Table, pa.Table]) -> None:
    bars, features = known
    for name in ("open", "high", "low", "close"):
        bars = replaced(bars, name, np.full(bars.num_rows, 20.0))
    found = made(spark, (bars, features), factors(DAYS, TICKERS))
    assert set(found["label"].to_pylist()) == {0.0}
    assert set(found["neutral_forward"].to_pylist()) == {0.0}
