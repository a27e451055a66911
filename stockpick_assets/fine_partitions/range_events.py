"""What the materializations of a range have in common: kept once beside their rows, and given back as they are read.

For any SQL event log that has the `range_events` table. What does not belong here: how the rows of a range are written
(`range_rows`, `range_copy`), and one database's own ways.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from dagster import EventLogEntry, EventLogRecord
from dagster._check import not_none
from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER
from dagster._core.storage.tags import MULTIDIMENSIONAL_PARTITION_PREFIX
from dagster._serdes import deserialize_value, serialize_value
from sqlalchemy import BigInteger, Column, Insert, MetaData, String, Table, Text, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection

# SQLite binds at most 32,766 variables a statement.
_RUNS_A_QUERY = 5_000

_event_id = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

RangeEvents = Table(
    "range_events",
    MetaData(),
    Column("run_id", String(255), primary_key=True),
    Column("asset_key", Text, primary_key=True),
    Column("first_event_id", _event_id, primary_key=True, autoincrement=False),
    Column("last_event_id", _event_id, nullable=False),
    Column("event", Text, nullable=False),
)

ranges = RangeEvents


def of_one_partition(event: EventLogEntry) -> EventLogEntry:
    """`event`, a materialization, without what its range has in common: 0.9 kB remain of 2.7 to 3.2."""
    dagster_event = event.get_dagster_event()
    data = dagster_event.step_materialization_data
    own = data._replace(materialization=data.materialization._replace(metadata={}, tags={}))
    return event._replace(
        dagster_event=dagster_event._replace(event_specific_data=own, logging_tags={}, step_handle=None, pid=None)
    )


def insert_range_event(event: EventLogEntry, ids: range) -> Insert:
    """Inserts `event` for those rows of its run and asset whose id is between the ends of `ids`, both included."""
    return insert(ranges).values(
        run_id=event.run_id,
        asset_key=not_none(event.get_dagster_event().asset_key).to_string(),
        first_event_id=ids[0],
        last_event_id=ids[-1],
        event=serialize_value(event),
    )


def whole(connection: Connection, records: Sequence[EventLogRecord]) -> list[EventLogRecord]:
    """`records` of events of assets, each of a range with what it has in common with the others of it."""
    found: dict[tuple[str, str], list[tuple[range, EventLogEntry]]] = defaultdict(list)
    of_partitions = [record for record in records if record.partition_key]
    ids_of_partitions = [record.storage_id for record in of_partitions]
    asset_keys = {record.asset_key.to_string() for record in of_partitions if record.asset_key}
    run_ids = iter({record.run_id for record in of_partitions})
    while chunk := list(islice(run_ids, _RUNS_A_QUERY)):
        of_runs = select(ranges).where(
            ranges.c.run_id.in_(chunk),
            ranges.c.asset_key.in_(asset_keys),
            ranges.c.first_event_id <= max(ids_of_partitions),
            ranges.c.last_event_id >= min(ids_of_partitions),
        )
        for row in connection.execute(of_runs):
            ids = range(row.first_event_id, row.last_event_id + 1)
            found[row.run_id, row.asset_key].append((ids, deserialize_value(row.event, EventLogEntry)))

    def completed(record: EventLogRecord) -> EventLogRecord:
        if record.asset_key is None or record.partition_key is None:
            return record
        for ids, event in found[record.run_id, record.asset_key.to_string()]:
            if record.storage_id in ids:
                return record._replace(event_log_entry=_of_partition(event, record.partition_key))
        return record

    return [completed(record) for record in records] if found else list(records)


def _of_partition(event: EventLogEntry, partition_key: str) -> EventLogEntry:
    dagster_event = event.get_dagster_event()
    data = dagster_event.step_materialization_data
    tags = data.materialization.tags or {}
    # In the order that the dimensions' parts have in the key.
    dimensions = sorted(tag for tag in tags if tag.startswith(MULTIDIMENSIONAL_PARTITION_PREFIX))
    parts = partition_key.split(MULTIPARTITION_KEY_DELIMITER)
    own = data.materialization._replace(
        partition=partition_key, tags={**tags, **dict(zip(dimensions, parts, strict=False))}
    )
    return event._replace(dagster_event=dagster_event._replace(event_specific_data=data._replace(materialization=own)))
