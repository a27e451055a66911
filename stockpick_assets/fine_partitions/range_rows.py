"""One materialization as the rows of a range: SQLite writes a row per partition from one event's JSON.

What does not belong here: transactions, and which event stands for which range (`sqlite_storage`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import AssetKey
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
from sqlalchemy import Insert, func, insert, literal, select

events = SqlEventLogStorageTable
event_tags = AssetEventTagsTable

_PARTITION = "$.dagster_event.event_specific_data.materialization.partition"


def insert_range(row: Mapping[str, Any], partition_keys: Sequence[str]) -> Insert:
    """Inserts `row`, a materialization's, for each of `partition_keys` with its key; ids in order.

    SQLite makes the JSON of each row: 39,000 in C rather than in Python.
    """
    each = func.json_each(json.dumps(partition_keys)).table_valued("key", "value")
    key = each.c.value
    values = {name: literal(value, events.c[name].type) for name, value in row.items()}
    values |= {"event": func.json_set(row["event"], _PARTITION, key), "partition": key}
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
