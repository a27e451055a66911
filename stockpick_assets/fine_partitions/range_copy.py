"""One materialization as the rows of a range: lines for Postgres' COPY, made from one event's JSON.

What does not belong here: transactions, and which event stands for which range (`storage`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "asset_key", "partition")
ROWS_A_COPY = 5_000

# NUL is a character that no text in Postgres holds.
_HOLE = "\0"


def copies(row: Mapping[str, Any], partition_keys: Sequence[str]) -> Iterator[str]:
    """Text of `COPY event_logs (COLUMNS) FROM STDIN` for `row`, a materialization's, as each of `partition_keys`.

    A text is of at most `ROWS_A_COPY` rows.
    """
    start, end = map(_escaped, _with_hole(row["event"]).split(json.dumps(_HOLE)))
    before = f"{_escaped(row['run_id'])}\t{start}"
    timestamp: datetime = row["timestamp"]
    after = f"{end}\t{row['dagster_event_type']}\t{timestamp.isoformat()}\t{_escaped(row['asset_key'])}\t"
    lines = (f"{before}{_escaped(json.dumps(key))}{after}{_escaped(key)}\n" for key in partition_keys)
    while copy := "".join(islice(lines, ROWS_A_COPY)):
        yield copy


def _with_hole(event: str) -> str:
    entry = json.loads(event)
    entry["dagster_event"]["event_specific_data"]["materialization"]["partition"] = _HOLE
    return json.dumps(entry, separators=(",", ":"))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
