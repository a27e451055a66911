"""Training sets and models: what is learnt from, and how it is fitted.

Spark MLlib over Spark Connect. What does not belong here: which sessions a model may learn from (the asset decides),
what its forecasts are worth (core/calibration.py), or what they look like (scoring.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml import PipelineModel
from pyspark.ml.functions import array_to_vector
from pyspark.ml.regression import GBTRegressor, LinearRegression, RandomForestRegressor
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stockpick_assets.core.calibration import CALIBRATION_SESSIONS, Measured, Worth, held_out, measured, worth
from stockpick_assets.core.feature_set import MEASURES, NAMES
from stockpick_assets.core.labels import (
    CLOSE_RETURN,
    HORIZON_MINUTES,
    LABEL,
    OBTAINABLE_RETURN,
)
from stockpick_assets.core.schemas import BARS_FETCHED_AT, PREDICTIONS, TRAINING_SET
from stockpick_assets.spark.expressions import ACROSS, loadings, within, without_factors
from stockpick_assets.spark.frames import frame
from stockpick_assets.spark.scoring import FITTED_OF, READ, VALUES, Model, assembler, scores

MEASURED = [measure.name for measure in MEASURES]
TARGET = "label"
LABELLED = TRAINING_SET.without(BARS_FETCHED_AT)
NOTHING_TO_LEARN = "the earlier sessions have too few different outcomes to fit a model to"
NOTHING_TO_CALIBRATE = "no earlier forecasts of which some paid and some did not: its probability is not known"

_KEY = ("session", "minute", "ticker")
_OUTCOME = ("sig", "obtainable_return", "close_return")
LEARNT_FROM = (*READ, TARGET, "obtainable_return", "close_return")  # the columns of TRAINING_SET that are learnt from
# The newest sessions that models are fitted to; no fewer than CALIBRATION_SESSIONS, whose outcomes are read with them.
# Of 100 tickers they are 390,000 rows, and neither time nor memory grows with the store. More teach little: of 22 real
# sessions the last four alone gave an IC of .0740, and all of them .0746.
FIT_SESSIONS = 10
NO_TRAINING_SET = f"none of the {FIT_SESSIONS} sessions before this one has a training set"
# Ridge in MLlib's terms: of the penalty per row, which MLlib divides by the spread of the label, 0.29.
RIDGE = 2000.0
TREES = 60
DEPTH = 5
# Sums over two parts are the same to the last bit in whichever order these are done; over more they are not.
PARTITIONS = 2


@dataclass(frozen=True)
class FittedModel:
    """One kind of model, fitted to training sets, and what its forecasts of sessions that it had not seen were worth.

    pipeline: None for reversal, which fits nothing, for average, which has that of linear, and where there is nothing
    to learn. abstain: why there is no model, or why its forecasts are not to be relied on. worth, measured: None
    without earlier forecasts.
    """

    kind: str
    pipeline: PipelineModel | None
    abstain: str | None
    training_sessions: tuple[date, ...]
    rows: int
    worth: Worth | None
    measured: Measured | None


def training_rows(features: DataFrame, bars: DataFrame, factors: DataFrame) -> DataFrame:
    """Features and labels of whole sessions, columns LABELLED.

    features: COMPUTED. bars: RAW_PRICES of the same sessions. factors: a row of FACTORS for each of their sessions and
    tickers. A row needs features, and a bar at its minute and at the one five clock minutes later; its `label` is
    among the rows of its minute.
    """
    outcomes = (
        bars.where("close IS NOT NULL")
        .selectExpr(*_KEY, "open", "close", "CAST(unix_seconds(minute) DIV 60 AS INT) AS m")
        .selectExpr(*_KEY, f"{OBTAINABLE_RETURN} AS obtainable_return", f"{CLOSE_RETURN} AS close_return")
    )
    return (
        features.select(*_KEY, "source", *MEASURED, *NAMES)
        .join(outcomes, ["session", "ticker", "minute"])
        .join(factors.select("session", "ticker", "basis", "label_basis"), ["session", "ticker"])
        .where("close_return IS NOT NULL AND n_cmid IS NOT NULL")
        .selectExpr("*", "ln(1 + close_return) AS forward_return")
        .selectExpr(
            "*",
            f"{_less_mean('close_return')} AS close_away",
            f"({_less_mean('forward_return')}) / sig AS forward_away",
        )
        .selectExpr(
            "*",
            f"{within('close_away', f'(8 * sig * sqrt({HORIZON_MINUTES}))')} AS close_within",
            f"{within('forward_away', 8)} AS forward_within",
        )
        .selectExpr(
            "*", f"{_less_mean('close_within')} AS close_excess", f"{_less_mean('forward_within')} AS forward_excess"
        )
        .selectExpr("*", *loadings("close_excess", "label_basis"), *loadings("forward_excess", "basis"))
        .selectExpr(
            "*",
            f"{without_factors('close_excess', 'label_basis')} AS neutral_close",
            f"{without_factors('forward_excess', 'basis')} AS neutral_forward",
        )
        .selectExpr("*", f"{LABEL} AS {TARGET}")
        .select(*LABELLED.columns.names)
    )


def _less_mean(value: str) -> str:
    return f"{value} - avg({value}) OVER {ACROSS}"


def fit(
    spark: SparkSession, training: pa.Table, predictions: pa.Table, kinds: Sequence[str], cost_bp: float, seed: int
) -> tuple[FittedModel, ...]:
    """Fit each of the kinds to training sets, and learn what its score is worth from earlier forecasts.

    training: LEARNT_FROM of TRAINING_SET, of the sessions it may learn from. predictions: of these sessions, keys and
    scores of PREDICTIONS at least, made by models that had not seen them. Of a kind that has no score in these, the
    forecasts are of the last session by a model of those before; with a single session, of its last third by a
    model of what came earlier.
    """
    fitted = {kind: _pipeline(spark, training, kind, seed) for kind in _fits(kinds)}
    forecasts = _outcomes(training, predictions, kinds)
    unseen = [kind for kind in kinds if forecasts[f"score_{kind}"].isna().all()]
    held = _held_forecasts(spark, training, unseen, cost_bp, seed) if unseen else forecasts
    sessions = tuple(_sessions(training))

    def model(kind: str) -> FittedModel:
        of_kind = _of_kind(held if kind in unseen else forecasts, kind)
        found = worth(of_kind, cost_bp)
        abstain = None
        if not training.num_rows:
            abstain = NO_TRAINING_SET
        elif kind in FITTED_OF and fitted[FITTED_OF[kind]] is None:
            abstain = NOTHING_TO_LEARN
        elif found is None or found.coefficients is None:
            abstain = NOTHING_TO_CALIBRATE
        return FittedModel(
            kind, fitted.get(kind), abstain, sessions, training.num_rows, found, measured(of_kind, cost_bp)
        )

    return tuple(model(kind) for kind in kinds)


def _sessions(training: pa.Table) -> list[date]:
    sessions: list[Any] = training["session"].unique().to_pylist()
    return sorted(sessions)


def _fits(kinds: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(FITTED_OF[kind] for kind in kinds if kind in FITTED_OF))


def _outcomes(training: pa.Table, predictions: pa.Table, kinds: Sequence[str]) -> pd.DataFrame:
    """The newest sessions' outcomes, with the scores of the kinds where there was a forecast."""
    newest = pa.array(_sessions(training)[-CALIBRATION_SESSIONS:], pa.date32())
    outcomes = training.select([*_KEY, *_OUTCOME]).filter(pc.is_in(training["session"], newest)).to_pandas()
    made = predictions.select([*_KEY, *(f"score_{kind}" for kind in kinds)]).to_pandas()
    return outcomes.merge(made, on=list(_KEY), how="left")


