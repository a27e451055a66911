"""How long models take to fit, load and forecast a minute, on a Spark server of the settings, against numpy.

The training sets are drawn at random: sessions of 390 minutes of 100 tickers. `fit_linear_…` is a linear model and what
its score is worth from the forecasts that are there; `fit_default_…` is that of the default kinds; the first of
all is cold. The baseline is the same ridge in numpy from the same table. A live minute is the load of the linear model
from a folder and its forecast with the average of 100 tickers, the median of some. `_server_processor_s` is what the
Spark server's process took, which other work on the machine does not change much. Spark is started for the bench where
it does not run, and stopped again. Linux only. The last line printed is one JSON object.

    .venv/bin/python bench/training.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from common import report
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from stockpick_assets import services
from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.market_hours import session_before, session_on
from stockpick_assets.core.schemas import DEFAULT_KINDS, PREDICTIONS, TRAINING_SET
from stockpick_assets.services.spark import Spark
from stockpick_assets.settings import Settings
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import READ, Model, SessionModels, load, predict, save
from stockpick_assets.spark.training import RIDGE, TARGET, fit

LAST_SESSION = date(2026, 11, 20)
MINUTES, TICKERS = 390, 100
ROWS = (39_000, 390_000, 800_000)  # of a session, of the ten that a fit reads, and of more than twice as many
REPETITIONS = 5
SEED, COST_BP = 7, 2.0


def training_set(count: int) -> pa.Table:
    """TRAINING_SET of `count` rows at the end of LAST_SESSION and of the sessions before it."""
    random = np.random.default_rng(SEED)
    sessions = [session_on(LAST_SESSION)]
    while len(sessions) * MINUTES * TICKERS < count:
        sessions.append(session_before(sessions[-1]))
    minutes = np.concatenate([session.minutes().to_numpy()[:MINUTES] for session in reversed(sessions)])
    days = [session.date for session in reversed(sessions) for _ in range(MINUTES)]
    given: dict[str, Any] = {name: np.clip(random.normal(size=count), -3, 3) for name in NAMES}
    given |= {
        "session": np.repeat(np.array(days, "datetime64[D]"), TICKERS)[-count:],
        "minute": np.repeat(minutes, TICKERS)[-count:],
        "ticker": np.tile([f"T{number:02d}" for number in range(TICKERS)], len(minutes))[-count:],
        "source": np.full(count, "simulated"),
        "sig": np.exp(random.normal(-7.5, 0.5, count)),
        "reversal": random.normal(size=count),
        TARGET: random.uniform(-0.5, 0.5, count),
        "close_return": random.normal(0, 1e-3, count),
        "obtainable_return": random.normal(0, 1e-3, count),
    }
    return table(given, TRAINING_SET.columns, count)


def forecasts(training: pa.Table) -> pa.Table:
    """PREDICTIONS of these rows, drawn at random, with a score of each default kind."""
    random = np.random.default_rng(SEED)
    given: dict[str, Any] = {name: training[name] for name in ("session", "minute", "ticker", "source")}
    given |= {f"score_{kind}": random.normal(size=training.num_rows) for kind in DEFAULT_KINDS}
    return table(given, PREDICTIONS.columns, training.num_rows)


def table(given: dict[str, Any], columns: pa.Schema, count: int) -> pa.Table:
    """The columns that are given, and nulls."""
    arrays = [
        pa.nulls(count, field.type)
        if field.name not in given
        else given[field.name]
        if isinstance(given[field.name], pa.ChunkedArray)
        else pa.array(given[field.name], field.type)
        for field in columns
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def ridge(training: pa.Table) -> NDArray[np.float64]:
    """Coefficients and intercept of the same ridge: MLlib's penalty is divided by the spread of the label."""
    values = training.select(NAMES).to_pandas().fillna(0.0).to_numpy()
    label = training[TARGET].to_numpy()
    mean, level = values.mean(axis=0), label.mean()
    centred = values - mean
    gram = centred.T @ centred + RIDGE / label.std() * np.eye(len(NAMES))
    coefficients = np.linalg.solve(gram, centred.T @ (label - level))
    return np.append(coefficients, level - mean @ coefficients)


