"""Partition keys by the ten thousand: what a range expands to, and which of many keys exist.

What does not belong here: rectangles of a selection (`rectangles`), and anything stored.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache, wraps

from dagster import (
    DynamicPartitionsDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    PartitionKeyRange,
    TimeWindowPartitionsDefinition,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.utils.multi import (
    MULTIPARTITION_KEY_DELIMITER,
    PartitionDimensionDefinition,
    PartitionDimensionKey,
)
from dagster._core.instance import DynamicPartitionsStore
from dagster._time import dst_safe_strftime, dst_safe_strptime

KeysInRange = Callable[..., Sequence[str]]
Keys = Callable[..., Sequence[str]]
LastKey = Callable[[MultiPartitionsDefinition], str | None]
ValidKeys = Callable[[TimeWindowPartitionsDefinition, set[str]], AbstractSet[str]]


def expand_once(stock: KeysInRange) -> KeysInRange:
    """Stands for `MultiPartitionsDefinition.get_partition_keys_in_range`: the same keys in the same order.

    A run of five assets expands its range a dozen times at 0.45 s per 39,000 keys in stock, most of it garbage
    collection over the new keys, so the last ranges are kept. Neither a static nor a time-window dimension's range
    depends on the clock; a definition with a dynamic dimension is left to stock.
    """

    @wraps(stock)
    def get_partition_keys_in_range(
        self: MultiPartitionsDefinition, partition_key_range: PartitionKeyRange, dynamic_partitions_store: object = None
    ) -> Sequence[str]:
        if any(_is_dynamic(dim) for dim in self.partitions_defs):
            return stock(self, partition_key_range, dynamic_partitions_store)
        return list(_rectangle_keys(self, str(partition_key_range.start), str(partition_key_range.end)))

    return get_partition_keys_in_range


# Two: a run's own range and that of an upstream with another definition. 195,000 keys are about 60 MB.
@lru_cache(maxsize=2)
def _rectangle_keys(definition: MultiPartitionsDefinition, start: str, end: str) -> tuple[MultiPartitionKey, ...]:
    corners = [definition.get_partition_key_from_str(corner).keys_by_dimension for corner in (start, end)]
    first, second = (
        [
            PartitionDimensionKey(dim.name, key)
            for key in dim.partitions_def.get_partition_keys_in_range(
                PartitionKeyRange(corners[0][dim.name], corners[1][dim.name])
            )
        ]
        for dim in definition.partitions_defs
    )
    return tuple(_key(one, other) for one in first for other in second)


def _key(first: PartitionDimensionKey, second: PartitionDimensionKey) -> MultiPartitionKey:
    """A key of parts that were checked already; the class's own constructor checks them again for each key (4.6 us)."""
    key = str.__new__(MultiPartitionKey, f"{first.partition_key}{MULTIPARTITION_KEY_DELIMITER}{second.partition_key}")
    key.dimension_keys = [first, second]
    return key


def list_once(stock: Keys) -> Keys:
    """Stands for `MultiPartitionsDefinition.get_partition_keys`: the same keys in the same order.

    Dagster's backfill daemon asks for all keys of each asset whenever it looks at a backfill, each 30 s: for 195,000,
    2.1 s an asset in stock, and here 0.7 s the first time and then 0.02 s. Between the first key of each dimension and
    the last they are one range. A definition with a dynamic dimension is left to stock.
    """

    @wraps(stock)
    def get_partition_keys(
        self: MultiPartitionsDefinition,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> Sequence[str]:
        with partition_loading_context(current_time, dynamic_partitions_store):
            ends = (
                _one_of_each(self, "get_first_partition_key"),
                _one_of_each(self, "get_last_partition_key"),
            )
            if ends[0] is None or ends[1] is None:
                return stock(self, current_time, dynamic_partitions_store)
            return list(_rectangle_keys(self, str(ends[0]), str(ends[1])))

    return get_partition_keys


def last_of_each(stock: LastKey) -> LastKey:
    """Stands for `get_last_partition_key` of a multi-partitions definition: the same key.

    Stock makes every key to take the last, 2.9 s for 118,000, and a run asks four times for the two inputs of an asset
    that reads them through a `LastPartitionMapping`.
    """

    @wraps(stock)
    def get_last_partition_key(self: MultiPartitionsDefinition) -> str | None:
        return _one_of_each(self, "get_last_partition_key") or stock(self)

    return get_last_partition_key


def _one_of_each(definition: MultiPartitionsDefinition, method: str) -> MultiPartitionKey | None:
    """The key made of what `method` of each dimension answers; None where stock has to say."""
    keys: dict[str, str] = {}
    for dim in definition.partitions_defs:
        key = getattr(dim.partitions_def, method)()
        if key is None or MULTIPARTITION_KEY_DELIMITER in key or _is_dynamic(dim):
            return None
        keys[dim.name] = key
    return MultiPartitionKey(keys)


def _is_dynamic(dim: PartitionDimensionDefinition) -> bool:
    return isinstance(dim.partitions_def, DynamicPartitionsDefinition)


def list_between(stock: ValidKeys) -> ValidKeys:
    """Stands for `PartitionsDefinition.filter_valid_partition_keys` of a time-window definition.

    Stock asks each key by itself, 23 to 35 ms of cron arithmetic with exclusions: 9 s for the 390 minutes of a session.
    Here the windows between the earliest and the latest of the keys are listed once, by the definition's own iterator.
    """

    @wraps(stock)
    def filter_valid_partition_keys(self: TimeWindowPartitionsDefinition, partition_keys: set[str]) -> AbstractSet[str]:
        parsed = [start for start in (_parsed(self, key) for key in partition_keys) if start is not None]
        first, last = self.get_first_partition_window(), self.get_last_partition_window()
        if not parsed or first is None or last is None:
            return set()
        # A key may name less than its window's start ("2026-11-16" of a window from 07:00): its window is the next one.
        end = min(self.start_time_for_partition_key(max(parsed)[1]).timestamp(), last.start.timestamp())
        existing: set[str] = set()
        for window in self._iterate_time_windows(max(min(parsed)[0], first.start.timestamp())):
            if window.start.timestamp() > end:
                break
            existing.add(dst_safe_strftime(window.start, self.timezone, self.fmt, self.cron_schedule))
        return {key for key in partition_keys if key in existing}

    return filter_valid_partition_keys


def _parsed(definition: TimeWindowPartitionsDefinition, key: str) -> tuple[float, str] | None:
    try:
        return dst_safe_strptime(key, definition.timezone, definition.fmt).timestamp(), key
    except ValueError:
        return None
