"""The proof finds nothing in the flow, and every leak that is planted in it.

The session before the proved one is made by the flow as it is, once for all tests: a leak shows in the session that
is proved. What Spark makes of the same tables is made once too: a leak is planted around the steps, and which tables
they are given shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stockpick_assets.core.labels import HORIZON_MINUTES
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.schemas import RAW_PRICES, TRAINING_SET
from stockpick_assets.core.versions import last_of_each
from stockpick_assets.proof import KEPT, PERTURBED, REMOVED, REVISED, SHUFFLED, TRUE, Check, checks, history, shuffled
from stockpick_assets.spark.frames import frame
from stockpick_assets.walk_forward import Completed, Steps, Terms, Walk
from stockpick_assets_tests.short_market import short_market

DAYS = [date(2026, 11, 19), date(2026, 11, 20)]
OF_TICKER = "PARTITION BY session, ticker"


@dataclass
class Remembered:
    """Production's steps that need Spark and depend on their tables alone, each done once for the same tables."""

    answers: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def features(self, bars: DataFrame, factors: DataFrame, first: datetime) -> DataFrame:
        made = (Steps.features, bars.toArrow(), factors.toArrow(), first)
        answer = self.once(made, lambda: Steps.features(bars, factors, first).toArrow())
        return frame(bars.sparkSession, answer)

    def indicators(self, bars: DataFrame, first: datetime) -> DataFrame:
        made = (Steps.indicators, bars.toArrow(), first)
        return frame(bars.sparkSession, self.once(made, lambda: Steps.indicators(bars, first).toArrow()))

    def training_rows(self, features: DataFrame, bars: DataFrame, factors: DataFrame) -> DataFrame:
        made = (Steps.training_rows, features.toArrow(), bars.toArrow(), factors.toArrow())
        answer = self.once(made, lambda: Steps.training_rows(features, bars, factors).toArrow())
        return frame(bars.sparkSession, answer)

    def fit(self, spark: SparkSession, training: pa.Table, predictions: pa.Table, *rest: Any) -> Any:
        made = (Steps.fit, training, predictions, *rest)
        return self.once(made, lambda: Steps.fit(spark, training, predictions, *rest))

    def once(self, made: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        key = tuple(_content(one) if isinstance(one, pa.Table) else one for one in made)
        if key not in self.answers:
            self.answers[key] = make()
        return self.answers[key]


def _content(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


REMEMBERED = Remembered()
STEPS = replace(
    Steps(),
    features=REMEMBERED.features,
    indicators=REMEMBERED.indicators,
    training_rows=REMEMBERED.training_rows,
    fit=REMEMBERED.fit,
)


@pytest.fixture(scope="module")
def walk(spark: SparkSession) -> Walk:
    market = short_market(DAYS, tickers=8, minutes=75)
    return Walk(spark, market, Terms(("linear",), cost_bp=2.0, seed=7), STEPS)


@pytest.fixture(scope="module")
def past(walk: Walk) -> list[Completed]:
    return list(history(walk, walk.market.sessions[-1]))


def proved(walk: Walk, past: list[Completed], steps: Steps) -> list[Check]:
    """The checks up to the first that finds a leak."""
    done: list[Check] = []
    for check in checks(replace(walk, steps=steps), walk.market.sessions[-1], past, minutes=1, seed=5):
        done.append(check)
        if check.leak:
            break
    return done


def with_column(name: str, expression: str) -> Steps:
    """Steps whose features have another value in a column (SQL over the features)."""

    def leaking(bars: DataFrame, factors: DataFrame, first: datetime) -> DataFrame:
        return STEPS.features(bars, factors, first).withColumn(name, F.expr(expression))

    return replace(STEPS, features=leaking)


def label_kept_in_training_rows(features: DataFrame, bars: DataFrame, factors: DataFrame) -> DataFrame:
    return STEPS.training_rows(features, bars, factors).withColumn("n_oc", F.col("label"))


def label_kept_in_features(bars: DataFrame, factors: DataFrame, first: datetime) -> DataFrame:
    at_exit = f"lead(close, {HORIZON_MINUTES}) OVER ({OF_TICKER} ORDER BY minute)"
    returns = bars.selectExpr("minute", "ticker", f"coalesce({at_exit} / close - 1, 0) AS close_return")
    made = STEPS.features(bars, factors, first).join(returns, ["minute", "ticker"])
    return made.withColumn("n_oc", F.col("close_return"))


def newest_version(versions: pa.Table, as_of: datetime) -> pa.Table:
    by_age: Any = [(column, "ascending") for column in (*RAW_PRICES.key, "fetched_at")]
    return last_of_each(versions.sort_by(by_age), RAW_PRICES.key)


def session_and_earlier(sessions: list[date], session: date) -> list[date]:
    return [day for day in sessions if day <= session]


def average_of_the_session(bars: DataFrame, first: datetime) -> DataFrame:
    return STEPS.indicators(bars, first).withColumn("vwap", F.expr(f"avg(vwap) OVER ({OF_TICKER})"))


def change_to_a_later_close(predictions: pa.Table, bars: pa.Table, *rest: Any) -> pa.Table:
    place = bars.column_names.index("minute")
    later: Any = pc.subtract(bars["minute"], HORIZON_MINUTES * MINUTE)
    ahead = STEPS.picks(predictions, bars.set_column(place, bars.schema.field("minute"), later), *rest)
    made = STEPS.picks(predictions, bars, *rest)
    return made.set_column(made.column_names.index("change_5m"), "change_5m", ahead["change_5m"])


@dataclass
class CalibratedOnItself:
    """Remembers what the session's own forecasts turned out to be worth, and makes a probability of it."""

    outcomes: dict[str, DataFrame] = field(default_factory=dict)

    def training_rows(self, features: DataFrame, bars: DataFrame, factors: DataFrame) -> DataFrame:
        rows = STEPS.training_rows(features, bars, factors)
        self.outcomes["paid"] = rows.agg(F.avg("obtainable_return").alias("paid"))
        return rows

    def predict(self, models: Any, features: DataFrame) -> DataFrame:
        made = STEPS.predict(models, features).crossJoin(self.outcomes["paid"])
        return made.withColumn("p_profit", F.col("p_profit") + F.col("paid")).drop("paid")


def calibrated_on_itself() -> Steps:
    leak = CalibratedOnItself()
    return replace(STEPS, training_rows=leak.training_rows, predict=leak.predict)


LEAKS: dict[str, tuple[Callable[[], Steps], str, str]] = {
    "a window centred on the minute": (
        lambda: with_column(
            "e1", f"avg(e1) OVER ({OF_TICKER} ORDER BY minute ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING)"
        ),
        REMOVED,
        "features",
    ),
    "a mean of the whole session": (
        lambda: with_column("n_bar", f"n_bar - avg(n_bar) OVER ({OF_TICKER})"),
        REMOVED,
        "features",
    ),
    "the label among the features": (
        lambda: replace(STEPS, features=label_kept_in_features),
        REMOVED,
        "features",
    ),
    "the label among the training set's features": (
        lambda: replace(STEPS, training_rows=label_kept_in_training_rows),
        KEPT,
        "training_set",
    ),
    "an indicator of the whole session": (
        lambda: replace(STEPS, indicators=average_of_the_session),
        REMOVED,
        "indicators",
    ),
    "a version of a bar that came later": (
        lambda: replace(STEPS, bars_known=newest_version),
        REVISED,
        "features",
    ),
    "factors of the same session": (
        lambda: replace(STEPS, read_by_factors=session_and_earlier),
        REMOVED,
        "factors",
    ),
    "a model of the same session": (
        lambda: replace(STEPS, read_by_models=session_and_earlier),
        REMOVED,
        "predictions",
    ),
    "a calibration on the session's own outcomes": (calibrated_on_itself, REMOVED, "predictions"),
    "a change of price to a later close": (
        lambda: replace(STEPS, picks=change_to_a_later_close),
        REMOVED,
        "picks",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found(walk: Walk, past: list[Completed], leak: str) -> None:
    steps, by, table = LEAKS[leak]
    found = proved(walk, past, steps())[-1]
    assert found.leak
    assert found.tried == by
    assert found.found.startswith(table)


def test_a_label_kept_by_the_model_is_found_by_the_shuffled_one(walk: Walk, past: list[Completed]) -> None:
    def predict(models: Any, features: DataFrame) -> DataFrame:
        made = STEPS.predict(models, features)
        if "label" not in features.columns:
            return made
        label = features.select("minute", "ticker", "label")
        return made.join(label, ["minute", "ticker"]).withColumn("score_linear", F.col("score_linear") + F.col("label"))

    found = proved(walk, past, replace(STEPS, predict=predict))[-1]
    assert found.leak and found.tried == f"{SHUFFLED}, linear"


def test_the_flow_has_no_leak(walk: Walk, past: list[Completed]) -> None:
    done = proved(walk, past, STEPS)
    assert [(check.tried, check.leak) for check in done] == [
        (tried, False) for tried in (KEPT, REMOVED, REVISED, PERTURBED, f"{SHUFFLED}, linear", f"{TRUE}, linear")
    ]
    assert all(check.compared > 1000 for check in done)


def test_a_session_without_one_before_it_has_no_model_and_the_next_one_has(walk: Walk, past: list[Completed]) -> None:
    session = walk.market.sessions[-1]
    first, second = past[0].predictions, walk.forecast(session, walk.market.versions(session), past).predictions
    assert set(first["abstain"].to_pylist()) == {f"session {DAYS[0]} has no model"}
    assert first["score"].null_count == first.num_rows
    assert second["score"].null_count < second.num_rows / 2


def test_a_shuffle_keeps_each_minutes_outcomes_together_and_in_their_minute(past: list[Completed]) -> None:
    before = past[-1].training
    after = shuffled(before, np.random.default_rng(1))
    outcomes = ["label", "close_return", "obtainable_return", "neutral_forward"]
    rest = [name for name in TRAINING_SET.columns.names if name not in outcomes]
    assert after.select(rest).equals(before.select(rest))
    first, second = (table.select(["minute", *outcomes]).to_pandas() for table in (before, after))
    order = ["minute", *outcomes]
    assert first.sort_values(order, ignore_index=True).equals(second.sort_values(order, ignore_index=True))
    assert not first.equals(second)
