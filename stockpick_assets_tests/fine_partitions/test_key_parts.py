"""Partitions are found to exist, and laid out as a matrix, as by Dagster's own methods."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset
from dagster_graphql.implementation.fetch_assets import get_2d_run_length_encoded_partitions
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.fine_partitions import install, remove
from stockpick_assets_tests.fine_partitions.flows import FIRST, LAST, MINUTES, PARTITIONS, TICKERS

NAMES = dg.StaticPartitionsDefinition(["x", "y", "z"])
# The dimension of time is the first of the matrix, wherever its name sorts; of two others it is the first by name.
MATRICES = {
    "time first": PARTITIONS,
    "time second": dg.MultiPartitionsDefinition({"a": NAMES, "b": MINUTES}),
    "no time": dg.MultiPartitionsDefinition({"a": NAMES, "b": dg.StaticPartitionsDefinition(TICKERS)}),
}
STATUSES = ["materialized", "failed", "in progress"]


@pytest.mark.parametrize(
    "keys", [{FIRST, LAST, "2024-06-03 09:29|AAA", "2024-06-03 09:30|CCC", "2024-06-03 09:30", "a|b|c"}, {"a"}, set()]
)
def test_stock_and_ours_agree_which_keys_exist(keys: set[str]) -> None:
    remove()
    expected = PARTITIONS.filter_valid_partition_keys(keys)
    install()

    assert PARTITIONS.filter_valid_partition_keys(keys) == expected


def test_a_dynamic_dimension_follows_the_instance() -> None:
    install()
    dynamic = dg.MultiPartitionsDefinition(
        {"a": dg.DynamicPartitionsDefinition(name="names"), "b": dg.StaticPartitionsDefinition(["x"])}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("names", ["one"])
        with partition_loading_context(dynamic_partitions_store=instance):
            assert dynamic.filter_valid_partition_keys({"one|x", "two|x"}) == {"one|x"}


Row = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def matrix(
    instance: dg.DagsterInstance, definition: dg.MultiPartitionsDefinition, keys: dict[str, set[str]]
) -> list[Row]:
    """What the partitions page is told: ranges of the first dimension, each with the statuses in the second."""
    subsets = [DefaultPartitionsSubset(keys.get(status)) for status in STATUSES]
    told = get_2d_run_length_encoded_partitions(instance, *subsets, definition)
    return [(vars(row) | {"secondaryDim": None}, vars(row.secondaryDim)) for row in told.ranges]


@pytest.mark.parametrize("name", MATRICES)
@settings(max_examples=30, deadline=None)
@given(statuses=st.lists(st.sampled_from([None, *STATUSES]), min_size=6, max_size=9))
def test_stock_and_ours_lay_out_the_same_matrix(
    instance: dg.DagsterInstance, name: str, statuses: list[str | None]
) -> None:
    definition = MATRICES[name]
    keys: dict[str, set[str]] = {}
    for key, status in zip(definition.get_partition_keys(), statuses, strict=False):
        if status is not None:
            keys.setdefault(status, set()).add(key)
    remove()
    expected = matrix(instance, definition, keys)
    install()

    assert matrix(instance, definition, keys) == expected


def test_a_partition_of_two_statuses_and_keys_that_do_not_exist_are_laid_out_as_by_stock(
    instance: dg.DagsterInstance,
) -> None:
    keys = {"materialized": {FIRST, LAST, "2024-06-03 09:29|AAA", "2024-06-03 09:30", "a|b|c"}, "failed": {LAST}}
    remove()
    expected = matrix(instance, PARTITIONS, keys)
    install()

    assert matrix(instance, PARTITIONS, keys) == expected
    assert [(row["primaryDimStartKey"], found["materializedPartitions"]) for row, found in expected] == [
        ("2024-06-03 09:30", ["AAA"]),
        ("2024-06-03 09:31", []),
    ]
