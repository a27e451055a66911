"""A store that is full, read-only or slow, as a run of Dagster meets it: nothing is lost, and a later run heals.

The object store is one made for it (fake_s3.py); test_store.py has a store that does not answer at all.
"""

import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import dagster as dg
import pyarrow as pa
import pytest
from dagster_aws.s3 import S3Resource

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.jobs import LIVE
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store, TableMissing
from stockpick_assets_tests.fake_s3 import FakeS3, Refusal, fake_s3
from stockpick_assets_tests.rows import bars
from stockpick_assets_tests.sensors.flows import fine_instance
from stockpick_assets_tests.simulated_market import cause_of
from stockpick_assets_tests.test_io_managers import TICKERS, feature_rows, key, writer

MINUTES = 20
TABLES = ("raw_prices", "features")
READ_ONLY = Refusal(403, "AccessDenied", "Access Denied.")
FULL = Refusal(507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")


class TablesOf(Tables):
    """Tables that a test has made."""

    def store(self) -> Store:
        return STORES[self.root]


STORES: dict[str, Store] = {}


class OnAFullDisk(TableIOManager):
    """Writes where no file can be longer than what a full disk takes of it."""

    def handle_output(self, context: dg.OutputContext, obj: pa.Table) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            super().handle_output(context, obj)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with fine_instance(tmp_path / "dagster") as instance:
        yield instance


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with fake_s3() as fake:
        yield fake


def rows_of(table: str, minutes: int = MINUTES) -> pa.Table:
    return bars(minutes, tickers=TICKERS) if table == "raw_prices" else feature_rows(1.0, TICKERS, minutes)


def run(
    instance: dg.DagsterInstance, store: Store, table: str, io_manager: type[TableIOManager] = TableIOManager
) -> dg.ExecuteInProcessResult:
    STORES[store.root] = store
    tables = TablesOf(s3=S3Resource(), bucket="", source=store.source, root=store.root)
    return dg.materialize(
        [writer(lambda: rows_of(table), table)],
        instance=instance,
        resources={"io_manager": io_manager(tables=tables, now=Now(MarketClock()), live_job=LIVE)},
        tags={
            "dagster/asset_partition_range_start": key(0, "AAPL"),
            "dagster/asset_partition_range_end": key(MINUTES - 1, "MSFT"),
        },
        raise_on_error=False,
    )


def materialized(instance: dg.DagsterInstance, table: str) -> int:
    return len(instance.get_materialized_partitions(dg.AssetKey(["simulated", table])))


def stored(store: Store, table: str) -> int:
    # Not store.exists: it keeps the other threads waiting, and one of them is the object store.
    try:
        return store.read(table, every_version=True).num_rows
    except TableMissing:
        return 0


def assert_healed_by_a_run(instance: dg.DagsterInstance, store: Store, table: str) -> None:
    assert run(instance, store, table).success
    assert store.read(table, every_version=True).replace_schema_metadata(None).equals(rows_of(table))
    assert materialized(instance, table) == MINUTES * len(TICKERS)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("table", TABLES)
def test_on_a_full_disk_a_run_fails_with_the_reason_and_leaves_the_table_as_it_was(
    instance: dg.DagsterInstance, tmp_path: Path, table: str, before: int
) -> None:
    store = Store(str(tmp_path / "tables"), "simulated", {})
    if before:
        store.append(table, rows_of(table, before), {})
    cause = cause_of(run(instance, store, table, OnAFullDisk))
    assert f"table {table} at {store.uri(table)}: Generic LocalFileSystem error: " in cause
    assert "File too large (os error 27). Is there room on the disk" in cause
    assert (stored(store, table), materialized(instance, table)) == (before * len(TICKERS), 0)
    assert_healed_by_a_run(instance, store, table)


@pytest.mark.parametrize(
    ("refusal", "table", "refused"),
    [
        (READ_ONLY, "raw_prices", ""),
        (READ_ONLY, "raw_prices", ".parquet"),
        (READ_ONLY, "features", ".json"),
        (FULL, "features", ".parquet"),
    ],
)
def test_a_store_that_takes_no_object_is_told_in_its_own_words_and_keeps_what_it_has(
    instance: dg.DagsterInstance, fake: FakeS3, refusal: Refusal, table: str, refused: str
) -> None:
    store, before = fake.store(), 1 if refused else 0
    if before:
        store.append(table, rows_of(table, before), {})
    fake.refuse = lambda method, key: refusal if method == "PUT" and key.endswith(refused) else None
    cause = cause_of(run(instance, store, table))
    assert cause.startswith("stockpick_assets.store.StoreError: could not ")
    assert f"{refusal.code}, {refusal.message.rstrip('.')}. Is the object store up" in cause
    assert len(cause.splitlines()) == 1
    assert len(cause) < 400
    assert (stored(store, table), materialized(instance, table)) == (before * len(TICKERS), 0)
    fake.refuse = lambda method, key: None
    assert_healed_by_a_run(instance, store, table)


def test_a_store_that_answers_slowly_is_waited_for(instance: dg.DagsterInstance, fake: FakeS3) -> None:
    fake.before_answer = lambda method, key: time.sleep(0.05)
    assert_healed_by_a_run(instance, fake.store(), "raw_prices")


@pytest.mark.parametrize(
    ("table", "late"), [("raw_prices", ".parquet"), ("raw_prices", ".json"), ("features", ".json")]
)
def test_an_answer_that_comes_too_late_fails_the_run_and_no_row_is_there_twice_after_the_next(
    instance: dg.DagsterInstance, fake: FakeS3, table: str, late: str
) -> None:
    store = fake.store()
    store.append(table, rows_of(table, 1), {})
    given_up = Event()
    fake.before_answer = lambda method, key: method == "PUT" and key.endswith(late) and given_up.wait(30)
    cause = cause_of(run(instance, fake.store(timeout="2s", retry_timeout="0s"), table))
    given_up.set()
    assert re.search(r"Generic S3 error: [a-z ]+\. Is the object store up", cause)
    assert materialized(instance, table) == 0
    # The commit that was not answered is there.
    assert stored(store, table) == (MINUTES if late == ".json" else 1) * len(TICKERS)
    assert_healed_by_a_run(instance, store, table)
