"""One materialization as the rows of a range: lines for Postgres' COPY, made from one event's JSON.

What does not belong here: transactions, and which event stands for which range (`storage`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER

COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "asset_key", "partition")
ROWS_A_COPY = 5_000

# NUL is a character that no text in Postgres holds.
_HOLE = "\0{}"
_HOLES = re.compile(r'"\\u0000(\d)"')


def copies(row: Mapping[str, Any], dimensions: Sequence[str], partition_keys: Sequence[str]) -> Iterator[str]:
    """Text of `COPY event_logs (COLUMNS) FROM STDIN` for `row`, a materialization's, as each of `partition_keys`.

    `dimensions` are the tags that hold the parts of a key, two or none. A text is of at most `ROWS_A_COPY` rows.
    """
    pieces = _HOLES.split(_with_holes(row["event"], dimensions))
    texts, holes = [_escaped(piece) for piece in pieces[::2]], [int(hole) for hole in pieces[1::2]]
    before = f"{_escaped(row['run_id'])}\t"
    timestamp: datetime = row["timestamp"]
    after = f"\t{row['dagster_event_type']}\t{timestamp.isoformat()}\t{_escaped(row['asset_key'])}\t"

    def line(key: str) -> str:
        values = (_value(key), *map(_value, key.split(MULTIPARTITION_KEY_DELIMITER))) if dimensions else (_value(key),)
        event = "".join(part for text, hole in zip(texts, holes, strict=False) for part in (text, values[hole]))
        return f"{before}{event}{texts[-1]}{after}{_escaped(key)}\n"

    lines = map(line, partition_keys)
    while copy := "".join(islice(lines, ROWS_A_COPY)):
        yield copy


def _with_holes(event: str, dimensions: Sequence[str]) -> str:
    entry = json.loads(event)
    materialization = entry["dagster_event"]["event_specific_data"]["materialization"]
    materialization["partition"] = _HOLE.format(0)
    for number, tag in enumerate(dimensions, start=1):
        materialization["tags"][tag] = _HOLE.format(number)
    return json.dumps(entry, separators=(",", ":"))


# The parts of 39,000 keys are 490 texts.
@cache
def _value(text: str) -> str:
    return _escaped(json.dumps(text))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
