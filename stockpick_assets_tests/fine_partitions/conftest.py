"""Two Dagster instances on temporary folders, one on Dagster's own SQLite event log and one on ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.fine_partitions import install, remove


def instance_on(folder: Path, event_log: dict[str, Any]) -> dg.DagsterInstance:
    """An instance that keeps everything under `folder`, its events as `event_log` says."""
    folder.mkdir()
    config = {**event_log, "config": {"base_dir": str(folder / "events"), **event_log.get("config", {})}}
    return dg.DagsterInstance.local_temp(str(folder), overrides={"event_log_storage": config})


STOCK = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
OURS = {"module": "stockpick_assets.fine_partitions", "class": "FinePartitionsSqliteStorage"}


@pytest.fixture(autouse=True)
def own_methods_afterwards() -> Iterator[None]:
    """Leave Dagster's own methods in place for the tests of other folders."""
    yield
    remove()


@pytest.fixture(scope="session")
def kept_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One instance on our event log for many tests: making one takes a second, emptying it a tenth."""
    with instance_on(tmp_path_factory.mktemp("kept") / "ours", OURS) as instance:
        yield instance


@pytest.fixture
def ours(kept_ours: dg.DagsterInstance) -> dg.DagsterInstance:
    """An empty instance on our event log, overrides in place."""
    kept_ours.wipe()
    install()
    return kept_ours
