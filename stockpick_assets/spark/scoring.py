"""From features to forecasts: the models of a session applied, and what a forecast that cannot be made says.

Models are saved and loaded by MLlib itself. What does not belong here: how a model is fitted (training.py), or what its
score is worth (core/calibration.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.ml import PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import GBTRegressionModel, LinearRegressionModel, RandomForestRegressionModel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stockpick_assets.core.calibration import COST_LIMIT, cost_in_spreads
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.schemas import KINDS, PREDICTIONS

NO_BAR = "no bar in this minute"
TOO_EARLY = "too few one-minute returns yet and no session before to tell a move from noise"
ALIKE = "nothing sets the tickers of this minute apart"

VALUES = "values"  # the vector of the features that MLlib reads
FITTED: Mapping[str, Any] = {
    "linear": LinearRegressionModel,
    "boosted": GBTRegressionModel,
    "forest": RandomForestRegressionModel,
}
FITTED_OF = {**{kind: kind for kind in FITTED}, "average": "linear"}  # whose fit a kind's score is made with
# Two linear scores that differ by less are equal but for rounding.
LEAST_SPREAD = 1e-9

_KEY = ("session", "minute", "ticker", "source")
READ = [*_KEY, "sig", "reversal", *NAMES]  # the columns of features that forecasts are made of


class ModelMismatch(StockpickError):
    """A model was fitted to other features than those of today."""


@dataclass(frozen=True)
class Model:
    """One kind of model as it is used, from its row of RETURN_MODEL.

    fitted: what MLlib fitted, that of linear for average; None for reversal, and where there is none. calibration,
    return_per_score, obtainable_per_score: a `Worth` of core/calibration.py; None where nothing is known of it.
    abstain: why its forecasts are not to be relied on, or why it has none.
    """

    kind: str
    version: str
    fitted: Any | None
    cost_bp: float
    calibration: Sequence[float] | None = None
    return_per_score: float | None = None
    obtainable_per_score: float | None = None
    abstain: str | None = None


@dataclass(frozen=True)
class SessionModels:
    """The models of one session: the champion, whose forecast counts, and the candidates, whose scores are kept."""

    champion: Model
    candidates: tuple[Model, ...]


def save(pipeline: PipelineModel, uri: str) -> str:
    """Save by MLlib; the folder below `uri` of the stage that was fitted, the last.

    uri: a folder that is not there yet and that the Spark server can write, `s3a://…` or `file://…`.
    """
    pipeline.save(uri)
    return f"stages/{len(pipeline.stages) - 1}_{pipeline.stages[-1].uid}"


def load(uri: str, kind: str, version: str, features: Sequence[str], digest: str | None) -> Any:
    """What MLlib fitted, from the folder of its stage. Raises ModelMismatch when its features are not those of today.

    features, digest: their names, and the digest of their definitions.

    Of a pipeline the stage alone: what comes before it is `assembled`, and reading it too took 1.2 s of processor time
    against 0.45 s.
    """
    if list(features) != NAMES:
        raise ModelMismatch(
            f"model {version} at {uri} was fitted to the features {', '.join(features)}, which are not those of this "
            f"version ({', '.join(NAMES)}); materialize return_model of its session again"
        )
    if digest != DIGEST:
        raise ModelMismatch(
            f"model {version} at {uri} was fitted to features of other definitions ({digest}) than those of this "
            f"version ({DIGEST}); materialize features and training_set of the sessions before its own again, then "
            "return_model of its session"
        )
    return FITTED[FITTED_OF[kind]].load(uri)


def assembler() -> VectorAssembler:
    """The stage before the fitted one: the features in their order, as the vector that MLlib reads."""
    return VectorAssembler(inputCols=NAMES, outputCol=VALUES)


def predict(models: SessionModels, features: DataFrame) -> DataFrame:
    """Forecasts for rows of features, columns PREDICTIONS; a row without its features abstains and says why.

    features: of all tickers of their minutes, because `average` compares them. What the champion abstains for stands
    beside its numbers.
    """
    champion = models.champion
    scored = _scored((champion, *models.candidates), features)
    score, sig = _score(champion), F.col("sig")
    kept = {candidate.kind: _score(candidate) for candidate in models.candidates}
    nothing = F.lit(None).cast("double")
    return scored.select(
        *_KEY,
        score.alias("score"),
        (score * sig * F.lit(champion.return_per_score)).cast("double").alias("expected_excess_return"),
        (score * sig * F.lit(champion.obtainable_per_score)).cast("double").alias("expected_obtainable_return"),
        _p_profit(champion, score, sig).alias("p_profit"),
        F.lit(champion.version).alias("model_version"),
        *(kept.get(kind, nothing).alias(f"score_{kind}") for kind in KINDS),
        F.coalesce("why_none", F.lit(champion.abstain), F.when(score.isNull(), TOO_EARLY)).alias("abstain"),
    )


def scores(models: Sequence[Model], features: DataFrame) -> DataFrame:
    """The scores alone: key and `score_<kind>` of each model; null where there is none."""
    scored = _scored(models, features)
    return scored.select(*_KEY, *(_score(model).alias(f"score_{model.kind}") for model in models))


def abstained(features: pa.Table, reason: str) -> pa.Table:
    """What rows of features get when their session has no model: no forecast, and the reason; rows PREDICTIONS."""
    given: dict[str, Any] = {name: features[name] for name in _KEY}
    given["abstain"] = pa.array([reason] * features.num_rows, pa.string())
    nothing = pa.nulls(features.num_rows)
    return pa.table(
        [given.get(field.name, nothing.cast(field.type)) for field in PREDICTIONS.columns], schema=PREDICTIONS.columns
    )


def _scored(models: Sequence[Model], features: DataFrame) -> DataFrame:
    """Features with `why_none` and a column of each model's prediction, each fit applied once.

    A missing feature is 0, the mean of its minute.
    """
    alike = F.greatest(*(F.abs(F.col(name)) for name in NAMES)) == 0
    why_none = F.when(F.col("n_bar").isNull(), NO_BAR).when(F.col("n_cmid").isNull(), TOO_EARLY).when(alike, ALIKE)
    # In one part: the rows of a session are few, and comparing the tickers of a minute then needs no shuffle.
    known = features.select(*READ).coalesce(1).withColumn("why_none", why_none)
    scored = assembler().transform(known.fillna(0.0, subset=NAMES))
    for name, fitted in {_column(model): model.fitted for model in models if model.fitted is not None}.items():
        scored = fitted.setFeaturesCol(VALUES).setPredictionCol(name).transform(scored)
    return scored


def _column(model: Model) -> str:
    """Of the predictions of what was fitted: linear and average of a session share one."""
    return f"fitted_{id(model.fitted)}"


def _score(model: Model) -> Column:
    made = F.col("why_none").isNull()
    reversal = F.when(made, F.col("reversal"))
    if model.kind == "reversal":
        return reversal
    if model.fitted is None:
        return F.lit(None).cast("double")
    fitted = F.when(made, F.col(_column(model)))
    if model.kind != "average":
        return fitted
    # Of a ticker without a reversal, the mean.
    return (F.coalesce(_standardised(reversal), F.lit(0.0)) + _standardised(fitted)) / 2


def _standardised(score: Column) -> Column:
    """Distance from the mean of the minute's tickers in population standard deviations; 0 where all are equal."""
    across = (
        Window.partitionBy("session", "minute")
        .orderBy("ticker")
        .rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    )
    spread = F.stddev_pop(score).over(across)
    return F.when(spread > LEAST_SPREAD, (score - F.avg(score).over(across)) / spread).otherwise(score * 0)


def _p_profit(model: Model, score: Column, sig: Column) -> Column:
    if model.calibration is None:
        return F.lit(None).cast("double")
    cost = F.least(cost_in_spreads(sig, model.cost_bp), F.lit(COST_LIMIT))
    first, of_score, of_cost, of_square, of_both = model.calibration
    odds = first + of_score * score + of_cost * cost + of_square * cost * cost + of_both * score * cost
    return 1 / (1 + F.exp(-odds))
