"""From features to forecasts: what the models of a session say, where they abstain, and how they are kept."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.schemas import KINDS, PREDICTIONS
from stockpick_assets.spark import training
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import (
    ALIKE,
    NO_BAR,
    TOO_EARLY,
    Model,
    ModelMismatch,
    SessionModels,
    abstained,
    load,
    predict,
    save,
)
from stockpick_assets.spark.training import FittedModel
from stockpick_assets_tests.spark.learnt import features_of, predictions, replaced, training_set

LEARNT, ASKED = date(2026, 11, 18), date(2026, 11, 19)
NUMBERS = ("score", "expected_excess_return", "expected_obtainable_return", "p_profit")
TICKERS = 8
COST_BP = 2.0


@pytest.fixture(scope="module")
def known() -> pa.Table:
    """Features of which some are missing: a minute without a bar, a ticker without a history, and all alike."""
    features = features_of(training_set([ASKED], tickers=TICKERS, minutes=6))
    for name in NAMES:
        values = features[name].to_numpy().copy()
        values[:2] = np.nan
        values[2] = 0.0 if name == "n_bar" else np.nan
        values[TICKERS : 2 * TICKERS] = 0.0
        features = replaced(features, name, [None if np.isnan(value) else value for value in values])
    return features


@pytest.fixture(scope="module")
def fitted(spark: SparkSession) -> dict[str, FittedModel]:
    """One of each kind. Of trees two, on tiny data: each is some jobs, and 60 took longer than all else here."""
    learnt = training_set([LEARNT], tickers=TICKERS, minutes=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "TREES", 2)
        models = training.fit(spark, learnt, predictions(learnt, KINDS), KINDS, COST_BP, 7)
    return {model.kind: model for model in models}


def model(models: Mapping[str, FittedModel], kind: str, **others: Any) -> Model:
    source = models.get("linear" if kind == "average" else kind)
    stage = source.pipeline.stages[-1] if source is not None and source.pipeline is not None else None
    worth = models[kind].worth
    assert worth is not None
    known = Model(kind, f"v-{kind}", stage, COST_BP, worth.coefficients, 0.5, 0.25)
    return replace(known, **others)


def forecasts(spark: SparkSession, champion: Model, candidates: tuple[Model, ...], features: pa.Table) -> pa.Table:
    return rows(predict(SessionModels(champion, candidates), frame(spark, features)), PREDICTIONS)


@pytest.fixture(scope="module")
def every(fitted: dict[str, FittedModel]) -> tuple[Model, ...]:
    return tuple(model(fitted, kind) for kind in KINDS)


@pytest.fixture(scope="module")
def made(spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel], every: tuple[Model, ...]) -> pa.Table:
    return forecasts(spark, model(fitted, "average"), every, known)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def test_a_forecast_is_all_there_or_abstains_with_a_reason(made: pa.Table) -> None:
    named = (*NUMBERS, *(f"score_{kind}" for kind in KINDS))
    for row in made.to_pylist():
        assert len({row[name] is None for name in named} | {row["abstain"] is not None}) == 1
        assert row["abstain"] is not None or all(np.isfinite(row[name]) for name in named)
    assert set(made["model_version"].to_pylist()) == {"v-average"}


def test_a_ticker_abstains_without_a_bar_or_a_history_or_anything_that_tells_it_apart(made: pa.Table) -> None:
    said = made["abstain"].to_pylist()
    assert said == [NO_BAR, NO_BAR, TOO_EARLY] + [None] * (TICKERS - 3) + [ALIKE] * TICKERS + [None] * (4 * TICKERS)


def test_average_is_the_mean_of_both_scores_standardised_across_the_tickers_that_have_one(made: pa.Table) -> None:
    frame_ = made.to_pandas()
    both = frame_[["score_linear", "score_reversal"]]
    of_minute = both.groupby(frame_["minute"])
    apart = (both - of_minute.transform("mean")) / of_minute.transform("std", ddof=0)
    np.testing.assert_allclose(frame_["score_average"], apart.mean(axis=1, skipna=False), atol=1e-12)
    np.testing.assert_array_equal(frame_["score"], frame_["score_average"])
    assert frame_["score"].notna().sum() == 5 * TICKERS - 3


def test_scores_of_linear_are_the_features_times_its_coefficients(
    known: pa.Table, fitted: dict[str, FittedModel], made: pa.Table
) -> None:
    pipeline = fitted["linear"].pipeline
    assert pipeline is not None
    values = np.column_stack([np.nan_to_num(numbers(known, name)) for name in NAMES])
    stage = pipeline.stages[-1]
    expected = values @ stage.coefficients.toArray() + stage.intercept
    there = ~np.isnan(numbers(made, "score_linear"))
    np.testing.assert_allclose(numbers(made, "score_linear")[there], expected[there], atol=1e-12)
    reversal = np.where(there, numbers(known, "reversal"), np.nan)
    np.testing.assert_array_equal(numbers(made, "score_reversal"), reversal)


def test_expected_returns_are_in_proportion_to_score_and_spread(known: pa.Table, made: pa.Table) -> None:
    expected = numbers(made, "score") * numbers(known, "sig")
    np.testing.assert_allclose(numbers(made, "expected_excess_return"), 0.5 * expected, rtol=1e-12)
    np.testing.assert_allclose(numbers(made, "expected_obtainable_return"), 0.25 * expected, rtol=1e-12)


def test_the_probability_is_the_logistic_of_score_and_cost_in_spreads(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel]
) -> None:
    """Recorded: a score of 2, a cost of 2 bp and spreads of 1e-3 and 1e-5 a minute, of which the last is beyond 4."""
    features = replaced(known, "reversal", np.full(known.num_rows, 2.0))
    features = replaced(features, "sig", np.where(np.arange(known.num_rows) % 2, 1e-3, 1e-5))
    champion = model(fitted, "reversal", calibration=(0.1, 0.2, -0.3, 0.04, -0.05))
    said = numbers(forecasts(spark, champion, (champion,), features), "p_profit")
    assert said[3] == pytest.approx(0.6140913, abs=1e-6)
    assert said[4] == pytest.approx(0.3869858, abs=1e-6)


def test_a_model_that_is_in_doubt_says_so_beside_its_numbers(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel], made: pa.Table
) -> None:
    doubted = forecasts(spark, model(fitted, "average", abstain="drift"), (), known)
    assert doubted["score"].equals(made["score"])
    assert doubted["abstain"].to_pylist() == [reason or "drift" for reason in made["abstain"].to_pylist()]
    assert doubted["score_linear"].null_count == known.num_rows


def test_a_champion_that_has_no_fit_abstains_while_the_others_are_kept(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel]
) -> None:
    nothing = model(fitted, "average", fitted=None, calibration=None, return_per_score=None, abstain="no training set")
    table = forecasts(spark, nothing, (nothing, model(fitted, "reversal")), known)
    assert {table[name].null_count for name in (*NUMBERS, "score_average")} == {known.num_rows}
    assert set(table["abstain"].to_pylist()) == {NO_BAR, TOO_EARLY, ALIKE, "no training set"}
    assert table["score_reversal"].null_count == 3 + TICKERS


def test_one_ticker_alone_has_an_average_of_nought(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel], every: tuple[Model, ...]
) -> None:
    alone = known.filter(pa.array([ticker == "T05" for ticker in known["ticker"].to_pylist()]))
    table = forecasts(spark, model(fitted, "average"), every, alone)
    assert table["score"].to_pylist() == [0.0, None, 0.0, 0.0, 0.0, 0.0]
    assert all(np.isfinite(value) for value in table["p_profit"].drop_null().to_pylist())


def test_a_missing_reversal_counts_as_the_mean_and_leaves_no_score_of_its_own(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel]
) -> None:
    values = known["reversal"].to_pylist()
    values[5] = None
    lacking = replaced(known, "reversal", values)
    average, reversal = model(fitted, "average"), model(fitted, "reversal")
    kept = forecasts(spark, average, (average, reversal), lacking)
    assert kept["score"][5].as_py() is not None and kept["score_reversal"][5].as_py() is None
    alone = forecasts(spark, reversal, (), lacking)
    assert (alone["score"][5].as_py(), alone["abstain"][5].as_py()) == (None, TOO_EARLY)


def test_each_kind_that_was_saved_forecasts_the_same(
    spark: SparkSession, known: pa.Table, fitted: dict[str, FittedModel], made: pa.Table, tmp_path: Path
) -> None:
    loaded: dict[str, Any] = {}
    for kind, of_kind in fitted.items():
        if of_kind.pipeline is not None:
            folder = save(of_kind.pipeline, (tmp_path / kind).as_uri())
            loaded[kind] = load(f"{(tmp_path / kind).as_uri()}/{folder}", kind, "v1", NAMES, DIGEST)
    assert set(loaded) == {"linear", "boosted", "forest"}
    loaded["average"] = loaded["linear"]
    models = tuple(model(fitted, kind, fitted=loaded.get(kind)) for kind in KINDS)
    assert forecasts(spark, models[KINDS.index("average")], models, known).equals(made)


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"v1 .* was fitted to the features n_cmid, .* materialize return_model"):
        load(tmp_path.as_uri(), "linear", "v1", NAMES[:-1], DIGEST)


def test_a_model_of_the_same_features_by_other_definitions_is_refused(tmp_path: Path) -> None:
    said = rf"v1 .* other definitions \(0123456789ab\) .* \({DIGEST}\); materialize features and training_set of"
    with pytest.raises(ModelMismatch, match=said):
        load(tmp_path.as_uri(), "linear", "v1", NAMES, "0123456789ab")


def test_a_session_without_a_model_abstains_with_its_reason(known: pa.Table) -> None:
    nothing = abstained(known, "no model")
    assert nothing.schema.equals(PREDICTIONS.columns)
    assert nothing["abstain"].to_pylist() == ["no model"] * known.num_rows
    assert nothing["score"].null_count == nothing["model_version"].null_count == known.num_rows
