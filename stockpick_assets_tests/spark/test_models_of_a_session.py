"""The assets return_model and predictions on tables in a folder: what they read, what they keep, what they refuse."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster_pyspark import PySparkResource
from pyspark.sql import SparkSession

from stockpick_assets.assets.flow import Flow
from stockpick_assets.assets.predictions import predictions
from stockpick_assets.assets.return_model import return_model
from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.market_hours import MINUTE, session_before, sessions_until
from stockpick_assets.core.schemas import PREDICTIONS, RETURN_MODEL
from stockpick_assets.io_managers import ModelIOManager, TableIOManager
from stockpick_assets.jobs import LIVE
from stockpick_assets.partitions import SelectionError, Window
from stockpick_assets.spark.scoring import ModelMismatch
from stockpick_assets.spark.training import FIT_SESSIONS, NO_TRAINING_SET
from stockpick_assets.store import Store
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at, tables
from stockpick_assets_tests.spark.learnt import features_of, training_set
from stockpick_assets_tests.spark.learnt import predictions as forecast

TICKERS = tuple(f"T{number:02d}" for number in range(6))
BEFORE = session_before(SESSION)
EARLIER = session_before(BEFORE)
OF_SESSION = replace(FLOW, window=Window((EARLIER, BEFORE, SESSION), TICKERS))


class Given(PySparkResource):
    """The session of the tests, which no run closes."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        self._spark_session = SparkSession.getActiveSession()


def materialize(folder: Path, asset: dg.AssetsDefinition, flow: Flow, **keys: object) -> dg.ExecuteInProcessResult:
    held, spark, now = tables(folder), Given(spark_config={}), at(SESSION.open)
    resources = {
        "tables": held,
        "pyspark": spark,
        "now": now,
        "io_manager": TableIOManager(tables=held, now=now, live_job=LIVE),
        "model_io_manager": ModelIOManager(tables=held, pyspark=spark, cost_bp=flow.cost_bp),
    }
    upstream = [
        dg.AssetSpec(flow.key("training_set"), partitions_def=flow.window.session_partitions),
        dg.AssetSpec(flow.key("features"), partitions_def=flow.window.ticker_minutes),
    ]
    every = [*upstream, return_model(flow), predictions(flow)]
    return dg.materialize(every, selection=[asset.key], resources=resources, **keys)  # pyright: ignore[reportArgumentType]


def fit(folder: Path, flow: Flow = OF_SESSION) -> list[dict]:
    """The rows of a run of return_model."""
    assert materialize(folder, return_model(flow), flow, partition_key=SESSION.label()).success
    return Store(str(folder), "simulated", {}).read(RETURN_MODEL.name).to_pylist()


def predict(folder: Path, tickers: Sequence[str] = TICKERS, flow: Flow = OF_SESSION) -> pa.Table:
    """The rows of a run of predictions of two minutes."""
    selection = flow.window.select(SESSION.open, SESSION.open + MINUTE, tickers)
    materialize(folder, predictions(flow), flow, tags=selection.tags())
    return Store(str(folder), "simulated", {}).read(PREDICTIONS.name, from_session=SESSION.date)


