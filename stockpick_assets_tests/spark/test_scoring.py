"""From features to forecasts: what a model says, where it abstains, and how it is kept."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import PREDICTIONS
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import (
    ALIKE,
    NO_BAR,
    TOO_EARLY,
    Model,
    ModelMismatch,
    abstained,
    load,
    predict,
    save,
)
from stockpick_assets.spark.training import LABELLED, NAMES, Fit, fit, training_rows
from stockpick_assets_tests.spark.market import flat, joined, market

LEARNT, ASKED, ALONE = (date(2026, 11, day) for day in (18, 19, 20))
NUMBERS = ("score", "expected_excess_return", "p_profit")


@pytest.fixture(scope="module")
def known(spark: SparkSession) -> pa.Table:
    """Features of three sessions: one to learn from, one with gaps, and one in which nothing tells tickers apart."""
    bars = joined(
        [market(LEARNT, tickers=6, minutes=90, reverting=1.5e-3), market(ASKED, tickers=6, minutes=30, gaps=0.2)]
    )
    return rows(features(spark, frame(spark, joined([bars, flat(ALONE)])), session_on(LEARNT).open), COMPUTED)


def of(table: pa.Table, day: date) -> pa.Table:
    return table.filter(pa.array([session == day for session in table["session"].to_pylist()]))


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, known: pa.Table) -> Fit:
    bars = market(LEARNT, tickers=6, minutes=90, reverting=1.5e-3)
    learnt = training_rows(spark, frame(spark, of(known, LEARNT)), frame(spark, bars))
    model = fit(spark, rows(learnt, LABELLED), 2.0)
    assert model is not None
    return model


@pytest.fixture(scope="module")
def made(spark: SparkSession, known: pa.Table, fitted: Fit) -> pa.Table:
    asked = joined([of(known, ASKED), of(known, ALONE)])
    return rows(predict(Model(fitted.pipeline, "v1", 0.003), frame(spark, asked)), PREDICTIONS)


def test_a_forecast_is_all_there_or_abstains_with_a_reason(made: pa.Table) -> None:
    for row in made.to_pylist():
        assert len({row[name] is None for name in NUMBERS} | {row["abstain"] is not None}) == 1
        assert row["abstain"] is not None or all(np.isfinite(row[name]) for name in NUMBERS)
    assert set(made["model_version"].to_pylist()) == {"v1"}


def test_a_ticker_abstains_without_a_bar_or_a_history_or_anything_that_tells_it_apart(
    known: pa.Table, made: pa.Table
) -> None:
    asked = joined([of(known, ASKED), of(known, ALONE)]).to_pylist()
    for row, given in zip(made.to_pylist(), asked, strict=True):
        if given["n_bar"] is None:
            expected = NO_BAR
        elif given["n_cmid"] is None:
            expected = TOO_EARLY
        else:
            expected = ALIKE if given["session"] == ALONE else None
        assert row["abstain"] == expected, given
    assert set(made["abstain"].to_pylist()) == {NO_BAR, TOO_EARLY, ALIKE, None}


def test_a_score_is_worth_what_it_was_measured_to_be_worth(made: pa.Table) -> None:
    forecasts = made.filter(made["abstain"].is_null())
    score, expected = (forecasts[name].to_numpy() for name in NUMBERS[:2])
    np.testing.assert_allclose(expected, 0.003 * score, rtol=1e-12)
    assert len(np.unique(score)) > 50


def test_a_higher_score_is_likelier_to_pay(made: pa.Table) -> None:
    forecasts = made.filter(made["abstain"].is_null()).sort_by("score")
    probability = forecasts["p_profit"].to_numpy()
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.diff(probability) >= 0).all()
    assert probability[-1] - probability[0] > 0.2


def test_a_model_that_was_saved_forecasts_the_same(
    spark: SparkSession, known: pa.Table, fitted: Fit, made: pa.Table, tmp_path: Path
) -> None:
    uri = (tmp_path / "model").as_uri()
    save(fitted.pipeline, uri)
    model = load(uri, "v1", 0.003, NAMES)
    again = rows(predict(model, frame(spark, joined([of(known, ASKED), of(known, ALONE)]))), PREDICTIONS)
    assert again.equals(made)


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"v1 .* was fitted to the features n_cmid, .* materialize return_model"):
        load(tmp_path.as_uri(), "v1", 0.003, NAMES[:-1])


def test_a_session_without_a_model_abstains_with_its_reason(known: pa.Table) -> None:
    nothing = abstained(known, "no model")
    assert nothing.schema.equals(PREDICTIONS.columns)
    assert nothing["abstain"].to_pylist() == ["no model"] * known.num_rows
    assert nothing["score"].null_count == nothing["model_version"].null_count == known.num_rows
