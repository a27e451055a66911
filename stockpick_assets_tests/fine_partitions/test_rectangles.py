"""A selection of two-dimensional partitions as rectangles."""

import dagster as dg
import pytest
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.fine_partitions import install
from stockpick_assets.fine_partitions.rectangles import Rectangle, cover
from stockpick_assets_tests.fine_partitions.flows import FIRST, LAST, PARTITIONS, QUIET, keys

cells = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)))


@pytest.fixture
def installed() -> None:
    """The overrides in place; the autouse fixture takes them out."""
    install()


def inside(rectangle: Rectangle) -> list[tuple[int, int]]:
    """The cells of a rectangle."""
    return [
        (row, column)
        for row in range(rectangle.first_row, rectangle.last_row + 1)
        for column in range(rectangle.first_column, rectangle.last_column + 1)
    ]


@given(cells)
def test_the_rectangles_of_a_selection_are_the_selection_and_disjoint(selection: set[tuple[int, int]]) -> None:
    covered = [cell for rectangle in cover(selection) for cell in inside(rectangle)]

    assert len(covered) == len(set(covered))
    assert set(covered) == selection


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 7), st.integers(0, 7))
def test_a_filled_rectangle_is_one(row: int, column: int, height: int, width: int) -> None:
    whole = Rectangle(row, row + height, column, column + width)

    assert cover(inside(whole)) == [whole]


def test_an_l_shape_is_two_rectangles_along_either_axis() -> None:
    tall = [(row, 0) for row in range(4)]
    foot = [(3, column) for column in range(1, 4)]

    assert len(cover(tall + foot)) == 2
    assert len(cover([(column, row) for row, column in tall + foot])) == 2


def test_the_ranges_of_a_subset_expand_to_the_subset(installed: None) -> None:
    whole = set(keys())
    ragged = whole - {FIRST}

    for selection, ranges in ((whole, 1), (ragged, 2)):
        found = DefaultPartitionsSubset(selection).get_partition_key_ranges(PARTITIONS)
        assert len(found) == ranges
        assert {str(key) for each in found for key in PARTITIONS.get_partition_keys_in_range(each)} == selection


def test_keys_the_definition_does_not_have_are_in_no_range(installed: None) -> None:
    unknown = DefaultPartitionsSubset({"2024-06-03 09:29|AAA", "2024-06-03 09:30|ZZZ", "09:30"})

    assert unknown.get_partition_key_ranges(PARTITIONS) == []


def test_a_definition_of_one_dimension_is_left_to_stock(installed: None) -> None:
    letters = dg.StaticPartitionsDefinition(["a", "b", "c", "d"])

    ranges = DefaultPartitionsSubset({"a", "b", "d"}).get_partition_key_ranges(letters)

    assert ranges == [dg.PartitionKeyRange("a", "b"), dg.PartitionKeyRange("d", "d")]


def test_an_io_manager_knows_the_range_of_its_output(ours: dg.DagsterInstance) -> None:
    seen: list[dg.PartitionKeyRange] = []

    class Looks(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            seen.append(context.asset_partition_key_range)

        def load_input(self, context: dg.InputContext) -> None:
            seen.append(context.asset_partition_key_range)

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    def first() -> int:
        return 1

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    def second(first: object) -> int:
        return 2

    finished = dg.materialize(
        [first, second],
        instance=ours,
        resources={"io_manager": Looks()},
        tags={"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST},
        run_config=QUIET,
    )

    assert finished.success
    assert seen == [dg.PartitionKeyRange(FIRST, LAST)] * 3
    assert ours.get_materialized_partitions(dg.AssetKey("first")) == set(keys())
