"""Features of a live minute, of a session and of many, through the production function, beside pandas on the same work.

Many sessions are asked for one after the other, as a walk through them does, and TOGETHER at a time, which shares what
a question costs by itself: an answer of 1.1 million rows at once does not fit into the server's 2 GB.

The bars are those of the simulated exchange, sessions of 390 minutes, and no factors are known of them; what the
statement takes does not depend on the numbers in it. A live minute is the last of a session so far, the dearest. A
minute and a session begin on a Spark server of their own, with the product's settings: `cold` is its first answer,
`warm` the median of those after a warm-up, both from bars as Arrow to rows as Arrow. Many sessions follow the one.

pandas does a part of the features: PART, the columns that need neither slopes nor conditioners, with whole grids of
minutes × tickers at a time. The same columns alone are asked of Spark then, and both must agree. `per_row_over_session`
is the time a row of all sessions over that of one: 1 is linear.

    .venv/bin/python bench/features.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from common import report
from pyspark.sql import DataFrame, SparkSession
from trivial_flow import LAST_SESSION

from stockpick_assets.core.factors import aligned
from stockpick_assets.core.feature_set import MINIMUM_RETURNS, SIGMA_FLOOR
from stockpick_assets.core.market_hours import MINUTE, sessions_until
from stockpick_assets.core.schemas import FACTORS
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.spark import Spark
from stockpick_assets.settings import Settings
from stockpick_assets.spark.features import features
from stockpick_assets.spark.frames import frame
from stockpick_assets.spark.indicators import with_indicators

SEED = 7
TOGETHER = 5  # sessions
KEY = ["session", "minute", "ticker"]
PART = ["sig", "return_1", "n_cmid", "n_bar", "n_oc", "n_upw", "n_dnw", "n_og", "e1", "es5"]


@dataclass(frozen=True)
class Work:
    """Features of `bars` from the minute `first` on, `together` sessions a question.

    warm_up: answers after the first that are not counted.
    """

    name: str
    bars: pa.Table
    first: datetime
    warm_up: int
    together: int = 1

    def questions(self) -> Iterator[tuple[list[date], pa.Table]]:
        """The sessions of each question, and their bars."""
        days = self.bars["session"].unique().to_pylist()
        for some in (days[first : first + self.together] for first in range(0, len(days), self.together)):
            yield some, self.bars.filter(pc.is_in(self.bars["session"], pa.array(some, pa.date32())))

    def of_spark(self, spark: SparkSession, ask: Callable[[DataFrame, DataFrame], DataFrame]) -> pa.Table:
        """What is asked of the features and the bars of each question; the features by the production function."""

        def answer(days: list[date], bars: pa.Table) -> pa.Table:
            factors = frame(spark, aligned(FACTORS.empty(), days, bars["ticker"].unique().to_pylist()))
            known = frame(spark, bars)
            return ask(features(known, factors, self.first), known).toArrow()

        return pa.concat_tables([answer(*question) for question in self.questions()])

    def whole(self, spark: SparkSession) -> pa.Table:
        """All features, as rows."""
        return self.of_spark(spark, lambda made, bars: made)

    def with_indicators(self, spark: SparkSession) -> pa.Table:
        """The same with the indicators beside them, as the asset has them."""
        return self.of_spark(spark, lambda made, bars: with_indicators(made, bars, self.first))

    def part(self, spark: SparkSession) -> pa.Table:
        """The features that pandas has too."""
        return self.of_spark(spark, lambda made, bars: made.select(*KEY, *PART))

    def of_pandas(self) -> pd.DataFrame:
        """The part, by pandas."""
        sessions = [in_pandas(rows, self.first) for _, rows in self.bars.to_pandas().groupby("session")]
        return pd.concat(sessions, ignore_index=True)


def in_pandas(rows: pd.DataFrame, first: datetime) -> pd.DataFrame:
    """PART of a session's minutes from `first` on."""
    prices = ["open", "high", "low", "close"]
    grids = rows.pivot(index="minute", columns="ticker", values=prices).astype(float)
    opens, highs, lows, closes = (grids[name] for name in prices)
    carried = closes.ffill()
    moved = np.log(carried).diff()
    spread = moved.rolling(60, min_periods=MINIMUM_RETURNS).std(ddof=0).clip(lower=SIGMA_FLOOR)
    sig, own = spread.where(closes.notna()), moved.where(closes.notna())
    place = ((closes - lows) / (highs - lows)).where(highs > lows, 0.5) - 0.5
    shapes = {
        "n_cmid": np.log(closes / ((highs + lows) / 2)) / sig,
        "n_bar": place.where(closes.notna()),
        "n_oc": np.log(closes / opens) / sig,
        "n_upw": (highs - np.maximum(opens, closes)) / closes / sig,
        "n_dnw": (np.minimum(opens, closes) - lows) / closes / sig,
        "n_og": np.log(opens / carried.shift()) / sig,
        "e1": demeaned(own) / sig,
    }
    neutral = {name: demeaned(values.clip(-8, 8)) for name, values in shapes.items()}
    newest = neutral["e1"].rolling(5, min_periods=1).sum().where(neutral["e1"].notna())
    standard = {name: standardised(values) for name, values in {**neutral, "es5": newest}.items()}
    made = {name: values.loc[first:] for name, values in {"sig": sig, "return_1": own, **standard}.items()}
    minutes, tickers = made["sig"].index, made["sig"].columns
    return pd.DataFrame(
        {
            "session": rows["session"].iloc[0],
            "minute": minutes.repeat(len(tickers)),
            "ticker": np.tile(tickers.to_numpy(), len(minutes)),
            **{name: values.to_numpy().ravel() for name, values in made.items()},
        }
    )


