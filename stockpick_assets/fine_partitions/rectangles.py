"""Partition keys of two dimensions as rectangles: a backfill's selection is then a run per rectangle.

What does not belong here: the expansion of a range into keys (`keys`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import NamedTuple

from dagster import MultiPartitionsDefinition, PartitionKeyRange, PartitionsDefinition
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset
from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER

RangesOfSubset = Callable[[DefaultPartitionsSubset, PartitionsDefinition], Sequence[PartitionKeyRange]]


class Rectangle(NamedTuple):
    """The cells (row, column) with `first_row <= row <= last_row` and `first_column <= column <= last_column`."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


def cover(cells: Iterable[tuple[int, int]]) -> list[Rectangle]:
    """Disjoint rectangles whose union is `cells`: runs of columns, joined while the next row has the same run.

    Both axes are tried and the shorter answer is given; a filled rectangle is one. The least number of rectangles is a
    matching problem and is not looked for.
    """
    cells = list(cells)
    by_row = _joined_runs(cells)
    if len(by_row) <= 1:
        return by_row
    by_column = [Rectangle(c0, c1, r0, r1) for r0, r1, c0, c1 in _joined_runs((column, row) for row, column in cells)]
    return by_row if len(by_row) <= len(by_column) else by_column


def _joined_runs(cells: Iterable[tuple[int, int]]) -> list[Rectangle]:
    columns_of: dict[int, list[int]] = {}
    for row, column in cells:
        columns_of.setdefault(row, []).append(column)
    joined: list[Rectangle] = []
    growing: dict[tuple[int, int], Rectangle] = {}
    for row in sorted(columns_of):
        grown: dict[tuple[int, int], Rectangle] = {}
        for run in _runs(sorted(set(columns_of[row]))):
            above = growing.pop(run, None)
            first_row = above.first_row if above is not None and above.last_row == row - 1 else row
            if above is not None and first_row == row:
                joined.append(above)
            grown[run] = Rectangle(first_row, row, *run)
        joined.extend(growing.values())
        growing = grown
    return joined + list(growing.values())


def _runs(ordered: Sequence[int]) -> Iterable[tuple[int, int]]:
    first = last = ordered[0]
    for value in ordered[1:]:
        if value != last + 1:
            yield first, last
            first = value
        last = value
    yield first, last


def ranges_as_rectangles(stock: RangesOfSubset) -> RangesOfSubset:
    """Stands for `DefaultPartitionsSubset.get_partition_key_ranges`.

    Stock holds each key of the smaller dimension constant: 100 tickers of one session are 100 ranges and so 100 runs,
    and `asset_partition_key_range` of an input or output of such a run raises. Keys the definition does not have are
    left out, as stock leaves them out.
    """

    @wraps(stock)
    def get_partition_key_ranges(
        self: DefaultPartitionsSubset, partitions_def: PartitionsDefinition
    ) -> Sequence[PartitionKeyRange]:
        if not isinstance(partitions_def, MultiPartitionsDefinition):
            return stock(self, partitions_def)
        rows, columns = (dimension.partitions_def.get_partition_keys() for dimension in partitions_def.partitions_defs)
        row_of = {key: row for row, key in enumerate(rows)}
        column_of = {key: column for column, key in enumerate(columns)}
        cells: list[tuple[int, int]] = []
        for key in self.subset:
            row_key, _, column_key = key.partition(MULTIPARTITION_KEY_DELIMITER)
            row, column = row_of.get(row_key), column_of.get(column_key)
            if row is not None and column is not None:
                cells.append((row, column))

        def corner(row: int, column: int) -> str:
            return partitions_def.get_partition_key_from_str(
                f"{rows[row]}{MULTIPARTITION_KEY_DELIMITER}{columns[column]}"
            )

        return [PartitionKeyRange(corner(r0, c0), corner(r1, c1)) for r0, r1, c0, c1 in sorted(cover(cells))]

    return get_partition_key_ranges
