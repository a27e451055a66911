"""bench/features.py, on little: both sides of its comparison do the same work, and where they do not it says so."""

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets_tests.spark.market import joined, market
from stockpick_assets_tests.spark.test_features import FIRST, OPEN, SECOND

FIGURES = (
    "spark_cold_s with_indicators_spark_warm_s spark_warm_s part_spark_warm_s part_pandas_s part_spark_over_pandas"
).split()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, as if it had been started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return import_module("features")


def test_spark_and_pandas_do_the_same_part_of_the_features(bench: Any, spark: SparkSession) -> None:
    bars = joined([market(day, tickers=5, minutes=90, gaps=0.2) for day in (FIRST, SECOND)])
    work = bench.Work("sessions", bars, session_on(FIRST).open + 40 * MINUTE, warm_up=0)
    assert bench.differ(work.part(spark), work.of_pandas()) < 1e-6


def test_each_figure_is_given_of_work_that_is_the_same_and_no_other_is_measured(bench: Any) -> None:
    class Answering(bench.Work):
        """Answers at once; what it says Spark made is pandas' own, but for `besides`."""

        besides: ClassVar[dict[str, float | None]] = {}

        def whole(self, spark: Any) -> None: ...

        def with_indicators(self, spark: Any) -> None: ...

        def part(self, spark: Any) -> pa.Table:
            answer: pd.DataFrame = self.of_pandas()
            return pa.Table.from_pandas(answer.assign(**self.besides), preserve_index=False)

    work = Answering("minute", market(FIRST, tickers=3, minutes=40), OPEN + 39 * MINUTE, warm_up=0)
    assert list(bench.measured(None, work, 1)) == [f"minute_{name}" for name in FIGURES]
    for other, apart in ((None, "inf"), (4.0, "")):
        Answering.besides = {"e1": other}
        with pytest.raises(SystemExit, match=f"Spark and pandas differ by {apart}"):
            bench.measured(None, work, 1)
