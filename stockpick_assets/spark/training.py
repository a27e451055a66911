"""Training sets and models: what is learnt from, how it is fitted, and how it was measured before it is used.

Spark MLlib over Spark Connect. What does not belong here: which sessions a model may learn from (the asset decides),
or what a forecast looks like (scoring.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.ml.regression import LinearRegression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stockpick_assets.core.evaluation import brier, rank_ic, slope
from stockpick_assets.core.feature_set import FEATURES, MEASURES
from stockpick_assets.core.labels import (
    CLOSE_RETURN,
    HORIZON,
    LABEL,
    LABEL_WINDOWS,
    OBTAINABLE_RETURN,
    profitable_above,
)
from stockpick_assets.core.schemas import BARS_FETCHED_AT, TRAINING_SET
from stockpick_assets.spark.frames import frame

NAMES = [feature.name for feature in FEATURES]
MEASURED = [measure.name for measure in MEASURES]
# Ridge in MLlib's terms: the penalty is divided by the number of rows.
RIDGE = 2000.0
TARGET = "label"
LABELLED = TRAINING_SET.without(BARS_FETCHED_AT)


@dataclass(frozen=True)
class Fit:
    """A fitted pipeline and how it did out of sample; `pipeline` adds `score` and `probability` to features."""

    pipeline: PipelineModel
    training_sessions: tuple[date, ...]
    rows: int
    measured: "Measured"


@dataclass(frozen=True)
class Measured:
    """Forecasts of one session that the fit behind them had not seen.

    session: the one they were made of. ic_close, ic_obtainable: rank IC; None without two different outcomes. brier,
    brier_base_rate: of probabilities calibrated on the first half of those minutes, measured on the second.
    expected_return_per_score: slope of the close return's excess over the minute's mean.
    """

    session: date
    ic_close: float | None
    ic_obtainable: float | None
    brier: float | None
    brier_base_rate: float | None
    expected_return_per_score: float


def training_rows(spark: SparkSession, features: DataFrame, bars: DataFrame) -> DataFrame:
    """Features and labels of whole sessions, columns LABELLED.

    features: COMPUTED. bars: RAW_PRICES of the same sessions. A row needs features, and a bar at its minute and at
    the one five clock minutes later; its `label` is among the rows of its minute.
    """
    return spark.sql(
        f"""
        WITH bar AS (
            SELECT session, ticker, minute, open, close, CAST(unix_seconds(minute) DIV 60 AS INT) AS m
            FROM {{bars}} WHERE close IS NOT NULL
        ),
        outcome AS (
            SELECT session, ticker, minute, {OBTAINABLE_RETURN} AS obtainable_return, {CLOSE_RETURN} AS close_return
            FROM bar WINDOW {LABEL_WINDOWS}
        )
        SELECT session, minute, ticker, source, {", ".join([*MEASURED, *NAMES])}, obtainable_return, close_return,
            (ln(1 + close_return) - avg(ln(1 + close_return)) OVER (PARTITION BY session, minute)) / sig
                AS neutral_forward,
            {LABEL} AS label
        FROM {{features}} JOIN outcome USING (session, ticker, minute)
        WHERE close_return IS NOT NULL AND n_cmid IS NOT NULL
        """,
        bars=bars,
        features=features,
    ).select(*LABELLED.columns.names)


def fit(spark: SparkSession, training: pa.Table, cost_bp: float) -> Fit | None:
    """Fit a linear model of the label and a logistic calibration of its score; None where there is too little to do so.

    training: rows TRAINING_SET of the sessions it may learn from. The calibration is fitted to forecasts of the last
    session by a model of those before; with a single session, of its last third by a model of what came earlier. The
    linear model of the result is then fitted to all of it: label and penalty are the same, so a score still means what
    it meant to the calibration. Too little: no two tickers to tell apart, or in the part held out
    no profit, or nothing but profits.
    """
    learnt, held = held_out(training)
    graded = held.filter(pc.is_valid(held["obtainable_return"]))
    if len(learnt["label"].unique()) < 2 or len(_profitable(graded, cost_bp).unique()) < 2:
        return None
    forecasts = _forecasts(spark, _linear(spark, learnt), held)
    stages = [_assembler(), _linear(spark, training), _score_vector(), _calibration(spark, forecasts, cost_bp)]
    sessions = tuple(_distinct(training["session"]))
    return Fit(PipelineModel(stages), sessions, training.num_rows, _measured(spark, forecasts, cost_bp))


def with_values(features: DataFrame) -> DataFrame:
    """Features as the pipeline takes them: a missing one is 0, the mean of its minute."""
    return features.fillna(0.0, subset=NAMES)


def held_out(training: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What is learnt from, and what this is tried on: the last session, or the last third of the only one."""
    sessions = _distinct(training["session"])
    if len(sessions) < 2:
        return _split(training, 2 / 3)
    last = pc.equal(training["session"], pa.scalar(sessions[-1], pa.date32()))
    return training.filter(pc.invert(last)), training.filter(last)


