"""How good forecasts were."""

import numpy as np
import pandas as pd
import pytest

from stockpick_assets.core.evaluation import brier, rank_ic, slope


def forecasts(minutes: list[int], score: list[float], outcome: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"minute": minutes, "score": score, "outcome": outcome})


def test_rank_ic_is_the_mean_of_spearman_correlations_by_minute() -> None:
    random = np.random.default_rng(5)
    rows = forecasts(
        list(np.repeat(range(20), 9)), random.integers(0, 5, 180).tolist(), random.normal(size=180).tolist()
    )
    expected = [group["score"].rank().corr(group["outcome"].rank()) for _, group in rows.groupby("minute")]
    assert rank_ic(rows, "score", "outcome") == pytest.approx(np.mean(expected), abs=1e-12)


def test_rank_ic_leaves_out_missing_outcomes_and_minutes_in_which_nothing_varies() -> None:
    rows = forecasts([1, 1, 1, 2, 2], [1.0, 2.0, 3.0, 1.0, 2.0], [10.0, 20.0, np.nan, 5.0, 5.0])
    assert rank_ic(rows, "score", "outcome") == pytest.approx(1.0)


def test_there_is_no_rank_ic_without_two_different_values() -> None:
    assert rank_ic(forecasts([1, 1], [0.0, 0.0], [1.0, 2.0]), "score", "outcome") is None
    assert rank_ic(forecasts([], [], []), "score", "outcome") is None


def test_brier_is_a_mean_squared_distance() -> None:
    assert brier(np.array([0.5, 1.0]), np.array([1.0, 1.0])) == pytest.approx(0.125)


def test_slope_is_that_of_least_squares_and_0_where_the_score_stands_still() -> None:
    score = np.array([0.0, 1.0, 2.0, 5.0])
    assert slope(score, 3 * score + 7) == pytest.approx(3.0)
    assert slope(np.ones(4), score) == 0.0