def _held_forecasts(
    spark: SparkSession, training: pa.Table, kinds: Sequence[str], cost_bp: float, seed: int
) -> pd.DataFrame:
    """Forecasts of what is held out, by models of the rest."""
    if not training.num_rows:
        return _outcomes(training, PREDICTIONS.empty(), kinds)
    chosen = held_out(training.select(["session", "minute"]).to_pandas())
    learnt, held = (training.filter(pa.array(part)) for part in chosen)
    fits = {kind: _pipeline(spark, learnt, kind, seed) for kind in _fits(kinds)}
    stages = {kind: None if pipeline is None else pipeline.stages[-1] for kind, pipeline in fits.items()}
    models = [Model(kind, "held out", stages.get(FITTED_OF.get(kind, "")), cost_bp) for kind in kinds]
    made = scores(models, frame(spark, held.select(READ))).select(*_KEY, *(f"score_{kind}" for kind in kinds))
    return _outcomes(held, made.toArrow(), kinds)


def _of_kind(forecasts: pd.DataFrame, kind: str) -> pd.DataFrame:
    made = forecasts.rename(columns={f"score_{kind}": "score"})
    return made.loc[made["score"].notna(), ["session", "minute", "score", *_OUTCOME]]


def _pipeline(spark: SparkSession, training: pa.Table, kind: str, seed: int) -> PipelineModel | None:
    """Fitted to the rows; None where nothing tells their labels apart."""
    if len(training[TARGET].unique()) < 2:
        return None
    regression = _regression(kind, training.num_rows, seed).setFeaturesCol(VALUES).setLabelCol(TARGET)
    return PipelineModel([assembler(), regression.fit(_examples(spark, training))])


def _regression(kind: str, rows: int, seed: int) -> Any:
    if kind == "boosted":
        return GBTRegressor(maxIter=TREES, maxDepth=DEPTH, seed=seed)
    if kind == "forest":
        return RandomForestRegressor(numTrees=TREES, maxDepth=DEPTH, seed=seed)
    return LinearRegression(regParam=RIDGE / rows, elasticNetParam=0.0, standardization=False, solver="normal")


def _examples(spark: SparkSession, training: pa.Table) -> DataFrame:
    """The rows as MLlib reads them. A missing feature is 0, the mean of its minute.

    In parts of a session, because the server keeps what it was sent and takes the same bytes once: the fits of a walk
    share nine of their ten sessions.
    """

    def parts() -> Iterator[DataFrame]:
        for day in _sessions(training):
            part = training.filter(pc.equal(training["session"], pa.scalar(day)))
            values = np.column_stack([part[name].to_numpy() for name in NAMES])
            # Half the bytes; the features are within ±3, so that 7 digits are left.
            numbers = pa.array(np.where(np.isnan(values), 0.0, values).astype(np.float32).ravel())
            lists: Any = pa.FixedSizeListArray.from_arrays(numbers, len(NAMES)).cast(pa.list_(pa.float32()))
            yield frame(spark, pa.Table.from_arrays([lists, part[TARGET]], [VALUES, TARGET]))

    joined = reduce(DataFrame.unionAll, parts()).coalesce(PARTITIONS)
    return joined.select(array_to_vector(F.col(VALUES).cast("array<double>")).alias(VALUES), TARGET)
