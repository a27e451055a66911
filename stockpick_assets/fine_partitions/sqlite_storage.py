"""The SQLite event log for assets of tens of thousands of partitions a run, configured in `dagster.yaml`.

What it does otherwise than Dagster's: a range's materializations are written as rows in one transaction; a run's
planned partitions are one event with their keys packed; connections stay open; ids are never used twice; a run with any
number of events can be deleted. What does not belong here: what a step emits (`emission`), the tables (`index_schema`),
what was planned (`plans`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster import AssetKey, EventLogEntry, Field, StringSource
from dagster._check import not_none
from dagster._config.config_schema import UserConfigSchema
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import delete, func, insert, inspect, select
from sqlalchemy.engine import Connection, Engine
from watchdog.observers import Observer

from stockpick_assets.fine_partitions import index_schema
from stockpick_assets.fine_partitions.connections import OpenEngines
from stockpick_assets.fine_partitions.emission import RangeEventLog
from stockpick_assets.fine_partitions.index_schema import PlannedPartitions
from stockpick_assets.fine_partitions.key_blocks import pack
from stockpick_assets.fine_partitions.overrides import STORAGE_METHODS, check, install, remove
from stockpick_assets.fine_partitions.plans import PackedPlans
from stockpick_assets.fine_partitions.range_rows import dimension_tags, insert_range, insert_tags, without_repetition
from stockpick_assets.fine_partitions.watching import WriteAheadLogWatchdog

events = SqlEventLogStorageTable
planned = PlannedPartitions


class FinePartitionsSqliteStorage(PackedPlans, RangeEventLog, SqliteEventLogStorage):
    """Dagster's SQLite event log with ranges of partitions kept cheaply.

    A run's own log has one materialization for partitions that are alike; every query by asset or partition sees one
    per partition. Dimension tags are in each event but not in the table of event tags: stock reads that only where it
    cannot keep partition statuses, and here it can.

    Args:
        base_dir: folder of the databases; made if missing.
        overrides: whether Dagster's methods are overridden in this process (`overrides.install`). Without them the
            storage gives the same answers and runs are slow.

    Raises:
        UnsupportedDagster: the installed Dagster is not the one this package was written for.
    """

    def __init__(self, base_dir: str, overrides: bool = True, inst_data: ConfigurableClassData | None = None) -> None:
        check(STORAGE_METHODS)
        if overrides:
            install()
        else:
            remove()
        self._open_engines = OpenEngines()
        self._ranges: dict[tuple[str, AssetKey | None, str | None], Sequence[str]] = {}
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

    def get_asset_tags_to_index(self, tag_keys: set[str]) -> set[str]:
        """Data versions only: the two dimension tags would add 0.6 kB to each partition's 2.1."""
        return tag_keys & {DATA_VERSION_TAG}

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        engine = self._open_engines.get(self.conn_string_for_shard(shard), self._prepare_tables)
        with engine.begin() as connection:
            yield connection

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

    @contextmanager
    def materializing(
        self, run_id: str, asset_key: AssetKey, partition_key: str, partition_keys: Sequence[str]
    ) -> Iterator[None]:
        """See `RangeEventLog`."""
        place = (run_id, asset_key, str(partition_key))
        self._ranges[place] = partition_keys
        try:
            yield
        finally:
            del self._ranges[place]

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and for one that stands for a range what it stands for."""
        if _plans_a_subset(event):
            self._store_planned_subset(event)
        elif (partition_keys := self._range_of(event)) is not None:
            self._store_range(event, partition_keys)
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events, those that are materializations of one partition in one transaction."""
        single: list[EventLogEntry] = []
        for event in events:
            if _is_materialization(event) and self._range_of(event) is None:
                single.append(event)
            else:
                self.store_event(event)
        if single:
            self._store_materializations(single)

    def _range_of(self, event: EventLogEntry) -> Sequence[str] | None:
        if not self._ranges or not _is_materialization(event):
            return None
        dagster_event = event.get_dagster_event()
        return self._ranges.get((event.run_id, dagster_event.asset_key, dagster_event.partition))

    def _store_planned_subset(self, event: EventLogEntry) -> None:
        dagster_event = event.get_dagster_event()
        data = dagster_event.asset_materialization_planned_data
        keys = pack(not_none(data.partitions_subset).get_partition_keys())
        event = event._replace(
            dagster_event=dagster_event._replace(event_specific_data=data._replace(partitions_subset=None))
        )
        row = self._event_to_row(event)
        with self.index_connection() as connection:
            event_id = not_none(connection.execute(insert(events).values(row)).inserted_primary_key)[0]
            connection.execute(insert(planned).values(event_id=event_id, partition_keys=keys))
            self._store_asset_event(connection, event, event_id)
        with self.run_connection(event.run_id) as connection:
            connection.execute(insert(events).values(row))

    def _store_range(self, event: EventLogEntry, partition_keys: Sequence[str]) -> None:
        dagster_event = event.get_dagster_event()
        row = self._event_to_row(without_repetition(event))
        with self.index_connection() as connection:
            connection.execute(insert_range(row, dimension_tags(event), partition_keys))
            last_id = connection.execute(select(func.max(events.c.id))).scalar_one()
            for statement in insert_tags(self._tags_for_asset_event(event), last_id - len(partition_keys) + 1, last_id):
                connection.execute(statement)
            self._store_asset_event(connection, event, last_id)
        message = (
            f"Materialized {len(partition_keys)} partitions of {not_none(dagster_event.asset_key).to_user_string()},"
            f" {partition_keys[0]} to {partition_keys[-1]}."
        )
        event = event._replace(dagster_event=dagster_event._replace(message=message))
        with self.run_connection(event.run_id) as connection:
            connection.execute(insert(events).values(self._event_to_row(event)))

    def _store_materializations(self, entries: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(entry) for entry in entries]
        with self.index_connection() as connection:
            connection.execute(insert(events), rows)
            last_id = connection.execute(select(func.max(events.c.id))).scalar_one()
            ids = range(last_id - len(entries) + 1, last_id + 1)
            self._store_asset_event_tags(connection, entries, ids)
            newest = {
                entry.get_dagster_event().asset_key: (entry, id_) for entry, id_ in zip(entries, ids, strict=True)
            }
            for entry, event_id in newest.values():
                self._store_asset_event(connection, entry, event_id)
        for run_id in {entry.run_id for entry in entries}:
            with self.run_connection(run_id) as connection:
                connection.execute(insert(events), [row for row in rows if row["run_id"] == run_id])

    def delete_events_for_run(self, conn: Connection, run_id: str) -> None:
        """Delete a run's events and their tags.

        Stock binds a variable per materialization, and SQLite takes 32,766 (250,000 in Debian's build).
        """
        of_run = select(events.c.id).where(events.c.run_id == run_id)
        conn.execute(delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(of_run)))
        conn.execute(delete(events).where(events.c.run_id == run_id))


def _is_materialization(event: EventLogEntry) -> bool:
    return event.dagster_event is not None and event.dagster_event.is_step_materialization


def _plans_a_subset(event: EventLogEntry) -> bool:
    return (
        event.dagster_event is not None
        and event.dagster_event.is_asset_materialization_planned
        and event.dagster_event.asset_materialization_planned_data.partitions_subset is not None
    )
