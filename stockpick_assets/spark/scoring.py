"""From features to forecasts: the model of a session applied, and what a forecast that cannot be made says.

Models are saved and loaded by MLlib itself. What does not belong here: how a model is fitted (training.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.feature_set import MINIMUM_RETURNS
from stockpick_assets.core.schemas import KINDS, PREDICTIONS
from stockpick_assets.spark.training import NAMES, probability_of_profit, with_values

NO_BAR = "no bar in this minute"
TOO_EARLY = f"fewer than {MINIMUM_RETURNS} one-minute returns in this session yet"
ALIKE = "nothing sets the tickers of this minute apart"


class ModelMismatch(StockpickError):
    """A model was fitted to other features than those of today."""


@dataclass(frozen=True)
class Model:
    """A model as it is used: the pipeline, its version, and the expected excess return of a score of 1."""

    pipeline: PipelineModel
    version: str
    return_per_score: float


def save(pipeline: PipelineModel, uri: str) -> None:
    """Save by MLlib. uri: a folder that is not there yet and that the Spark server can write, `s3a://…` or `file://…`."""
    pipeline.save(uri)


def load(uri: str, version: str, return_per_score: float, features: Sequence[str]) -> Model:
    """Load by MLlib. features: the names it was fitted to. Raises ModelMismatch when they are not those of today."""
    if list(features) != NAMES:
        raise ModelMismatch(
            f"model {version} at {uri} was fitted to the features {', '.join(features)}, which are not those of this "
            f"version ({', '.join(NAMES)}); materialize return_model of its session again"
        )
    return Model(PipelineModel.load(uri), version, return_per_score)


def predict(model: Model, features: DataFrame) -> DataFrame:
    """Forecasts for rows of features, columns PREDICTIONS; a row without its features abstains and says why."""
    scored = model.pipeline.transform(with_values(features.withColumn("abstain", _why_none())))
    made = F.col("abstain").isNull()
    return scored.select(
        "session",
        "minute",
        "ticker",
        "source",
        F.when(made, F.col("score")).alias("score"),
        F.when(made, F.col("score") * model.return_per_score).alias("expected_excess_return"),
        F.lit(None).cast("double").alias("expected_obtainable_return"),
        F.when(made, probability_of_profit()).alias("p_profit"),
        F.lit(model.version).alias("model_version"),
        F.when(made, F.col("score")).alias("score_linear"),
        *(F.lit(None).cast("double").alias(f"score_{kind}") for kind in KINDS if kind != "linear"),
        "abstain",
    )


def abstained(features: pa.Table, reason: str) -> pa.Table:
    """What rows of features get when their session has no model: no forecast, and the reason; rows PREDICTIONS."""
    given: dict[str, Any] = {name: features[name] for name in ("session", "minute", "ticker", "source")}
    given["abstain"] = pa.array([reason] * features.num_rows, pa.string())
    nothing = pa.nulls(features.num_rows)
    return pa.table(
        [given.get(field.name, nothing.cast(field.type)) for field in PREDICTIONS.columns], schema=PREDICTIONS.columns
    )


def _why_none() -> Column:
    alike = F.greatest(*(F.abs(F.col(name)) for name in NAMES)) == 0
    return F.when(F.col("n_bar").isNull(), NO_BAR).when(F.col("n_cmid").isNull(), TOO_EARLY).when(alike, ALIKE)