def forecast(training: pa.Table, coefficients: NDArray[np.float64]) -> pd.Series:
    """The average of linear and reversal of one minute, by pandas."""
    known = training.select(["reversal", *NAMES]).to_pandas().fillna(0.0)
    linear = known[NAMES].to_numpy() @ coefficients[:-1] + coefficients[-1]
    scores = pd.DataFrame({"linear": linear, "reversal": known["reversal"]})
    return ((scores - scores.mean()) / scores.std(ddof=0)).mean(axis=1)


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """The settings with their Spark; it is stopped at the end where it did not run before."""
    spark = Spark()
    if spark in services.running(settings):
        yield settings
        return
    own = Settings.load(home=settings.home)
    try:
        yield services.start(own, [spark], lambda line: print(line, flush=True))
    finally:
        services.stop(own, [spark])


def processor(settings: Settings) -> float:
    """Seconds that the server's processes have computed."""
    members = Spark().process(settings).members()
    return sum(sum(member.cpu_times()[:2]) for member in members if member.status() != psutil.STATUS_ZOMBIE)


def measured(name: str, work: Callable[[], Any], settings: Settings) -> dict[str, float]:
    """Seconds of the work, and those that the server computed."""
    began, computed = time.perf_counter(), processor(settings)
    work()
    seconds = time.perf_counter() - began
    figures = {f"{name}_s": seconds, f"{name}_server_processor_s": processor(settings) - computed}
    print(figures, flush=True)
    return figures


def fits(spark: SparkSession, settings: Settings, counts: Sequence[int]) -> dict[str, float]:
    """Figures of fits of each number of rows, and of numpy's."""
    figures: dict[str, float] = {}
    for count in counts:
        training = training_set(count)
        made = forecasts(training)

        def of(kinds: Sequence[str], training: pa.Table = training, made: pa.Table = made) -> Callable[[], Any]:
            return lambda: fit(spark, training, made, kinds, COST_BP, SEED)

        if not figures:
            figures |= measured(f"fit_linear_{count}_cold", of(["linear"]), settings)
        figures |= measured(f"fit_linear_{count}", of(["linear"]), settings)
        figures |= measured(f"fit_default_{count}", of(DEFAULT_KINDS), settings)
        figures |= measured(f"numpy_{count}", lambda training=training: ridge(training), settings)
        figures[f"fit_linear_over_numpy_{count}"] = figures[f"fit_linear_{count}_s"] / figures[f"numpy_{count}_s"]
    return figures


def live_minute(spark: SparkSession, settings: Settings, folder: Path, repetitions: int) -> dict[str, float]:
    """Figures of a model's save, and of its load and the forecasts of one minute; medians."""
    training = training_set(TICKERS * 40)
    (model,) = fit(spark, training, forecasts(training), ["linear"], COST_BP, SEED)
    assert model.pipeline is not None
    pipeline, uri = model.pipeline, (folder / "model").as_uri()
    began = time.perf_counter()
    stage = save(pipeline, uri)
    figures = {"save_s": time.perf_counter() - began}
    features = training.slice(training.num_rows - TICKERS).select(READ)
    calibration = [0.0, 1.0, -0.1, 0.0, 0.0]

    def one() -> tuple[float, float]:
        at = time.perf_counter()
        fitted = load(f"{uri}/{stage}", "linear", "bench", NAMES, DIGEST)
        loaded = time.perf_counter()
        linear, average = (Model(kind, "bench", fitted, COST_BP, calibration, 1.0, 1.0) for kind in DEFAULT_KINDS[::2])
        rows(predict(SessionModels(average, (linear, average)), frame(spark, features)), PREDICTIONS)
        return loaded - at, time.perf_counter() - loaded

    figures |= dict(zip(("load_cold_s", "predict_cold_s"), one(), strict=True))
    computed = processor(settings)
    took = [one() for _ in range(repetitions)]
    figures["live_minute_server_processor_s"] = (processor(settings) - computed) / repetitions
    figures |= {"load_s": statistics.median(load_s for load_s, _ in took)}
    figures |= {"predict_s": statistics.median(predict_s for _, predict_s in took)}
    coefficients = ridge(training)
    began = time.perf_counter()
    forecast(features, coefficients)
    return figures | {"pandas_predict_s": time.perf_counter() - began}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="rows of the training sets")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of the live minute")
    options = parser.parse_args()
    with running(Settings.load()) as settings, tempfile.TemporaryDirectory() as folder:
        spark = SparkSession.builder.remote(settings.spark_remote).getOrCreate()
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        try:
            figures = fits(spark, settings, options.rows)
            figures |= live_minute(spark, settings, Path(folder), options.repetitions)
        finally:
            spark.stop()
    report({"features": len(NAMES), **figures}, digits=3)


if __name__ == "__main__":
    main()
