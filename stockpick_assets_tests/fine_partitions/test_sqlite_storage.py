"""What is SQLite's own of our event log in it."""

import sqlite3
from pathlib import Path
from queue import Queue
from typing import Any

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from stockpick_assets.fine_partitions import FinePartitionsSqliteStorage
from stockpick_assets_tests.fine_partitions.conftest import OURS, instance_on
from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    UPSTREAM,
    keys,
    materializations,
    run,
    statuses,
)

MOST_PAGES = 2**30


def test_a_run_of_more_materializations_than_sqlite_takes_variables_can_be_deleted(tmp_path: Path) -> None:
    with instance_on(tmp_path / "home", OURS) as instance:
        event_log = instance.event_log_storage
        assert isinstance(event_log, FinePartitionsSqliteStorage)
        finished = run(instance)
        with event_log.index_connection() as connection:
            event.listen(connection.engine, "checkout", _take_seven_variables)

        instance.delete_run(finished.run_id)

        assert instance.get_materialized_partitions(UPSTREAM) == set()
        assert not Path(event_log.path_for_shard(finished.run_id)).exists()


def test_a_watched_run_is_told_of_an_event_while_its_writer_keeps_the_log_open(
    ours_in_sqlite: dg.DagsterInstance, tmp_path: Path
) -> None:
    finished = run(ours_in_sqlite)
    entries = [record.event_log_entry for record in ours_in_sqlite.get_records_for_run(finished.run_id).records]
    writer, reader = FinePartitionsSqliteStorage(str(tmp_path)), FinePartitionsSqliteStorage(str(tmp_path))
    writer.store_event(entries[0])
    told: Queue[EventLogEntry] = Queue()
    reader.watch(finished.run_id, reader.get_records_for_run(finished.run_id).cursor, lambda event, _: told.put(event))

    writer.store_event(entries[1])

    assert told.get(timeout=30) == entries[1]
    reader.dispose()
    writer.dispose()


def test_on_a_full_disk_a_run_ends_with_the_reason_and_a_new_one_heals(tmp_path: Path) -> None:
    """SQLite's own limit of a file's length gives the error of a disk without room."""
    with instance_on(tmp_path / "home", OURS) as instance:
        event_log = instance.event_log_storage
        assert isinstance(event_log, FinePartitionsSqliteStorage)
        pages = MOST_PAGES
        with event_log.index_connection() as connection:
            event.listen(
                connection.engine,
                "checkout",
                lambda connection, *_: connection.execute(f"PRAGMA max_page_count = {pages}"),
            )

        def fills_the_disk(_context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            nonlocal pages
            pages = 1  # SQLite makes of it what the file has already
            return dg.MaterializeResult(metadata={"longer than what is left of a page": "x" * 50_000})

        # Nor can the run's failure be written: Dagster's run monitoring does that, of a process that is gone.
        with pytest.raises(OperationalError, match="database or disk is full"):
            run(instance, upstream=fills_the_disk)
        pages = MOST_PAGES
        assert instance.get_runs()[0].status is dg.DagsterRunStatus.STARTED
        assert statuses(instance, UPSTREAM) == {"materialized": [], "failed": [], "in progress": keys()}

        assert run(instance).success
        for asset in (UPSTREAM, DOWNSTREAM):
            assert statuses(instance, asset)["materialized"] == keys()
            assert len(materializations(instance, asset, FIRST)) == 1


def _take_seven_variables(connection: sqlite3.Connection, *_: object) -> None:
    """The run's eight materializations are one more than a statement may have variables."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 7)
