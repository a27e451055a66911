"""Deletes events and plans from the assets' log, with the records of their assets brought up to date, and what runs and
backfills leave in the database of runs.

Functions that change the assets' log work on a connection in a transaction that is alone in writing the assets
(`FinePartitionsStorage.asset_transaction`). What does not belong here: what is to go (`storage`, `retention`).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from dagster import AssetKey, DagsterEventType, DagsterRun, EventLogEntry, EventLogRecord
from dagster._check import not_none
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import (
    BackfillTagsTable,
    BulkActionsTable,
    RunsTable,
    RunTagsTable,
    SnapshotsTable,
)
from dagster._serdes import deserialize_value, serialize_value
from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from stockpick_assets.fine_partitions.key_blocks import pack, unpack
from stockpick_assets.fine_partitions.plans import PlannedPartitions
from stockpick_assets.fine_partitions.range_events import RangeEvents, whole

events = SqlEventLogStorageTable
event_tags = AssetEventTagsTable
planned = PlannedPartitions
ranges = RangeEvents
SHOWN = (DagsterEventType.ASSET_MATERIALIZATION.value, DagsterEventType.ASSET_OBSERVATION.value)

# SQLite binds at most 32,766 variables a statement.
MOST_VARIABLES = 5_000


class Deleted(NamedTuple):
    """How many events and event tags were deleted."""

    events: int
    tags: int


def forget_events(connection: Connection, event_ids: Sequence[int]) -> Deleted:
    """Delete events, at most `MOST_VARIABLES`, and their tags."""
    tags = connection.execute(delete(event_tags).where(event_tags.c.event_id.in_(event_ids))).rowcount
    return Deleted(connection.execute(delete(events).where(events.c.id.in_(event_ids))).rowcount, tags)


def forget_run(connection: Connection, run_id: str) -> None:
    """Delete a run's events, their tags and the executions of its checks, however many."""
    of_run = select(events.c.id).where(events.c.run_id == run_id)
    connection.execute(delete(event_tags).where(event_tags.c.event_id.in_(of_run)))
    connection.execute(delete(events).where(events.c.run_id == run_id))
    connection.execute(delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))


def holds_partitions(connection: Connection, run_id: str) -> bool:
    """Whether an asset's log has a materialization or observation of a run, or a plan of partitions not forgotten."""
    of_run = select(events.c.id).where(events.c.run_id == run_id, events.c.asset_key.is_not(None))
    shown = of_run.where(events.c.dagster_event_type.in_(SHOWN)).limit(1)
    plans = (
        of_run.outerjoin(planned, planned.c.event_id == events.c.id)
        .where(events.c.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value)
        .where(events.c.partition.is_not(None) | (planned.c.partition_keys != pack(())))
        .limit(1)
    )
    return any(connection.execute(query).first() is not None for query in (shown, plans))


def forget_traces(connection: Connection, deleted: Collection[DagsterRun]) -> None:
    """Delete from the database of runs what deleted runs left: their tags, and snapshots that no other run has.

    Stock leaves the tags to a foreign key, which SQLite does not heed unless it is told to, and keeps every snapshot:
    there is one of the plan for each load of the definitions.
    """
    run_ids = [run.run_id for run in deleted]
    connection.execute(delete(RunTagsTable).where(RunTagsTable.c.run_id.in_(run_ids)))
    jobs = {run.job_snapshot_id for run in deleted} - {None}
    plans = {run.execution_plan_snapshot_id for run in deleted} - {None}
    for snapshot_id in jobs | plans:
        # A plan's is named in the run's serialized body only.
        has_it = select(RunsTable.c.id).where(
            (RunsTable.c.snapshot_id == snapshot_id) | RunsTable.c.run_body.contains(snapshot_id)
        )
        if connection.execute(has_it.limit(1)).first() is None:
            connection.execute(delete(SnapshotsTable).where(SnapshotsTable.c.snapshot_id == snapshot_id))


def forget_backfills(connection: Connection, created_before: datetime) -> int:
    """Delete finished backfills and their tags from the database of runs; how many.

    By their columns: each one's body has all of its partitions, 195,000 for a session of five assets.
    """
    old = select(BulkActionsTable.c.key).where(
        BulkActionsTable.c.status.in_([status.value for status in BULK_ACTION_TERMINAL_STATUSES]),
        BulkActionsTable.c.timestamp < created_before,
    )
    connection.execute(delete(BackfillTagsTable).where(BackfillTagsTable.c.backfill_id.in_(old)))
    return connection.execute(delete(BulkActionsTable).where(BulkActionsTable.c.key.in_(old))).rowcount


def forget_partitions(connection: Connection, asset_key: AssetKey, partition_keys: Collection[str]) -> None:
    """Delete the events of an asset's partitions and their tags."""
    remaining = iter(partition_keys)
    while chunk := list(islice(remaining, MOST_VARIABLES)):
        of_chunk = select(events.c.id).where(events.c.asset_key == asset_key.to_string(), events.c.partition.in_(chunk))
        connection.execute(delete(event_tags).where(event_tags.c.event_id.in_(of_chunk)))
        connection.execute(delete(events).where(events.c.id.in_(of_chunk)))


def forget_planned_keys(connection: Connection, asset_key: AssetKey, is_forgotten: Callable[[str], bool]) -> int:
    """Take the partitions for which `is_forgotten` out of an asset's plans; how many keys were taken out."""
    plans = select(planned.c.event_id, planned.c.partition_keys).join(events, events.c.id == planned.c.event_id)
    taken = 0
    for event_id, packed in connection.execute(plans.where(events.c.asset_key == asset_key.to_string())).all():
        keys = unpack(packed)
        kept = {key for key in keys if not is_forgotten(key)}
        if len(kept) < len(keys):
            taken += len(keys) - len(kept)
            connection.execute(update(planned).where(planned.c.event_id == event_id).values(partition_keys=pack(kept)))
    return taken


def assets_of_run(connection: Connection, run_id: str) -> list[AssetKey]:
    """The assets that have events of a run."""
    query = select(events.c.asset_key).where(events.c.run_id == run_id, events.c.asset_key.is_not(None)).distinct()
    return [not_none(AssetKey.from_db_string(key)) for key in connection.execute(query).scalars()]


def refresh_assets(connection: Connection, asset_keys: Iterable[AssetKey]) -> None:
    """Let the assets' records name the latest materialization that is left, and their status caches be made anew.

    Ranges of which no event is left go: a trigger deletes those of a run with its plan, and a range without a run has
    none.
    """
    left = select(events.c.id).where(
        events.c.run_id == ranges.c.run_id,
        events.c.asset_key == ranges.c.asset_key,
        events.c.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value,
        events.c.id.between(ranges.c.first_event_id, ranges.c.last_event_id),
    )
    for asset_key in asset_keys:
        connection.execute(delete(ranges).where(ranges.c.asset_key == asset_key.to_string(), ~left.exists()))
        latest = connection.execute(
            select(events.c.id, events.c.event)
            .where(
                events.c.asset_key == asset_key.to_string(),
                events.c.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value,
            )
            .order_by(events.c.id.desc())
            .limit(1)
        )
        records = [EventLogRecord(row.id, deserialize_value(row.event, EventLogEntry)) for row in latest]
        record = next(map(serialize_value, whole(connection, records)), None)
        connection.execute(
            update(AssetKeyTable)
            .where(AssetKeyTable.c.asset_key == asset_key.to_string())
            .values(last_materialization=record, cached_status_data=None)
        )
