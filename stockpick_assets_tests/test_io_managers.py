"""Round trips through the IO manager, on a real ephemeral instance and a local folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster_aws.s3 import S3Resource
from dagster_pyspark import PySparkResource

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, minute_label, session_before
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS, RAW_PRICES
from stockpick_assets.io_managers import EXTENT, LOOKS, Extent, ModelIOManager, NewModels, TableIOManager
from stockpick_assets.jobs import BACKFILL, LIVE
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import CommitRefused, Store
from stockpick_assets_tests.rows import SESSION, bars

TICKERS = ("AAPL", "AMD", "MSFT")
NOW = Now(MarketClock(), lambda: SESSION.open + 5 * MINUTE)
WINDOW = Window((session_before(SESSION), SESSION), TICKERS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def key(minute: int, ticker: str) -> str:
    return f"{minute_label(SESSION.open + minute * MINUTE)}|{ticker}"


def materialize(
    store: Store,
    assets: list[dg.AssetsDefinition],
    start: str,
    end: str,
    io_manager: type[TableIOManager] = TableIOManager,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        resources={"io_manager": io_manager(tables=tables(store), now=NOW, live_job=LIVE)},
        tags=range_tags(start, end),
        **options,
    )


def tables(store: Store) -> Tables:
    return Tables(s3=S3Resource(), bucket="", source=store.source, root=store.root)


def range_tags(start: str, end: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}


def writer(rows: Callable[[], pa.Table], name: str = "raw_prices") -> dg.AssetsDefinition:
    @dg.asset(
        key=["simulated", name],
        partitions_def=WINDOW.ticker_minutes,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def asset() -> pa.Table:
        return rows()

    return asset


def reader(seen: list[pa.Table], extent: Extent, name: str = "raw_prices", **metadata: Any) -> dg.AssetsDefinition:
    @dg.asset(
        key=["simulated", "reader"],
        partitions_def=WINDOW.ticker_minutes,
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={"rows": dg.AssetIn(key=["simulated", name], metadata={EXTENT: extent.value, **metadata})},
    )
    def asset(rows: pa.Table) -> dg.MaterializeResult[None]:
        seen.append(rows)
        return dg.MaterializeResult()

    return asset


def feature_rows(value: float, tickers: tuple[str, ...], minutes: int) -> pa.Table:
    plain = bars(minutes, tickers=tickers)
    taken = {**{name: name for name in RAW_PRICES.columns.names[:4]}, BARS_FETCHED_AT: "fetched_at"}
    columns = [
        plain[taken[name]] if name in taken else pa.array([value] * plain.num_rows)
        for name in FEATURE_ROWS.columns.names
    ]
    return pa.table(columns, schema=FEATURE_ROWS.columns)


def fetched_rows(name: str, hour: int) -> pa.Table:
    """Two minutes as they are computed at that hour: the same values, and of bars another time of fetching."""
    if name == "features":
        return feature_rows(1.0, TICKERS, 2)
    return bars(2, tickers=TICKERS, fetched_at=datetime(2026, 11, 21, hour, tzinfo=UTC))


class Dying(TableIOManager):
    """Ends its process after the commit and before Dagster is told of it."""

    def handle_output(self, context: dg.OutputContext, obj: pa.Table) -> None:
        super().handle_output(context, obj)
        os.kill(os.getpid(), signal.SIGKILL)


def run_to_death(folder: str, name: str) -> None:
    """What the process of `test_a_run_that_died_after_its_commit...` does."""
    store = Store(f"{folder}/tables", "simulated", {})
    with dg.DagsterInstance.local_temp(f"{folder}/dagster") as instance:
        asset = writer(lambda: fetched_rows(name, 0), name)
        materialize(store, [asset], key(0, "AAPL"), key(1, "MSFT"), Dying, instance=instance)


@dataclass(frozen=True)
class Refusing(Store):
    """Refuses each append of bars; before the first ones another commit comes."""

    others: int
    asked: list[int | None] = field(default_factory=list)

    def append(self, name: str, rows: pa.Table, metadata: Mapping[str, str], after: int | None = None) -> int:
        self.asked.append(after)
        if len(self.asked) <= self.others:
            super().append(name, bars(1, start=10), {})
        raise CommitRefused(f"version {after} was read")


class NoSpark(PySparkResource):
    """What is given where no model is fitted or loaded."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        pass


