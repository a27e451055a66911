"""How good forecasts were."""

from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stockpick_assets.core.evaluation import (
    Estimate,
    Numbers,
    Reliability,
    brier,
    calibration_slope,
    joined,
    logistic,
    mean_error,
    minute_ics,
    pooled,
    rank_ic,
    reliability,
    slope,
    stability_index,
)


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


def test_minute_ics_say_nothing_of_one_ticker_or_of_what_does_not_vary() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, np.nan], [2.0, 2.0, 2.0], [3.0, 2.0, np.nan]])
    outcomes = np.array([[0.1, 0.3, 0.2], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    assert minute_ics(scores, outcomes) == pytest.approx([0.5, np.nan, np.nan, -1.0], nan_ok=True)


cells = arrays(np.float64, (4, 6), elements=st.sampled_from([-1.0, -0.5, 0.0, 0.25, 2.0, np.nan]))


@given(cells, cells)
def test_an_ic_is_the_same_for_every_score_in_the_same_order_and_turns_with_its_sign(
    scores: Numbers, outcomes: Numbers
) -> None:
    ics = minute_ics(scores, outcomes)
    assert minute_ics(np.exp(scores) + 7, outcomes) == pytest.approx(ics, abs=1e-12, nan_ok=True)
    assert minute_ics(-scores, outcomes) == pytest.approx(-ics, abs=1e-12, nan_ok=True)
    assert np.nanmax(np.abs(ics), initial=0) <= 1 + 1e-12


def test_the_error_of_a_mean_is_that_of_newey_and_west() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])  # away from 3: -2, 0, -1, 3
    no_lag = 14.0
    lag_1, lag_2 = 2 * (0 + 0 - 3), 2 * (2 + 0)
    assert mean_error(values, 0) == pytest.approx(np.sqrt(no_lag) / 4)
    assert mean_error(values, 2) == pytest.approx(np.sqrt(no_lag + 2 / 3 * lag_1 + 1 / 3 * lag_2) / 4)


def test_minutes_without_a_value_keep_the_others_apart() -> None:
    gap = np.array([1.0, np.nan, 3.0, 2.0])
    assert mean_error(gap, 1) == pytest.approx(np.sqrt(1 + 1 + 0 + 2 * 0.5 * (1 * 0)) / 3)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 2.0], [0.5, 0.5, 0.5]])
def test_too_few_or_equal_values_have_no_error(values: list[float]) -> None:
    assert mean_error(np.array(values)) is None


def test_the_error_of_what_overlaps_for_five_minutes_is_near_the_true_one() -> None:
    random = np.random.default_rng(3)
    steps = random.normal(size=(400, 394))
    overlapping = np.lib.stride_tricks.sliding_window_view(steps, 5, axis=1).sum(axis=2)
    told = np.mean([mean_error(session) for session in overlapping])
    assert 0.8 < told / overlapping.mean(axis=1).std() < 1.0
    unaware = np.mean([mean_error(session, 0) for session in overlapping])
    assert unaware / overlapping.mean(axis=1).std() < 0.5


def test_estimates_are_pooled_by_their_precision() -> None:
    found = pooled([Estimate(1.0, 1.0), Estimate(1.5, 0.5)])
    assert (found.value, found.error) == (pytest.approx(1.4), pytest.approx(1 / np.sqrt(5)))


def test_estimates_that_contradict_each_other_have_a_greater_error_together() -> None:
    found = pooled([Estimate(-1.0, 0.1), Estimate(1.0, 0.1)])
    assert (found.value, found.error) == (pytest.approx(0.0), pytest.approx(1.0))


def test_a_logistic_regression_finds_the_odds_of_two_groups() -> None:
    group = np.repeat([0.0, 1.0], [4, 5])
    happened = np.array([1.0, 0, 0, 0, 1, 1, 1, 1, 0])
    coefficients = logistic(np.column_stack([np.ones(9), group]), happened)
    assert coefficients == pytest.approx([np.log(1 / 3), np.log(4) - np.log(1 / 3)])


