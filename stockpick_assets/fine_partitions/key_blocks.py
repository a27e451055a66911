"""A set of partition keys as text: blocks, each the product of its axes, so that 39,000 keys of a session are 9 kB.

What does not belong here: where the text is stored.
"""

import json
from collections.abc import Iterable
from itertools import product

from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER

Block = list[list[str]]


def pack(keys: Iterable[str]) -> str:
    """JSON of blocks whose products are `keys`; keys of one dimension are one block of one axis."""
    columns_of: dict[str, list[str]] = {}
    single: list[str] = []
    for key in sorted(keys):
        parts = key.split(MULTIPARTITION_KEY_DELIMITER)
        if len(parts) == 2:
            columns_of.setdefault(parts[0], []).append(parts[1])
        else:
            single.append(key)
    rows_of: dict[tuple[str, ...], list[str]] = {}
    for row, columns in columns_of.items():
        rows_of.setdefault(tuple(columns), []).append(row)
    blocks: list[Block] = [[rows, list(columns)] for columns, rows in rows_of.items()]
    return json.dumps([*blocks, [single]] if single else blocks, separators=(",", ":"))


def unpack(packed: str) -> set[str]:
    """The keys that were packed."""
    blocks: list[Block] = json.loads(packed)
    return {MULTIPARTITION_KEY_DELIMITER.join(parts) for block in blocks for parts in product(*block)}


def holds(packed: str, key: str) -> bool:
    """Whether `key` is one of the packed keys, without building them."""
    parts = key.split(MULTIPARTITION_KEY_DELIMITER)
    blocks: list[Block] = json.loads(packed)
    return any(
        key in block[0] if len(block) == 1 else len(parts) == 2 and parts[0] in block[0] and parts[1] in block[1]
        for block in blocks
    )
