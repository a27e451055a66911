"""Training sets against the definition of the returns; models that find what is there, and nothing where nothing is."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from stockpick_assets.core.grid import Grid
from stockpick_assets.core.labels import HORIZON_MINUTES, forward_returns
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.schemas import TRAINING_SET
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.training import LABELLED, Fit, fit, held_out, training_rows
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.spark.market import joined, market

DAYS = [date(2026, 11, 18), date(2026, 11, 19)]
COST_BP = 2.0
REVERTING = 1.5e-3

Trained = Callable[[float], tuple[pa.Table, pa.Table]]


@pytest.fixture(scope="module")
def trained(spark: SparkSession) -> Trained:
    """Bars of two sessions whose returns revert that much, and their training set."""

    def of(size: float) -> tuple[pa.Table, pa.Table]:
        bars = joined([market(day, tickers=12, minutes=150, reverting=size) for day in DAYS])
        known = rows(features(spark, frame(spark, bars), session_on(DAYS[0]).open), COMPUTED)
        return bars, rows(training_rows(spark, frame(spark, known), frame(spark, bars)), LABELLED)

    return of


@pytest.fixture(scope="module")
def reverting(trained: Trained) -> tuple[pa.Table, pa.Table]:
    return trained(REVERTING)


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, reverting: tuple[pa.Table, pa.Table]) -> Fit:
    model = fit(spark, reverting[1], COST_BP)
    assert model is not None
    return model


def test_a_training_row_holds_the_returns_as_they_are_defined(reverting: tuple[pa.Table, pa.Table]) -> None:
    bars, training = reverting
    expected: list[pd.DataFrame] = []
    for day in DAYS:
        grid = Grid(session_on(day), tuple(sorted(set(bars["ticker"].to_pylist()))))
        returns = forward_returns(grid.matrix(bars, "open"), grid.matrix(bars, "close"))
        cells = grid.cells(grid.session.open, grid.session.last_minute, grid.tickers)
        columns = dict(
            zip(("obtainable_return", "close_return"), (grid.at(each, cells) for each in returns), strict=True)
        )
        expected.append(pa.table({**grid.keys(cells, "simulated"), **columns}).to_pandas())
    truth = pd.concat(expected).set_index(["session", "minute", "ticker"])
    found = training.to_pandas().set_index(["session", "minute", "ticker"])
    pd.testing.assert_frame_equal(
        found[list(truth.columns[1:])], truth.loc[found.index].iloc[:, 1:], atol=1e-12, rtol=0
    )
    ready = found.index.get_level_values("minute").min() - pd.Timestamp(session_on(DAYS[0]).open)
    assert ready == pd.Timedelta(minutes=10)
    assert len(found) > 0.9 * truth.loc[truth.index.isin(found.index) | truth["close_return"].notna()].shape[0] - 300


def test_a_label_is_the_mean_percentile_of_the_close_return_in_its_minute(
    reverting: tuple[pa.Table, pa.Table],
) -> None:
    found = reverting[1].to_pandas()
    of_minute = found.groupby("minute")["close_return"]
    expected = (of_minute.rank(method="average") - 0.5) / of_minute.transform("count") - 0.5
    np.testing.assert_allclose(found["label"], expected, atol=1e-12)
    assert found["close_return"].duplicated().any()


def test_a_planted_effect_is_found_out_of_sample(fitted: Fit) -> None:
    measured = fitted.measured
    assert fitted.training_sessions == tuple(DAYS)
    assert measured.session == DAYS[-1]
    assert (
        measured.ic_close is not None
        and measured.ic_close > 0.1
        and measured.ic_obtainable is not None
        and measured.ic_obtainable > 0.1
    )
    assert measured.expected_return_per_score > 0
    assert measured.brier is not None and measured.brier_base_rate is not None
    assert 0 < measured.brier < measured.brier_base_rate


def test_where_nothing_is_planted_nothing_is_found(spark: SparkSession, trained: Trained) -> None:
    model = fit(spark, trained(0.0)[1], COST_BP)
    assert model is not None and model.measured.ic_close is not None
    # 140 minutes of 12 tickers; five-minute returns overlap, so that 140 / 5 of them are independent.
    assert abs(model.measured.ic_close) < 4 / np.sqrt(11 * 140 / 5)


def test_the_same_training_set_gives_the_same_model(
    spark: SparkSession, reverting: tuple[pa.Table, pa.Table], fitted: Fit
) -> None:
    again = fit(spark, reverting[1], COST_BP)
    assert again is not None
    first, second = (model.pipeline.stages[1].coefficients.toArray() for model in (fitted, again))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)
    assert again.measured.ic_close == pytest.approx(fitted.measured.ic_close, abs=1e-12)


def test_a_single_session_is_enough(spark: SparkSession, reverting: tuple[pa.Table, pa.Table]) -> None:
    training = reverting[1]
    one = training.filter(pc.equal(training["session"], pa.scalar(DAYS[0], pa.date32())))
    model = fit(spark, one, COST_BP)
    assert model is not None and model.measured.ic_close is not None
    assert model.training_sessions == (DAYS[0],)
    assert model.measured.ic_close > 0.1


def test_too_little_to_learn_from_gives_no_model(spark: SparkSession, reverting: tuple[pa.Table, pa.Table]) -> None:
    training = reverting[1]
    ungraded = training.set_column(
        training.column_names.index("obtainable_return"),
        "obtainable_return",
        pa.nulls(training.num_rows, pa.float64()),
    )
    one_ticker = training.set_column(training.column_names.index("label"), "label", pa.array([0.0] * training.num_rows))
    for little in (TRAINING_SET.empty(), training.slice(0, 5), one_ticker, ungraded):
        assert fit(spark, little, COST_BP) is None


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60, unique=True))
def test_what_is_learnt_from_was_known_before_the_first_forecast_it_is_tried_on(minutes: list[int]) -> None:
    at = [SESSION.open + minute * MINUTE for minute in sorted(minutes)]
    training = pa.table({"session": [SESSION.date] * len(at), "minute": pa.array(at, pa.timestamp("us", "UTC"))})
    learnt, held = held_out(training)
    assert held.num_rows
    known = [minute + HORIZON_MINUTES * MINUTE for minute in learnt["minute"].to_pylist()]
    assert all(minute <= min(held["minute"].to_pylist()) for minute in known)


@given(st.integers(2, 5))
def test_the_last_of_several_sessions_is_held_out_whole(count: int) -> None:
    days = [date(2026, 11, 2 + number) for number in range(count) for _ in range(3)]
    learnt, held = held_out(pa.table({"session": pa.array(days, pa.date32())}))
    assert set(held["session"].to_pylist()) == {days[-1]}
    assert set(learnt["session"].to_pylist()) == set(days[:-3])


@pytest.mark.parametrize("cost_bp", [1e6, -1e6])
def test_without_both_profits_and_losses_there_is_nothing_to_calibrate_on(
    spark: SparkSession, reverting: tuple[pa.Table, pa.Table], cost_bp: float
) -> None:
    assert fit(spark, reverting[1], cost_bp) is None
