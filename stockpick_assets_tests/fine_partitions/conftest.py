"""Dagster instances on temporary folders: on Dagster's own SQLite event log, and on ours in either database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.fine_partitions import install, remove
from stockpick_assets_tests.fine_partitions.postgres import cluster, new_database

DATABASES = ("sqlite", "postgres")


def instance_on(folder: Path, event_log: dict[str, Any]) -> dg.DagsterInstance:
    """The instance that keeps its runs under `folder` and its events as `event_log` says; in SQLite, there too."""
    folder.mkdir(exist_ok=True)
    config = dict(event_log.get("config", {}))
    if "postgres_url" not in config:
        config["base_dir"] = str(folder / "events")
    overrides = {"event_log_storage": {**event_log, "config": config}, "compute_logs": NO_COMPUTE_LOGS}
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)


# Two runs in threads that redirect one process's output leave it in the file of the other.
NO_COMPUTE_LOGS = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
STOCK = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
OURS = {"module": "stockpick_assets.fine_partitions", "class": "FinePartitionsSqliteStorage"}


def in_postgres(address: str) -> dict[str, Any]:
    """Our event log in the Postgres database at `address`."""
    return {
        "module": "stockpick_assets.fine_partitions.postgres_storage",
        "class": "FinePartitionsPostgresStorage",
        "config": {"postgres_url": address},
    }


@pytest.fixture(autouse=True)
def own_methods_afterwards() -> Iterator[None]:
    """Leave Dagster's own methods in place for the tests of other folders."""
    yield
    remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a running Postgres, without a database's name."""
    with cluster() as address:
        yield address


@pytest.fixture(scope="session")
def event_logs(postgres: str) -> dict[str, dict[str, Any]]:
    """Our event log in each of the `DATABASES`, one of which is empty."""
    return {"sqlite": OURS, "postgres": in_postgres(new_database(postgres))}


@pytest.fixture(scope="session")
def kept(
    event_logs: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dg.DagsterInstance]]:
    """One instance in each database for many tests: making one takes a second, emptying it a tenth."""
    folder = tmp_path_factory.mktemp("kept")
    instances = {database: instance_on(folder / database, event_log) for database, event_log in event_logs.items()}
    yield instances
    for instance in instances.values():
        instance.dispose()


@pytest.fixture(params=DATABASES)
def ours(kept: dict[str, dg.DagsterInstance], request: pytest.FixtureRequest) -> dg.DagsterInstance:
    """An empty instance on our event log in one database and the other, overrides in place."""
    return _emptied(kept[request.param])


@pytest.fixture
def ours_in_sqlite(kept: dict[str, dg.DagsterInstance]) -> dg.DagsterInstance:
    """An empty instance on our event log in SQLite, overrides in place."""
    return _emptied(kept["sqlite"])


@pytest.fixture
def ours_in_postgres(kept: dict[str, dg.DagsterInstance]) -> dg.DagsterInstance:
    """An empty instance on our event log in Postgres, overrides in place."""
    return _emptied(kept["postgres"])


def _emptied(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    instance.wipe()
    install()
    return instance
