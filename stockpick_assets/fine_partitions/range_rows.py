"""One materialization as the rows of a range: SQLite writes a row per partition from one event's JSON.

What does not belong here: transactions, and which event stands for which range (`sqlite_storage`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import AssetKey, EventLogEntry
from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
from dagster._core.storage.tags import MULTIDIMENSIONAL_PARTITION_PREFIX
from sqlalchemy import Insert, func, insert, literal, select

events = SqlEventLogStorageTable
event_tags = AssetEventTagsTable

_MATERIALIZATION = "$.dagster_event.event_specific_data.materialization"


def without_repetition(event: EventLogEntry) -> EventLogEntry:
    """`event` without what the run's own log has and no answer about a partition shows: a quarter of 1.6 kB."""
    return event._replace(dagster_event=event.get_dagster_event()._replace(logging_tags={}, step_handle=None, pid=None))


def dimension_tags(event: EventLogEntry) -> list[str]:
    """The tags of a materialization that hold its partition's parts, in the order the parts have in the key."""
    tags = event.get_dagster_event().step_materialization_data.materialization.tags or {}
    return sorted(tag for tag in tags if tag.startswith(MULTIDIMENSIONAL_PARTITION_PREFIX))


def insert_range(row: Mapping[str, Any], dimensions: Sequence[str], partition_keys: Sequence[str]) -> Insert:
    """Inserts `row`, a materialization's, for each of `partition_keys` with its key and dimension tags; ids in order.

    SQLite makes the JSON of each row: 39,000 in C rather than in Python. `dimensions` are two, or none for keys of one
    dimension.
    """
    each = func.json_each(json.dumps(partition_keys)).table_valued("key", "value")
    key = each.c.value
    end_of_first = func.instr(key, MULTIPARTITION_KEY_DELIMITER)
    parts = (func.substr(key, 1, end_of_first - 1), func.substr(key, end_of_first + 1))
    places = [f"{_MATERIALIZATION}.partition", key]
    for tag, part in zip(dimensions, parts, strict=bool(dimensions)):
        places += [f'{_MATERIALIZATION}.tags."{tag}"', part]
    values = {name: literal(value, events.c[name].type) for name, value in row.items()}
    values |= {"event": func.json_set(row["event"], *places), "partition": key}
    return insert(events).from_select(list(values), select(*values.values()).order_by(each.c.key))


def insert_tags(tags: Mapping[str, str], run_id: str, asset_key: AssetKey, ids: range) -> list[Insert]:
    """Inserts `tags` for each event of a run and an asset whose id is between the ends of `ids`, both included."""
    columns = [event_tags.c[name] for name in ("event_id", "asset_key", "key", "value", "event_timestamp")]
    return [
        insert(event_tags).from_select(
            columns,
            select(events.c.id, events.c.asset_key, literal(tag), literal(value), events.c.timestamp).where(
                events.c.id.between(ids[0], ids[-1]),
                events.c.run_id == run_id,
                events.c.asset_key == asset_key.to_string(),
            ),
        )
        for tag, value in tags.items()
    ]