@pytest.fixture(scope="module")
def learnt(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """A folder with a session's models, and their rows: there are forecasts of the reversal alone, of one session."""
    folder = tmp_path_factory.mktemp("learnt")
    store = Store(str(folder), "simulated", {})
    too_early = sessions_until(BEFORE.date, FIT_SESSIONS + 1)[0].date
    training = training_set([too_early, EARLIER.date, BEFORE.date], tickers=len(TICKERS), minutes=30)
    store.append("training_set", training, {})
    store.append("training_set", training_set([SESSION.date], tickers=len(TICKERS), minutes=30), {})
    made = forecast(training, ["reversal"])
    store.append("predictions", made.filter(pa.array([day == BEFORE.date for day in made["session"].to_pylist()])), {})
    store.append("features", features_of(training_set([SESSION.date], tickers=len(TICKERS), minutes=2)), {})
    return folder, fit(folder)


def test_a_row_a_kind_says_what_the_model_was_made_of(learnt: tuple[Path, list[dict]]) -> None:
    _, rows = learnt
    assert [row["kind"] for row in sorted(rows, key=lambda row: row["kind"])] == ["average", "linear", "reversal"]
    for row in rows:
        assert row["version"].startswith(f"{SESSION.date}-{row['kind']}-")
        assert (row["features"], row["seed"], row["cost_bp"]) == (NAMES, OF_SESSION.seed, OF_SESSION.cost_bp)
        assert row["features_digest"] == DIGEST
        assert row["training_sessions"] == [EARLIER.date, BEFORE.date] and row["rows"] == 360
        assert json.loads(row["tables"]) == {"training_set": 2, "predictions": 1}
        assert row["ic_sessions"] == [BEFORE.date]
        assert len(row["calibration"]) == 5 and row["abstain"].startswith("too little history")
        assert None not in (row["brier"], row["brier_base_rate"], row["brier_volatility"], row["spark_version"])


def test_the_average_is_kept_as_the_linear_model_that_it_is_made_with(learnt: tuple[Path, list[dict]]) -> None:
    folder, rows = learnt
    path = {row["kind"]: row["path"] for row in rows}
    assert path["reversal"] is None and path["average"] == path["linear"]
    assert (folder / "simulated" / path["linear"] / "metadata").is_dir()


def test_a_run_of_one_ticker_forecasts_what_a_run_of_all_does(learnt: tuple[Path, list[dict]]) -> None:
    folder, rows = learnt
    every = predict(folder)
    assert every.num_rows == 2 * len(TICKERS) and every["score"].null_count == 0
    (champion,) = set(every["model_version"].to_pylist())
    assert champion in {row["version"] for row in rows if row["kind"] == "average"}
    assert every["score_linear"].null_count == every["score_reversal"].null_count == 0
    one = predict(folder, ["T03"])
    assert one.replace_schema_metadata(None).equals(every.replace_schema_metadata(None))


def test_forecasts_for_another_cost_than_the_one_they_are_graded_at_abstain(
    spark: SparkSession, learnt: tuple[Path, list[dict]], tmp_path: Path
) -> None:
    folder, rows = learnt
    (fitted,) = (row for row in rows if row["kind"] == "average")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    store = Store(str(tmp_path), "simulated", {})
    known = pa.Table.from_pylist([{**row, "abstain": None} for row in rows], schema=RETURN_MODEL.columns)
    store.replace(RETURN_MODEL.name, known, f"session = '{SESSION.date}'", {})
    assert set(predict(tmp_path)["abstain"].to_pylist()) == {None}
    dearer = predict(tmp_path, flow=replace(OF_SESSION, cost_bp=5.0))
    assert fitted["cost_bp"] == 2.0
    assert set(dearer["abstain"].to_pylist()) == {"p_profit is for a cost of 2 bp, not 5 bp"}
    assert dearer["p_profit"].null_count == 0


def test_the_same_seed_and_tables_give_the_same_forecasts(learnt: tuple[Path, list[dict]], tmp_path: Path) -> None:
    folder, _ = learnt
    first = predict(folder)
    fit(folder)
    second = predict(folder)
    assert second["model_version"][0] != first["model_version"][0]
    assert second.drop_columns("model_version").equals(first.drop_columns("model_version"))


def test_forecasts_of_some_tickers_are_refused_while_others_have_no_features(
    spark: SparkSession, tmp_path: Path
) -> None:
    store = Store(str(tmp_path), "simulated", {})
    store.append("features", features_of(training_set([SESSION.date], tickers=5, minutes=2)), {})
    with pytest.raises(SelectionError, match="10 rows for 2 minutes of 6 tickers; materialize features"):
        predict(tmp_path, ["T03"])


@pytest.mark.parametrize(
    ("features", "digest", "said"),
    [
        (["one"], DIGEST, r"model old at .* was fitted to the features one"),
        (NAMES, "0123456789ab", r"model old at .* of other definitions \(0123456789ab\) .*; materialize features and"),
    ],
)
def test_models_of_other_features_are_refused(
    spark: SparkSession, tmp_path: Path, features: list[str], digest: str, said: str
) -> None:
    store = Store(str(tmp_path), "simulated", {})
    store.append("features", features_of(training_set([SESSION.date], tickers=len(TICKERS), minutes=2)), {})
    row = {"session": SESSION.date, "source": "simulated", "version": "old", "kind": "linear", "path": "models/old"}
    made_of = {"features": features, "features_digest": digest}
    rows = pa.Table.from_pylist([{**row, **made_of, "cost_bp": 2.0}], schema=RETURN_MODEL.columns)
    store.append("return_model", rows, {})
    with pytest.raises(ModelMismatch, match=said):
        predict(tmp_path)


def test_before_the_first_training_set_only_what_fits_nothing_has_a_score(spark: SparkSession, tmp_path: Path) -> None:
    store = Store(str(tmp_path), "simulated", {})
    store.append("features", features_of(training_set([SESSION.date], tickers=len(TICKERS), minutes=2)), {})
    assert {row["abstain"] for row in fit(tmp_path)} == {NO_TRAINING_SET}
    made = predict(tmp_path)
    assert set(made["abstain"].to_pylist()) == {NO_TRAINING_SET}
    assert made["score"].null_count == made["score_linear"].null_count == made.num_rows
    assert made["score_reversal"].null_count == 0
