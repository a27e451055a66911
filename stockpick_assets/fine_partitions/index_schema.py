"""SQLite's database of asset events as this package needs it: ids never used twice, planned partitions and ranges.

What does not belong here: Dagster's other tables, which its storage makes itself.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import MetaData, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from stockpick_assets.fine_partitions.plans import PlannedPartitions
from stockpick_assets.fine_partitions.range_events import RangeEvents

# With SQLite's own 4 kB pages, of which rows leave more empty, a partition takes 1.97 kB; with these 1.72.
PAGE_BYTES = 16_384

_RENAMED = "event_logs_without_counter"

_FORGET_PLANNED = """
CREATE TRIGGER IF NOT EXISTS forget_planned_partitions AFTER DELETE ON event_logs
WHEN old.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
BEGIN DELETE FROM planned_partitions WHERE event_id = old.id; END
"""

# The plan of several partitions goes when its run does, and so do the materializations.
_FORGET_RANGES = """
CREATE TRIGGER IF NOT EXISTS forget_range_events AFTER DELETE ON event_logs
WHEN old.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED' AND old.partition IS NULL
BEGIN DELETE FROM range_events WHERE run_id = old.run_id AND asset_key = old.asset_key; END
"""


def prepare(path: Path) -> None:
    """Make the event table in the database file `path`, or give the ids of an existing one to a counter.

    SQLite numbers rows max(id) + 1: without a counter (AUTOINCREMENT), deleting the newest run hands its ids out again,
    and Dagster's partition status cache, which remembers the last id it saw, ignores the events that get them. The
    other columns and the indexes are Dagster's, so its own storage can open the file again. Safe to call from several
    processes at once; a database that is as it should be is only read.
    """
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        if _has(connection, "forget_range_events"):
            return
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("BEGIN EXCLUSIVE")
        try:
            if not _has(connection, "forget_planned_partitions"):
                _make_event_table(connection)
            for table in (PlannedPartitions, RangeEvents):
                connection.execute(_sql(CreateTable(table, if_not_exists=True)))
            connection.execute(_FORGET_PLANNED)
            connection.execute(_FORGET_RANGES)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _has(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _make_event_table(connection: sqlite3.Connection) -> None:
    exists = _has(connection, "event_logs")
    if exists:
        connection.execute(f"ALTER TABLE event_logs RENAME TO {_RENAMED}")
        for index in SqlEventLogStorageTable.indexes:
            connection.execute(f"DROP INDEX IF EXISTS {index.name}")
    events = SqlEventLogStorageTable.to_metadata(MetaData())
    events.dialect_options["sqlite"]["autoincrement"] = True
    connection.execute(_sql(CreateTable(events)))
    if exists:
        renamed = SqlEventLogStorageTable.to_metadata(MetaData(), name=_RENAMED)
        connection.execute(_sql(insert(events).from_select(list(events.columns), select(*renamed.columns))))
        connection.execute(f"DROP TABLE {_RENAMED}")
    for index in events.indexes:
        connection.execute(_sql(CreateIndex(index)))


def _sql(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))
