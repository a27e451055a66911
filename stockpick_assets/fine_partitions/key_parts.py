"""Keys of two dimensions by their parts: what an asset's page asks of each of its materialized partitions.

What does not belong here: the keys of a definition or of a range (`keys`).
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import lru_cache, wraps

from dagster import MultiPartitionKey, MultiPartitionsDefinition
from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER, PartitionDimensionKey

KeyOfText = Callable[[MultiPartitionsDefinition, str], MultiPartitionKey]
ValidKeys = Callable[[MultiPartitionsDefinition, set[str]], AbstractSet[str]]


def key_of_parts(stock: KeyOfText) -> KeyOfText:
    """Stands for `MultiPartitionsDefinition.get_partition_key_from_str`: the same key, or stock's refusal.

    The matrix of an asset's page asks for each materialized partition: 195,000 keys checked part by part are 0.35 s.
    """

    @wraps(stock)
    def get_partition_key_from_str(self: MultiPartitionsDefinition, partition_key_str: str) -> MultiPartitionKey:
        parts = partition_key_str.split(MULTIPARTITION_KEY_DELIMITER)
        if len(parts) != len(self.partitions_defs):
            return stock(self, partition_key_str)
        key = str.__new__(MultiPartitionKey, partition_key_str)
        key.dimension_keys = [_part(dim.name, part) for dim, part in zip(self.partitions_defs, parts, strict=True)]
        return key

    return get_partition_key_from_str


# A window's 1,950 minutes and its tickers.
@lru_cache(maxsize=8_192)
def _part(dimension_name: str, partition_key: str) -> PartitionDimensionKey:
    return PartitionDimensionKey(dimension_name, partition_key)


def valid_parts(stock: ValidKeys) -> ValidKeys:
    """Stands for `MultiPartitionsDefinition.filter_valid_partition_keys`: those of the keys that exist, as they are.

    The status cache asks for all materialized partitions when it is made anew, and serializes the answer. Stock makes
    a `MultiPartitionKey` of each and looks its parts up through a mapping made for it: 2.6 s for 195,000.
    """

    @wraps(stock)
    def filter_valid_partition_keys(self: MultiPartitionsDefinition, partition_keys: set[str]) -> AbstractSet[str]:
        split = {key: parts for key in partition_keys if len(parts := key.split(MULTIPARTITION_KEY_DELIMITER)) == 2}
        if not split:
            return set()
        firsts, seconds = (
            dim.partitions_def.filter_valid_partition_keys({parts[number] for parts in split.values()})
            for number, dim in enumerate(self.partitions_defs)
        )
        return {key for key, (first, second) in split.items() if first in firsts and second in seconds}

    return filter_valid_partition_keys