class DyingWithModel(ModelIOManager):
    """Ends its process after the commit and before Dagster is told of it."""

    def handle_output(self, context: dg.OutputContext, obj: NewModels) -> None:
        super().handle_output(context, obj)
        os.kill(os.getpid(), signal.SIGKILL)


def make_model(
    store: Store, instance: dg.DagsterInstance, version: str, io_manager: type[ModelIOManager] = ModelIOManager
) -> dg.ExecuteInProcessResult:
    """A run that abstains from a model for the session."""

    @dg.asset(key=["simulated", "return_model"], partitions_def=WINDOW.session_partitions)
    def asset() -> NewModels:
        row = {"session": SESSION.date, "source": "simulated", "version": version, "kind": "linear"}
        return NewModels([row], {})

    return dg.materialize(
        [asset],
        instance=instance,
        resources={"io_manager": io_manager(tables=tables(store), pyspark=NoSpark(spark_config={}), cost_bp=2.0)},
        partition_key=SESSION.label(),
    )


def make_model_to_death(folder: str) -> None:
    """What the process of `test_a_model_whose_run_died_after_its_commit...` does."""
    with dg.DagsterInstance.local_temp(f"{folder}/dagster") as instance:
        make_model(Store(f"{folder}/tables", "simulated", {}), instance, "first", DyingWithModel)


def read(store: Store, extent: Extent, start: str, end: str) -> set[tuple[datetime, str]]:
    seen: list[pa.Table] = []
    only_read(store, reader(seen, extent), start, end)
    return set(zip(seen[0]["minute"].to_pylist(), seen[0]["ticker"].to_pylist(), strict=True))


def only_read(store: Store, asset: dg.AssetsDefinition, start: str, end: str) -> dg.ExecuteInProcessResult:
    upstream = writer(lambda: bars(0))
    return materialize(store, [upstream, asset], start, end, selection=[asset.key], raise_on_error=False)


def test_what_an_asset_returned_is_what_the_next_one_reads(store: Store) -> None:
    rows, seen = bars(3, tickers=TICKERS), []
    result = materialize(store, [writer(lambda: rows), reader(seen, Extent.PARTITIONS)], key(0, "AAPL"), key(2, "MSFT"))
    assert result.success
    assert seen[0].replace_schema_metadata(None).equals(rows)


def test_every_extent_reads_as_far_as_its_name_says(store: Store) -> None:
    store.append("raw_prices", bars(6, tickers=TICKERS), {})
    minute = [SESSION.open + index * MINUTE for index in range(6)]
    start, end = key(2, "AMD"), key(3, "AMD")
    every = {(at, ticker) for at in minute for ticker in TICKERS}
    assert read(store, Extent.PARTITIONS, start, end) == {(at, "AMD") for at in minute[2:4]}
    assert read(store, Extent.MINUTES, start, end) == {(at, ticker) for at in minute[2:4] for ticker in TICKERS}
    assert read(store, Extent.SESSION_SO_FAR, start, end) == {(at, t) for at in minute[:4] for t in TICKERS}
    assert read(store, Extent.TWO_SESSIONS, start, end) == {(at, t) for at in minute[:4] for t in TICKERS}
    assert read(store, Extent.SESSION, start, end) == every


@pytest.mark.parametrize(("job", "seconds"), [(LIVE, [120.0] * 9), (BACKFILL, [])])
def test_commits_of_a_live_run_alone_say_how_long_after_the_close_they_came(
    store: Store, job: str, seconds: list[float]
) -> None:
    asset = writer(lambda: bars(3, tickers=TICKERS))
    io_manager = TableIOManager(tables=tables(store), now=NOW, live_job=LIVE)
    definitions = dg.Definitions(
        assets=[asset], jobs=[dg.define_asset_job(job, [asset])], resources={"io_manager": io_manager}
    )
    run = definitions.resolve_job_def(job).execute_in_process(tags=range_tags(key(0, "AAPL"), key(2, "MSFT")))
    said = [event.materialization.metadata for event in run.get_asset_materialization_events()]
    assert [metadata["seconds after close"].value for metadata in said if "seconds after close" in metadata] == seconds


