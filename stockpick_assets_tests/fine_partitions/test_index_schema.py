"""The asset events' database, new or taken over from Dagster's own storage."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg

from stockpick_assets.fine_partitions import FinePartitionsSqliteStorage
from stockpick_assets.fine_partitions.index_schema import prepare
from stockpick_assets_tests.fine_partitions.conftest import OURS, instance_on
from stockpick_assets_tests.fine_partitions.flows import UPSTREAM, keys, run


def test_a_new_database_can_be_prepared_by_several_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare, [path] * 8))

    with closing(sqlite3.connect(path)) as connection:
        (created,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'event_logs'").fetchone()
        assert "AUTOINCREMENT" in created
        assert connection.execute("PRAGMA page_size").fetchone() == (16_384,)


def test_a_database_made_before_ranges_had_an_event_in_common_gets_their_table(tmp_path: Path) -> None:
    with instance_on(tmp_path / "home", OURS) as instance:
        run(instance)
        path = index_of(instance)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER forget_range_events")
        connection.execute("DROP TABLE range_events")

    with instance_on(tmp_path / "home", OURS) as instance:
        assert instance.get_materialized_partitions(UPSTREAM) == set(keys())
        instance.delete_run(run(instance).run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM range_events").fetchone() == (0,)


def index_of(instance: dg.DagsterInstance) -> str:
    event_log = instance.event_log_storage
    assert isinstance(event_log, FinePartitionsSqliteStorage)
    return event_log.path_for_shard("index")