@pytest.mark.parametrize("happened", [[], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
def test_there_is_no_logistic_regression_of_what_cannot_be_undecided(happened: list[float]) -> None:
    columns = np.column_stack([np.ones(len(happened)), np.arange(len(happened))])
    assert logistic(columns.astype(float), np.array(happened)) is None


def said_and_happened(stretch: float) -> tuple[Numbers, Numbers, np.ndarray]:
    """Probabilities whose log-odds are `stretch` times those of what happens, at 300 minutes × 40 tickers."""
    random = np.random.default_rng(11)
    odds = random.normal(0, 0.5, (300, 40))
    happened = random.random(odds.shape) < 1 / (1 + np.exp(-odds))
    minute = np.repeat(np.arange(300), 40)
    return 1 / (1 + np.exp(-stretch * odds.ravel())), happened.ravel().astype(float), minute


@pytest.mark.parametrize(("stretch", "expected"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
def test_the_calibration_slope_is_1_where_probabilities_keep_their_word(stretch: float, expected: float) -> None:
    found = calibration_slope(*said_and_happened(stretch))
    assert found is not None
    assert abs(found.value - expected) < 3 * found.error
    assert found.error < 0.15 * expected


def test_the_error_of_a_calibration_slope_knows_that_the_tickers_of_a_minute_move_together() -> None:
    probability, happened, minute = said_and_happened(1.0)
    alone = calibration_slope(probability, happened, minute)
    nine = [np.tile(values, 9) for values in (probability, happened, minute)]
    together = calibration_slope(*nine)
    assert alone is not None
    assert together is not None
    assert together.value == pytest.approx(alone.value)
    assert together.error == pytest.approx(alone.error)


def test_a_probability_that_does_not_vary_has_no_slope() -> None:
    assert calibration_slope(np.full(4, 0.5), np.array([0.0, 1, 0, 1]), np.arange(4)) is None
    assert calibration_slope(np.array([0.4, 0.6]), np.ones(2), np.arange(2)) is None
    assert calibration_slope(np.array([]), np.array([]), np.array([], np.int64)) is None


def test_bins_of_several_sessions_are_joined_by_how_many_forecasts_they_hold() -> None:
    several = [
        Reliability(tuple(0.40 + 0.01 * place + shift for place in range(10)), (0.5,) * 10, (100 + 200 * number,) * 10)
        for number, shift in enumerate((0.0, 0.001))
    ]
    found = joined(several)
    assert found.count == (400,) * 10
    assert found.probability == pytest.approx([0.40075 + 0.01 * place for place in range(10)])
    assert found.came_true == pytest.approx([0.5] * 10)
    assert joined([]) == Reliability((), (), ())


def test_reliability_bins_hold_as_many_forecasts_each() -> None:
    probability = np.arange(20) / 20
    found = reliability(probability, (probability > 0.5).astype(float))
    assert found.count == (2,) * 10
    assert found.probability == pytest.approx([0.025 + 0.1 * bin_ for bin_ in range(10)])
    assert found.came_true == (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.41, 0.9]), st.booleans()), min_size=1))
def test_every_forecast_is_in_one_bin(rows: list[tuple[float, bool]]) -> None:
    probability, happened = (np.array(column, float) for column in zip(*rows, strict=True))
    found = reliability(probability, happened)
    assert sum(found.count) == len(rows)
    assert list(found.probability) == sorted(found.probability)
    assert np.dot(found.came_true, found.count) == pytest.approx(happened.sum())


def test_the_stability_index_of_a_feature_that_moved_by_one_tenth() -> None:
    reference = np.arange(100.0)
    assert stability_index(reference, np.where(reference < 10, 15.0, reference)) == pytest.approx(
        (0.001 - 0.1) * np.log(0.001 / 0.1) + (0.2 - 0.1) * np.log(2)
    )


def test_values_that_go_missing_move_a_feature() -> None:
    reference = np.arange(100.0)
    index = stability_index(reference, np.where(reference % 2 == 0, np.nan, reference))
    assert index is not None
    assert index > 1


@given(arrays(np.float64, 30, elements=st.sampled_from([0.0, 1.0, 2.5, np.nan])), st.randoms())
def test_the_stability_index_is_0_of_the_same_values_in_another_order_and_never_negative(
    reference: Numbers, random: Random
) -> None:
    shuffled = list(reference)
    random.shuffle(shuffled)
    assert stability_index(reference, np.array(shuffled)) == pytest.approx(0.0)
    some = stability_index(reference, reference[:7])
    assert some is not None
    assert some >= 0


def test_nothing_to_compare_has_no_stability_index() -> None:
    assert stability_index(np.array([]), np.ones(3)) is None
    assert stability_index(np.ones(3), np.array([])) is None