def test_the_log_of_a_run_says_how_many_rows_an_asset_has_and_how_fast(store: Store) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assets = [writer(lambda: bars(3, tickers=TICKERS))]
        run = materialize(store, assets, key(0, "AAPL"), key(2, "MSFT"), instance=instance)
        said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert any(re.fullmatch(r"raw_prices: 9 rows answered, [\d,]+ a second", line) for line in said)


def test_the_same_bars_again_are_no_new_version(store: Store) -> None:
    for hours in (0, 1):
        rows = bars(2, tickers=TICKERS, fetched_at=datetime(2026, 11, 21, hours, tzinfo=UTC))
        materialize(store, [writer(lambda rows=rows: rows)], key(0, "AAPL"), key(1, "MSFT"))
    assert store.read("raw_prices", every_version=True).num_rows == 6


def test_bars_of_minutes_that_the_table_has_no_row_of_are_new(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    rows = bars(1, start=1, tickers=TICKERS)
    materialize(store, [writer(lambda: rows)], key(1, "AAPL"), key(1, "MSFT"))
    assert store.read("raw_prices", every_version=True).num_rows == 4


@pytest.mark.parametrize(("others", "looks"), [(0, 1), (2, 3), (LOOKS, LOOKS)])
def test_an_append_that_was_refused_is_repeated_only_after_another_commit(
    store: Store, others: int, looks: int
) -> None:
    refusing = Refusing(store.root, store.source, store.options, others)

    class Given(Tables):
        def store(self) -> Store:
            return refusing

    store.append("raw_prices", bars(1), {})
    result = dg.materialize(
        [writer(lambda: bars(2, tickers=TICKERS))],
        resources={
            "io_manager": TableIOManager(
                tables=Given(s3=S3Resource(), bucket="", source="simulated"), now=NOW, live_job=LIVE
            )
        },
        tags=range_tags(key(0, "AAPL"), key(1, "MSFT")),
        raise_on_error=False,
    )
    assert not result.success
    assert len(refusing.asked) == looks
    assert store.read("raw_prices", every_version=True).num_rows == 1 + min(others, looks)


def test_a_revised_bar_is_a_new_version_of_that_bar_alone(store: Store) -> None:
    first = bars(2, tickers=TICKERS)
    revised = first.set_column(
        first.schema.get_field_index("close"), RAW_PRICES.columns.field("close"), pa.array([100.0] * 5 + [101.0])
    )
    for rows in (first, revised):
        materialize(store, [writer(lambda rows=rows: rows)], key(0, "AAPL"), key(1, "MSFT"))
    assert store.read("raw_prices", every_version=True).num_rows == 7


def test_rows_of_other_assets_replace_those_of_the_same_partitions_and_no_others(store: Store) -> None:
    feature = FEATURE_ROWS.columns.names[-2]
    materialize(store, [writer(lambda: feature_rows(1.0, TICKERS, 3), "features")], key(0, "AAPL"), key(2, "MSFT"))
    materialize(store, [writer(lambda: feature_rows(2.0, ("AMD",), 2), "features")], key(0, "AMD"), key(1, "AMD"))
    assert store.read("features")[feature].to_pylist() == [1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (bars(3, tickers=TICKERS), "outside the run's partitions"),
        (bars(2, tickers=("TSLA",)), "outside the run's partitions"),
        (bars(0), "there is no row of the run's partitions"),
        (bars(2, source="yahoo"), "do not belong into the table of simulated"),
        (bars(2).drop_columns(["reason"]), "another schema than the declared one"),
    ],
)
def test_rows_that_do_not_belong_are_refused_and_nothing_is_written(store: Store, rows: pa.Table, says: str) -> None:
    result = materialize(store, [writer(lambda: rows)], key(0, "AAPL"), key(1, "MSFT"), raise_on_error=False)
    assert not result.success
    error = result.failure_data_for_node("simulated__raw_prices")
    assert error is not None and error.error is not None
    assert says in str(error.error.to_string())
    assert not store.exists("raw_prices")