def demeaned(grid: pd.DataFrame) -> pd.DataFrame:
    """Each minute minus its mean over the tickers."""
    return grid.sub(grid.mean(axis=1), axis=0)


def standardised(grid: pd.DataFrame) -> pd.DataFrame:
    """Each minute in its standard deviations across the tickers, within 3; 0 where all are equal."""
    deviation = grid.std(axis=1, ddof=0)
    scale = (1 / deviation).where(deviation > 1e-9, 0.0)
    return demeaned(grid).mul(scale, axis=0).clip(-3, 3)


def differ(of_spark: pa.Table, of_pandas: pd.DataFrame) -> float:
    """The largest difference between the two; infinite where one has a value and the other has none."""
    one = of_spark.to_pandas().set_index(KEY).sort_index()[PART]
    other = of_pandas.set_index(KEY).sort_index()[PART]
    if not one.index.equals(other.index) or not one.isna().equals(other.isna()):
        return float("inf")
    return float((one - other).abs().max(axis=None))


def simulated(tickers: int, sessions: int) -> pa.Table:
    """RAW_PRICES of the exchange's sessions, as they are known days later."""
    names = NASDAQ_100[:tickers]
    exchange = SimulatedExchange(SEED, names)
    days = sessions_until(LAST_SESSION, sessions)
    later = days[-1].close + 14 * 24 * 60 * MINUTE
    return pa.concat_tables(
        exchange.bars(day, day.open, day.close - MINUTE, sorted(names), later, later) for day in days
    )


@contextmanager
def server() -> Iterator[SparkSession]:
    """A session of a Spark server that has answered nothing yet."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load(home=Path(home), spark_remote=f"sc://127.0.0.1:{free_ports(1)[0]}")
        service = Spark()
        process = service.process(settings)
        process.launch(service.arguments(settings), service.environment(settings), service.folder(settings))
        try:
            while not service.healthy(settings):
                if process.leader() is None:
                    raise SystemExit("Spark ended before it answered:\n" + "\n".join(process.last_lines()))
            spark = SparkSession.builder.remote(settings.spark_remote).create()
            yield spark
            spark.stop()
        finally:
            process.end()


def seconds(work: Callable[[], object], repetitions: int = 1) -> float:
    """Median wall time of `work`."""
    took = []
    for _ in range(repetitions):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def measured(spark: SparkSession, work: Work, repetitions: int) -> dict[str, Any]:
    """The figures of a work on a server that has answered nothing yet. Ends the bench where Spark and pandas differ."""
    cold = seconds(lambda: work.whole(spark))
    for _ in range(work.warm_up):
        work.with_indicators(spark)
    with_indicators_s = seconds(lambda: work.with_indicators(spark), repetitions)
    warm = measured_warm(spark, work, repetitions)
    return {
        f"{work.name}_spark_cold_s": cold,
        f"{work.name}_with_indicators_spark_warm_s": with_indicators_s,
        **warm,
    }


def measured_warm(spark: SparkSession, work: Work, repetitions: int) -> dict[str, Any]:
    """Those of a work on a server that knows the like. Ends the bench where Spark and pandas differ."""
    apart = differ(work.part(spark), work.of_pandas())
    if not apart < 1e-6:
        raise SystemExit(f"{work.name}: Spark and pandas differ by {apart}: this measures two different things")
    figures = {
        "spark_warm_s": seconds(lambda: work.whole(spark), repetitions),
        "part_spark_warm_s": seconds(lambda: work.part(spark), repetitions),
        "part_pandas_s": seconds(work.of_pandas, repetitions),
    }
    figures["part_spark_over_pandas"] = figures["part_spark_warm_s"] / figures["part_pandas_s"]
    return {f"{work.name}_{name}": value for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of the three works as one last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=29)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3)
    chosen = parser.parse_args(arguments)
    bars = simulated(chosen.tickers, chosen.sessions)
    last = sessions_until(LAST_SESSION, 1)[0]
    session = bars.slice(bars.num_rows - chosen.tickers * last.length)
    minute = Work("minute", session, last.close - MINUTE, warm_up=9)
    one = Work("session", session, last.open, warm_up=3)
    many = Work("sessions", bars, bars["minute"][0].as_py(), warm_up=0)
    together = replace(many, name="sessions_together", together=TOGETHER)
    figures: dict[str, Any] = {
        "tickers": chosen.tickers,
        "session_rows": session.num_rows,
        "sessions_rows": bars.num_rows,
    }
    with server() as spark:
        figures |= measured(spark, minute, chosen.repetitions)
    with server() as spark:
        figures |= measured(spark, one, chosen.repetitions)
        figures |= measured_warm(spark, many, 1)
        figures["sessions_together_spark_warm_s"] = seconds(lambda: together.whole(spark))
    per_row = figures["sessions_spark_warm_s"] / bars.num_rows, figures["session_spark_warm_s"] / session.num_rows
    report({**figures, "per_row_over_session": per_row[0] / per_row[1]}, digits=3)


if __name__ == "__main__":
    main()
