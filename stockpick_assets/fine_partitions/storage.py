"""What the event logs for tens of thousands of partitions a run have in common, whatever database they are in.

An asset's event log is one log of all runs; a run's own log is the run's page. A range of partitions is a row each in
the first and one event in the second. What does not belong here: a database's own ways of writing (`sqlite_storage`,
`postgres_storage`), what a step emits (`emission`), what was planned (`plans`), deleting (`forgetting`).
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster import AssetKey, DagsterEventType, EventLogEntry, EventLogRecord, EventRecordsFilter
from dagster._check import not_none
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from sqlalchemy import delete, insert
from sqlalchemy.engine import Connection

from stockpick_assets.fine_partitions import forgetting
from stockpick_assets.fine_partitions.emission import RangeEventLog
from stockpick_assets.fine_partitions.key_blocks import pack
from stockpick_assets.fine_partitions.overrides import StockMethod, check, install, remove
from stockpick_assets.fine_partitions.plans import PackedPlans, PlannedPartitions
from stockpick_assets.fine_partitions.range_events import RangeEvents, insert_range_event, of_one_partition, whole
from stockpick_assets.fine_partitions.range_rows import insert_tags

events = SqlEventLogStorageTable

ASSET_EVENTS = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
    }
)


class FinePartitionsStorage(PackedPlans, RangeEventLog):
    """An SQL event log that writes ranges of partitions at once and forgets them again.

    Dimension tags are in each event but not in the table of event tags: stock reads that only where it cannot keep
    partition statuses, and here it can.
    """

    def _begin(self, stock: tuple[StockMethod, ...], overrides: bool) -> None:
        """Before stock's own start: check what is overridden, and put the process's overrides in place or away."""
        check(stock)
        if overrides:
            install()
        else:
            remove()
        self._ranges: dict[tuple[str, AssetKey | None, str | None], Sequence[str]] = {}

    @abstractmethod
    def asset_transaction(self, asset_keys: Iterable[AssetKey]) -> Any:
        """A context of a connection in a transaction on the assets' log that is alone in writing these assets.

        Events of an asset become visible in the order of their ids: a status cache that has seen an id never misses a
        lower one.
        """

    @abstractmethod
    def write_range(self, connection: Connection, event: EventLogEntry, partition_keys: Sequence[str]) -> range:
        """Write `event`, a materialization, for each of `partition_keys`; the ids that are theirs, ends included.

        Another run's events may have ids in between.
        """

    @abstractmethod
    def write_to_run(self, events_of_run: Sequence[EventLogEntry]) -> None:
        """Write to the own log of a run what is otherwise in the assets' log only."""

    @abstractmethod
    def write_summary(self, event: EventLogEntry) -> None:
        """Write to the own log of a run the event that stands for a range."""

    def get_asset_tags_to_index(self, tag_keys: set[str]) -> set[str]:
        """Data versions only: the two dimension tags would add 0.6 kB to each partition's 1.7."""
        return tag_keys & {DATA_VERSION_TAG}

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
        if not _is_of_asset(event):
            super().store_event(event)
        elif (partition_keys := self._range_of(event)) is not None:
            self._store_range(event, partition_keys)
        else:
            self._store_asset_events([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events, those of assets in one transaction."""
        together: list[EventLogEntry] = []
        for event in events:
            if _is_of_asset(event) and self._range_of(event) is None:
                together.append(event)
            else:
                self.store_event(event)
        if together:
            self._store_asset_events(together)

    def _get_event_records(
        self, event_records_filter: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> Sequence[EventLogRecord]:
        """Stock's, each record of a range whole: what fetches events of assets or partitions comes by here."""
        records = super()._get_event_records(event_records_filter, limit, ascending)
        if not any(record.partition_key for record in records):
            return records
        with self.index_connection() as connection:
            return whole(connection, records)

    def _range_of(self, event: EventLogEntry) -> Sequence[str] | None:
        if not self._ranges:
            return None
        dagster_event = event.get_dagster_event()
        if not dagster_event.is_step_materialization:
            return None
        return self._ranges.get((event.run_id, dagster_event.asset_key, dagster_event.partition))

    def _store_range(self, event: EventLogEntry, partition_keys: Sequence[str]) -> None:
        dagster_event = event.get_dagster_event()
        asset_key = not_none(dagster_event.asset_key)
        with self.asset_transaction([asset_key]) as connection:
            ids = self.write_range(connection, of_one_partition(event), partition_keys)
            connection.execute(insert_range_event(event, ids))
            for statement in insert_tags(self._tags_for_asset_event(event), event.run_id, asset_key, ids):
                connection.execute(statement)
            self._store_asset_event(connection, event, ids[-1])
        if event.run_id == RUNLESS_RUN_ID:
            return
        message = (
            f"Materialized {len(partition_keys)} partitions of {asset_key.to_user_string()},"
            f" {partition_keys[0]} to {partition_keys[-1]}."
        )
        self.write_summary(event._replace(dagster_event=dagster_event._replace(message=message)))

    def _store_asset_events(self, entries: Sequence[EventLogEntry]) -> None:
        planned_keys = [_planned_keys(entry) for entry in entries]
        entries = [
            entry if keys is None else _without_keys(entry) for entry, keys in zip(entries, planned_keys, strict=True)
        ]
        with self.asset_transaction(_assets_of(entries)) as connection:
            inserted = connection.execute(
                insert(events).returning(events.c.id, sort_by_parameter_order=True),
                [self._event_to_row(entry) for entry in entries],
            )
            ids = list(inserted.scalars())
            plans = [
                {"event_id": event_id, "partition_keys": keys}
                for event_id, keys in zip(ids, planned_keys, strict=True)
                if keys is not None
            ]
            if plans:
                connection.execute(insert(PlannedPartitions), plans)
            self._store_asset_event_tags(connection, entries, ids)
            newest: dict[tuple[AssetKey | None, str], tuple[EventLogEntry, int]] = {}
            for entry, event_id in zip(entries, ids, strict=True):
                dagster_event = entry.get_dagster_event()
                newest[dagster_event.asset_key, dagster_event.event_type_value] = (entry, event_id)
            for entry, event_id in newest.values():
                self._store_asset_event(connection, entry, event_id)
        self.write_to_run(entries)

    def delete_events(self, run_id: str) -> None:
        """Delete a run's events and their tags, and let the records and statuses of its assets follow.

        Stock binds a variable per materialization, and SQLite takes 32,766 (250,000 in Debian's build); it leaves the
        partitions in the status cache and the run's materialization in the asset's record.
        """
        with self.index_connection() as connection:
            assets = forgetting.assets_of_run(connection, run_id)
        with self.asset_transaction(assets) as connection:
            forgetting.forget_run(connection, run_id)
            forgetting.refresh_assets(connection, assets)
        if self.supports_global_concurrency_limits:
            self.free_concurrency_slots_for_run(run_id)

    def wipe(self) -> None:
        """Delete everything; ranges without a run have no plan whose trigger deletes them."""
        super().wipe()
        with self.index_connection() as connection:
            connection.execute(delete(RangeEvents))

    def wipe_asset_partitions(self, asset_key: AssetKey, partition_keys: Sequence[str]) -> None:
        """Delete the events, tags and plans of an asset's partitions; the own logs of runs keep theirs.

        Dagster's open-source storages raise `NotImplementedError` here.
        """
        wiped = {str(key) for key in partition_keys}
        with self.asset_transaction([asset_key]) as connection:
            forgetting.forget_partitions(connection, asset_key, wiped)
            forgetting.forget_planned_keys(connection, asset_key, wiped.__contains__)
            forgetting.refresh_assets(connection, [asset_key])


def _is_of_asset(event: EventLogEntry) -> bool:
    dagster_event = event.dagster_event
    return (
        dagster_event is not None and dagster_event.event_type in ASSET_EVENTS and dagster_event.asset_key is not None
    )


def _assets_of(entries: Iterable[EventLogEntry]) -> set[AssetKey]:
    return {not_none(entry.get_dagster_event().asset_key) for entry in entries}


def _planned_keys(event: EventLogEntry) -> str | None:
    """The packed keys of a plan of several partitions."""
    dagster_event = event.get_dagster_event()
    if not dagster_event.is_asset_materialization_planned:
        return None
    subset = dagster_event.asset_materialization_planned_data.partitions_subset
    return None if subset is None else pack(subset.get_partition_keys())


def _without_keys(event: EventLogEntry) -> EventLogEntry:
    dagster_event = event.get_dagster_event()
    data = dagster_event.asset_materialization_planned_data._replace(partitions_subset=None)
    return event._replace(dagster_event=dagster_event._replace(event_specific_data=data))