def test_an_input_that_may_be_missing_is_empty_before_its_table_was_written(store: Store) -> None:
    seen: list[pa.Table] = []
    only_read(store, reader(seen, Extent.PARTITIONS, may_be_missing=True), key(0, "AAPL"), key(0, "AAPL"))
    assert [rows.num_rows for rows in seen] == [0]
    assert not only_read(store, reader(seen, Extent.PARTITIONS), key(0, "AAPL"), key(0, "AAPL")).success


def test_a_commit_names_the_run_and_the_partitions_it_is_for(store: Store) -> None:
    result = materialize(store, [writer(lambda: bars(1))], key(0, "AAPL"), key(0, "AAPL"))
    commit = store.open("raw_prices").history(1)[0]
    assert (commit["run_id"], commit["partition_start"]) == (result.dagster_run.run_id, key(0, "AAPL"))


def test_a_commit_says_which_version_of_each_table_its_asset_read(store: Store) -> None:
    @dg.asset(
        key=["simulated", "features"],
        partitions_def=WINDOW.ticker_minutes,
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={
            "rows": dg.AssetIn(key=["simulated", "raw_prices"], metadata={EXTENT: Extent.SESSION_SO_FAR.value}),
            "absent": dg.AssetIn(key=["simulated", "factors"], metadata={"may_be_missing": True}),
        },
    )
    def asset(rows: pa.Table, absent: pa.Table) -> pa.Table:
        store.append("raw_prices", bars(1, start=5), {})
        return feature_rows(rows.num_rows + absent.num_rows, TICKERS, 1)

    upstream = [writer(lambda: bars(1, tickers=TICKERS)), writer(lambda: bars(0), "factors")]
    for _ in range(2):
        materialize(store, [*upstream, asset], key(0, "AAPL"), key(0, "MSFT"), selection=[upstream[0].key, asset.key])
    told = [commit.metadata.get("tables") for commit in store.commits("features")]
    assert told == ['{"raw_prices": 2}', '{"raw_prices": 1}', None]
    assert [commit.metadata.get("tables") for commit in store.commits("raw_prices")] == [None] * 4


def test_a_range_of_two_sessions_reads_both(store: Store) -> None:
    start = f"{minute_label(WINDOW.sessions[0].last_minute)}|AAPL"
    store.append("raw_prices", bars(2), {})
    assert len(read(store, Extent.PARTITIONS, start, key(1, "AAPL"))) == 2
    assert SESSION.open - WINDOW.sessions[0].last_minute > timedelta(hours=1)


@pytest.mark.parametrize("name", ["raw_prices", "features"])
def test_a_run_that_died_after_its_commit_is_healed_by_running_it_again_without_a_row_too_many(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "dagster").mkdir()
    life = f"from stockpick_assets_tests.test_io_managers import run_to_death as run; run({str(tmp_path)!r}, {name!r})"
    died = subprocess.run([sys.executable, "-c", life], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    store = Store(str(tmp_path / "tables"), "simulated", {})
    written = store.read(name, every_version=True)
    assert written.num_rows == 6
    asset = writer(lambda: fetched_rows(name, 1), name)
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        assert not instance.get_materialized_partitions(asset.key)
        assert materialize(store, [asset], key(0, "AAPL"), key(1, "MSFT"), instance=instance).success
        assert len(instance.get_materialized_partitions(asset.key)) == 6
    assert (
        store.read(name, every_version=True).replace_schema_metadata(None).equals(written.replace_schema_metadata(None))
    )


def test_a_model_whose_run_died_after_its_commit_is_replaced_by_the_next_runs(tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    life = f"from stockpick_assets_tests.test_io_managers import make_model_to_death as run; run({str(tmp_path)!r})"
    died = subprocess.run([sys.executable, "-c", life], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    store = Store(str(tmp_path / "tables"), "simulated", {})
    assert store.read("return_model")["version"].to_pylist() == ["first"]
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        key = dg.AssetKey(["simulated", "return_model"])
        assert not instance.get_materialized_partitions(key)
        assert make_model(store, instance, "second").success
        assert instance.get_materialized_partitions(key) == {SESSION.label()}
    assert store.read("return_model", every_version=True)["version"].to_pylist() == ["second"]
