"""Models that find what is there, learn only from what they may, and say so where there is nothing to learn from."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.feature_set import NAMES
from stockpick_assets.core.schemas import DEFAULT_KINDS, KINDS, PREDICTIONS, TRAINING_SET
from stockpick_assets.spark.training import (
    NO_TRAINING_SET,
    NOTHING_TO_CALIBRATE,
    NOTHING_TO_LEARN,
    FittedModel,
    fit,
)
from stockpick_assets_tests.spark.learnt import TELLING, of, predictions, replaced, training_set

DAYS = [date(2026, 11, 18), date(2026, 11, 19)]
COST_BP, SEED = 2.0, 7


def fitted(
    spark: SparkSession, training: pa.Table, made: pa.Table, kinds: Sequence[str] = DEFAULT_KINDS
) -> dict[str, FittedModel]:
    return {model.kind: model for model in fit(spark, training, made, kinds, COST_BP, SEED)}


@pytest.fixture(scope="module")
def training() -> pa.Table:
    return training_set(DAYS)


@pytest.fixture(scope="module")
def first(spark: SparkSession, training: pa.Table) -> dict[str, FittedModel]:
    """The first models: there are no earlier forecasts."""
    return fitted(spark, training, PREDICTIONS.empty())


def test_a_planted_effect_is_found_out_of_sample_by_every_kind(first: dict[str, FittedModel]) -> None:
    assert tuple(first) == DEFAULT_KINDS
    ics: dict[str, float] = {}
    for kind, model in first.items():
        assert model.training_sessions == tuple(DAYS) and model.rows == 640 and model.abstain is None
        assert model.measured is not None and model.measured.sessions == (DAYS[-1],)
        (ic,) = model.measured.ic_close
        assert ic is not None
        ics[kind] = ic
        assert model.worth is not None and model.worth.return_per_score is not None
        assert model.worth.return_per_score > 0 and model.worth.coefficients is not None
        assert model.measured.brier is not None and model.measured.brier_base_rate is not None
        assert 0 < model.measured.brier < model.measured.brier_base_rate
    assert 0.2 < min(ics["linear"], ics["reversal"]) < max(ics["linear"], ics["reversal"]) < ics["average"]


def test_the_ridge_is_the_one_that_numpy_solves(training: pa.Table, first: dict[str, FittedModel]) -> None:
    """MLlib divides the penalty by the label's spread: 2,000 are 6,900, whatever the number of rows."""
    values = np.column_stack([np.nan_to_num(training[name].to_numpy()) for name in NAMES])
    label = training["label"].to_numpy()
    centred = values - values.mean(axis=0)
    penalty = 2000 / label.std() * np.eye(len(NAMES))
    expected = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (label - label.mean()))
    pipeline = first["linear"].pipeline
    assert pipeline is not None
    np.testing.assert_allclose(pipeline.stages[-1].coefficients.toArray(), expected, atol=1e-6)
    assert expected.argmax() == NAMES.index(TELLING)


def test_only_what_is_fitted_has_a_pipeline(first: dict[str, FittedModel]) -> None:
    assert {kind: model.pipeline is not None for kind, model in first.items()} == {
        "linear": True,
        "reversal": False,
        "average": False,
    }


def test_the_same_training_set_gives_the_same_models_to_the_last_bit(
    spark: SparkSession, training: pa.Table, first: dict[str, FittedModel]
) -> None:
    again = fitted(spark, training, PREDICTIONS.empty())
    pipelines = first["linear"].pipeline, again["linear"].pipeline
    coefficients = [pipeline.stages[-1].coefficients.toArray() for pipeline in pipelines if pipeline is not None]
    np.testing.assert_array_equal(*coefficients)
    for kind, model in first.items():
        assert (again[kind].worth, again[kind].measured) == (model.worth, model.measured)


def test_what_a_score_is_worth_is_learnt_from_earlier_forecasts_of_any_kind_that_has_them(
    spark: SparkSession, training: pa.Table, first: dict[str, FittedModel]
) -> None:
    """What was forecast counts, and not what a model of today would have forecast."""
    made = predictions(training, ["linear"])
    found = fitted(spark, training, made)
    measured = found["linear"].measured
    assert measured is not None and measured.sessions == tuple(DAYS)
    assert found["linear"].worth != first["linear"].worth
    assert found["reversal"].worth == first["reversal"].worth
    assert found["average"].measured == first["average"].measured
    noise = replaced(training, TELLING, np.random.default_rng(5).normal(size=training.num_rows))
    other = fitted(spark, noise, made)
    assert other["linear"].worth == found["linear"].worth and other["linear"].measured == found["linear"].measured
    assert other["average"].measured != first["average"].measured


def test_a_single_session_is_enough(spark: SparkSession, training: pa.Table) -> None:
    model = fitted(spark, of(training, DAYS[0]), PREDICTIONS.empty(), ["linear"])["linear"]
    assert model.training_sessions == (DAYS[0],)
    assert model.measured is not None and model.measured.ic_close[0] is not None
    assert model.measured.ic_close[0] > 0.1
    assert model.worth is not None and model.worth.coefficients is not None


def test_without_a_training_set_there_is_only_what_fits_nothing(spark: SparkSession) -> None:
    for model in fitted(spark, TRAINING_SET.empty(), PREDICTIONS.empty(), KINDS).values():
        assert (model.abstain, model.pipeline, model.worth, model.measured) == (NO_TRAINING_SET, None, None, None)
        assert (model.training_sessions, model.rows) == ((), 0)


def test_where_nothing_tells_the_tickers_apart_nothing_is_fitted(spark: SparkSession, training: pa.Table) -> None:
    """As it is with one ticker, or prices that never move."""
    models = fitted(spark, replaced(training, "label", np.zeros(training.num_rows)), PREDICTIONS.empty())
    assert {kind: model.abstain for kind, model in models.items()} == {
        "linear": NOTHING_TO_LEARN,
        "average": NOTHING_TO_LEARN,
        "reversal": None,
    }
    assert models["linear"].pipeline is None and models["average"].worth is None


def test_a_model_of_which_no_forecast_ever_paid_has_no_probability(spark: SparkSession, training: pa.Table) -> None:
    never = replaced(training, "obtainable_return", np.full(training.num_rows, -0.01))
    model = fitted(spark, never, PREDICTIONS.empty(), ["linear"])["linear"]
    assert model.pipeline is not None and model.abstain == NOTHING_TO_CALIBRATE
    assert model.worth is not None and model.worth.coefficients is None
