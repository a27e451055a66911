"""Forgets partitions that left the window, old runs and backfills, in short transactions while others read and write.

What does not belong here: how events are deleted (`forgetting`), and when it is time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, RunsFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy import select

from stockpick_assets.fine_partitions import forgetting
from stockpick_assets.fine_partitions.storage import ASSET_EVENTS, FinePartitionsStorage

events = SqlEventLogStorageTable

# What is left of so many runs, 2 s of deleting, is all that a tick which is ended leaves behind.
RUNS_TOGETHER = 50


@dataclass(frozen=True)
class Forgotten:
    """How many events of partitions, tags of those events and planned partitions were deleted."""

    events: int = 0
    tags: int = 0
    planned_partitions: int = 0

    def __add__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(
            self.events + other.events, self.tags + other.tags, self.planned_partitions + other.planned_partitions
        )


def forget_partitions_before(instance: DagsterInstance, asset_keys: Iterable[AssetKey], first_kept: str) -> Forgotten:
    """Delete everything about those partitions of the assets whose keys sort before `first_kept`.

    Keys of two dimensions begin with the one whose name sorts first: `2024-06-03 09:30` as `first_kept` keeps
    `2024-06-03 09:30|AAA` and deletes the minutes before, of every ticker. A transaction is of at most
    `forgetting.MOST_VARIABLES` events of one asset. The own logs of runs keep what they have in SQLite, and in Postgres
    their one event for a range.

    Raises:
        TypeError: the instance's event log is not one of this package's.
    """
    event_log = _event_log(instance)
    forgotten = Forgotten()
    for asset_key in asset_keys:
        of_asset = Forgotten()
        for event_type in ASSET_EVENTS:
            of_asset += _forget_events(event_log, asset_key, event_type, first_kept)
        with event_log.asset_transaction([asset_key]) as connection:
            planned = forgetting.forget_planned_keys(connection, asset_key, lambda key: key < first_kept)
            of_asset += Forgotten(planned_partitions=planned)
            if of_asset != Forgotten():
                forgetting.refresh_assets(connection, [asset_key])
        forgotten += of_asset
    return forgotten


def _forget_events(
    event_log: FinePartitionsStorage, asset_key: AssetKey, event_type: DagsterEventType, first_kept: str
) -> Forgotten:
    # All of the asset's events are walked by id and compared here: a database may sort text by a language's rules, and
    # its index on partitions with it.
    forgotten, last_id = Forgotten(), 0
    of_asset = (
        select(events.c.id, events.c.partition)
        .where(events.c.asset_key == asset_key.to_string(), events.c.dagster_event_type == event_type.value)
        .order_by(events.c.id)
        .limit(forgetting.MOST_VARIABLES)
    )
    while True:
        with event_log.index_connection() as connection:
            page = connection.execute(of_asset.where(events.c.id > last_id)).all()
        if not page:
            return forgotten
        last_id = page[-1].id
        leaving = [event_id for event_id, partition in page if partition is not None and partition < first_kept]
        if leaving:
            with event_log.asset_transaction([asset_key]) as connection:
                deleted = forgetting.forget_events(connection, leaving)
            forgotten += Forgotten(deleted.events, deleted.tags)


def forget_runs_before(instance: DagsterInstance, created_before: datetime, most: int | None = None) -> int:
    """Delete finished runs created before a time, oldest first and `most` at a time; how many.

    A run stays as long as a partition has something of it: a materialization, an observation, or a plan that is the
    partition's status. With a run go its events, tags and captured output, and the snapshots of its job and plan that
    no other run has.

    Raises:
        TypeError: the instance's event log is not one of this package's.
    """
    event_log, runs = _event_log(instance), instance.run_storage
    run_ids = instance.get_run_ids(RunsFilter(statuses=list(FINISHED_STATUSES), created_before=created_before))
    deleted, count = islice(_delete_runs(instance, event_log, reversed(run_ids)), most), 0
    while together := list(islice(deleted, RUNS_TOGETHER)):
        count += len(together)
        if isinstance(runs, SqlRunStorage):
            with runs.connect() as connection:
                forgetting.forget_traces(connection, together)
    return count


def _delete_runs(
    instance: DagsterInstance, event_log: FinePartitionsStorage, run_ids: Iterable[str]
) -> Iterator[DagsterRun]:
    """The runs of which no partition has anything, each deleted when it is taken."""
    for run_id in run_ids:
        with event_log.index_connection() as connection:
            if forgetting.holds_partitions(connection, run_id):
                continue
        run = instance.get_run_by_id(run_id)
        if run is not None:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            yield run


def forget_backfills_before(instance: DagsterInstance, created_before: datetime) -> int:
    """Delete finished backfills created before a time, with their tags; how many. Their runs stay.

    0 where the runs are not in an SQL database.
    """
    if not isinstance(instance.run_storage, SqlRunStorage):
        return 0
    with instance.run_storage.connect() as connection:
        return forgetting.forget_backfills(connection, created_before)


def _event_log(instance: DagsterInstance) -> FinePartitionsStorage:
    event_log = instance.event_log_storage
    if not isinstance(event_log, FinePartitionsStorage):
        raise TypeError(
            f"partitions and runs can be forgotten in an event log of fine_partitions, and this instance's is a"
            f" {type(event_log).__name__}: name ours in dagster.yaml"
        )
    return event_log
