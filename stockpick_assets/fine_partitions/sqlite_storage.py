"""The SQLite event log for assets of tens of thousands of partitions a run, configured in `dagster.yaml`.

What it does otherwise than Dagster's, beside what `storage` says: connections stay open, ids are never used twice, and
the file of a deleted run is deleted. What does not belong here: the tables (`index_schema`), and what is the same in
another database (`storage`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self

from dagster import AssetKey, DagsterEventType, EventLogEntry, Field, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import func, insert, inspect, select
from sqlalchemy.engine import Connection, Engine
from watchdog.observers import Observer

from stockpick_assets.fine_partitions import index_schema
from stockpick_assets.fine_partitions.connections import OpenEngines
from stockpick_assets.fine_partitions.overrides import SQL_METHODS, StockMethod
from stockpick_assets.fine_partitions.range_rows import insert_range
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage
from stockpick_assets.fine_partitions.watching import WriteAheadLogWatchdog

events = SqlEventLogStorageTable

SQLITE_METHODS: tuple[StockMethod, ...] = (
    StockMethod(SqliteEventLogStorage, "__init__", "(self, base_dir, inst_data=None)"),
    StockMethod(SqliteEventLogStorage, "_connect", "(self, shard)"),
    StockMethod(SqliteEventLogStorage, "_initdb", "(self, engine, for_index_shard=False)"),
    StockMethod(SqliteEventLogStorage, "has_table", "(self, table_name)"),
    StockMethod(SqliteEventLogStorage, "store_event", "(self, event)"),
    StockMethod(SqliteEventLogStorage, "watch", "(self, run_id, cursor, callback)"),
    StockMethod(
        SqliteEventLogStorageWatchdog, "__init__", "(self, event_log_storage, run_id, callback, cursor, **kwargs)"
    ),
    StockMethod(SqliteEventLogStorageWatchdog, "_process_log", "(self)"),
    StockMethod(SqliteEventLogStorage, "get_asset_keys_for_run", "(self, run_id, of_type=None)"),
    StockMethod(SqliteEventLogStorage, "wipe", "(self)"),
    StockMethod(SqliteEventLogStorage, "dispose", "(self)"),
)


class FinePartitionsSqliteStorage(FinePartitionsStorage, SqliteEventLogStorage):
    """Dagster's SQLite event log with ranges of partitions kept cheaply.

    A run's own log has one materialization for partitions that are alike; every query by asset or partition sees one
    per partition.

    Args:
        base_dir: folder of the databases; made if missing.
        overrides: whether Dagster's methods are overridden in this process (`overrides.install`). Without them the
            storage gives the same answers and runs are slow.

    Raises:
        UnsupportedDagster: the installed Dagster is not the one this package was written for.
    """

    def __init__(self, base_dir: str, overrides: bool = True, inst_data: ConfigurableClassData | None = None) -> None:
        self._begin(SQL_METHODS + SQLITE_METHODS, overrides)
        self._open_engines = OpenEngines()
        folder = Path(base_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        index_schema.prepare(folder / f"{INDEX_SHARD_NAME}.db")
        super().__init__(base_dir, inst_data)
        self.reindex_events()
        self.reindex_assets()

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Stock's `base_dir`, and `overrides`."""
        return {
            "base_dir": StringSource,
            "overrides": Field(bool, default_value=True, is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of a `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        engine = self._open_engines.get(self.conn_string_for_shard(shard), self._prepare_tables)
        with engine.begin() as connection:
            yield connection

    def asset_transaction(self, asset_keys: Iterable[AssetKey]) -> AbstractContextManager[Connection]:
        """See `FinePartitionsStorage`; SQLite has one writer for all assets."""
        return self.index_transaction()

    def _prepare_tables(self, engine: Engine) -> None:
        path = str(engine.url.database)
        if path not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(path)

    def has_table(self, table_name: str) -> bool:
        """Whether the asset events' database has a table; stock opens a connection to ask, with each event."""
        with self.index_connection() as connection:
            return inspect(connection).has_table(table_name)

    def wipe(self) -> None:
        """Delete everything; the files of runs are closed first, as they are removed."""
        self._open_engines.close()
        super().wipe()

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call `callback` with each event of a run after `cursor`, as they are written."""
        if self._obs is None:
            self._obs = Observer()
            self._obs.start()
        watchdog = WriteAheadLogWatchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (watchdog, self._obs.schedule(watchdog, self._base_dir, recursive=True))

    def dispose(self) -> None:
        """Close every connection; the next use opens anew."""
        super().dispose()
        self._open_engines.close()

    def write_range(self, connection: Connection, event: EventLogEntry, partition_keys: Sequence[str]) -> range:
        """See `FinePartitionsStorage`."""
        connection.execute(insert_range(self._event_to_row(event), partition_keys))
        last_id = connection.execute(select(func.max(events.c.id))).scalar_one()
        return range(last_id - len(partition_keys) + 1, last_id + 1)

    def get_asset_keys_for_run(
        self, run_id: str, of_type: DagsterEventType | set[DagsterEventType] | None = None
    ) -> AbstractSet[AssetKey]:
        """The assets a run planned or materialized, of which its own log has an event each.

        A run's page asks for them; found from the partitions they take 1.6 s for a session of five assets.
        """
        return SqlEventLogStorage.get_asset_partitions_for_run(self, run_id, of_type).keys()

    def write_to_run(self, events_of_run: Sequence[EventLogEntry]) -> None:
        """See `FinePartitionsStorage`; a run's own log is a file."""
        rows = [self._event_to_row(event) for event in events_of_run]
        for run_id in {event.run_id for event in events_of_run}:
            with self.run_connection(run_id) as connection:
                connection.execute(insert(events), [row for row in rows if row["run_id"] == run_id])

    def write_summary(self, event: EventLogEntry) -> None:
        """See `FinePartitionsStorage`."""
        self.write_to_run([event])

    def delete_events(self, run_id: str) -> None:
        """Delete a run's events, and its file, which stock leaves."""
        super().delete_events(run_id)
        self._open_engines.forget(self.conn_string_for_shard(run_id))
        path = Path(self.path_for_shard(run_id))
        self._initialized_dbs.discard(str(path))
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            file.unlink(missing_ok=True)