def _split(rows: pa.Table, share: float) -> tuple[pa.Table, pa.Table]:
    """The first `share` of the minutes, and the rest, with the horizon left out between them."""
    minutes = _distinct(rows["minute"])
    if not minutes:
        return rows, rows
    first = minutes[int(len(minutes) * share)]
    # What a row of the first part turned out to be worth is known five minutes after it.
    known = pc.less_equal(rows["minute"], first - HORIZON)
    return rows.filter(known), rows.filter(pc.greater_equal(rows["minute"], first))


def _distinct(column: Any) -> list[Any]:
    return sorted(column.unique().to_pylist())


def _assembler() -> VectorAssembler:
    return VectorAssembler(inputCols=NAMES, outputCol="features")


def _score_vector() -> VectorAssembler:
    return VectorAssembler(inputCols=["score"], outputCol="score_vector")


def _linear(spark: SparkSession, training: pa.Table) -> Any:
    assembled = _assembler().transform(with_values(frame(spark, training.select([*NAMES, TARGET]))))
    return LinearRegression(
        featuresCol="features",
        labelCol=TARGET,
        predictionCol="score",
        regParam=RIDGE / training.num_rows,
        elasticNetParam=0.0,
        standardization=False,
        solver="normal",
    ).fit(assembled)


def _forecasts(spark: SparkSession, linear: Any, held: pa.Table) -> pa.Table:
    scored = linear.transform(_assembler().transform(with_values(frame(spark, held))))
    return scored.select("session", "minute", "ticker", "score", "obtainable_return", "close_return").toArrow()


def _calibration(spark: SparkSession, forecasts: pa.Table, cost_bp: float) -> Any:
    graded = forecasts.filter(pc.is_valid(forecasts["obtainable_return"]))
    table = graded.select(["score"]).append_column("profitable", _profitable(graded, cost_bp))
    return LogisticRegression(featuresCol="score_vector", labelCol="profitable", probabilityCol="probability").fit(
        _score_vector().transform(frame(spark, table))
    )


def _profitable(graded: pa.Table, cost_bp: float) -> Any:
    return pa.array((graded["obtainable_return"].to_numpy() > profitable_above(cost_bp)).astype(float))


def _measured(spark: SparkSession, forecasts: pa.Table, cost_bp: float) -> Measured:
    rows = forecasts.to_pandas()
    excess = rows["close_return"] - rows.groupby("minute")["close_return"].transform("mean")
    of_model, of_base_rate = _brier_scores(spark, forecasts, cost_bp)
    return Measured(
        session=rows["session"].max(),
        ic_close=rank_ic(rows, "score", "close_return"),
        ic_obtainable=rank_ic(rows, "score", "obtainable_return"),
        brier=of_model,
        brier_base_rate=of_base_rate,
        expected_return_per_score=slope(rows["score"].to_numpy(), excess.to_numpy()),
    )


def _brier_scores(spark: SparkSession, forecasts: pa.Table, cost_bp: float) -> tuple[float | None, float | None]:
    """Of the calibrated probability and the base rate, both learnt from the first half and measured on the second."""
    earlier, later = _split(forecasts.filter(pc.is_valid(forecasts["obtainable_return"])), 1 / 2)
    if not earlier.num_rows or not later.num_rows:
        return None, None
    asked = _score_vector().transform(frame(spark, later.select(["score"])))
    answered = _calibration(spark, earlier, cost_bp).transform(asked).select(probability_of_profit().alias("p"))
    happened = _profitable(later, cost_bp).to_numpy()
    base_rate = np.full(later.num_rows, pc.mean(_profitable(earlier, cost_bp)).as_py())
    return brier(answered.toArrow()["p"].to_numpy(), happened), brier(base_rate, happened)


def probability_of_profit() -> Any:
    """The column of the probability that the forecast pays, from the pipeline's vector of both outcomes."""
    return F.element_at(vector_to_array(F.col("probability")), 2)
