"""The asset events' database, new or taken over from Dagster's own storage."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

from stockpick_assets.fine_partitions import install, remove
from stockpick_assets.fine_partitions.index_schema import prepare
from stockpick_assets_tests.fine_partitions.conftest import OURS, STOCK, instance_on
from stockpick_assets_tests.fine_partitions.flows import MIDDLE, UPSTREAM, keys, materializations, run, statuses


def taken_over_by(folder: Path, event_log: dict[str, Any]) -> DagsterInstance:
    """The instance in `folder` on another event log."""
    config = {**event_log, "config": {"base_dir": str(folder / "events")}}
    return DagsterInstance.local_temp(str(folder), overrides={"event_log_storage": config})


def test_a_database_of_stocks_is_taken_over_and_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with instance_on(folder, STOCK) as instance:
        remove()
        first = run(instance).run_id
    with taken_over_by(folder, OURS) as instance:
        install()
        assert statuses(instance, UPSTREAM)["materialized"] == sorted(keys())
        second = run(instance).run_id
        assert [each["run"] for each in materializations(instance, UPSTREAM, MIDDLE)] == [second, first]
        instance.delete_run(second)
    with taken_over_by(folder, STOCK) as instance:
        remove()
        assert [each["run"] for each in materializations(instance, UPSTREAM, MIDDLE)] == [first]


def test_a_new_database_can_be_prepared_by_several_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare, [path] * 8))

    with closing(sqlite3.connect(path)) as connection:
        (created,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'event_logs'").fetchone()
        assert "AUTOINCREMENT" in created
        assert connection.execute("PRAGMA page_size").fetchone() == (16_384,)
