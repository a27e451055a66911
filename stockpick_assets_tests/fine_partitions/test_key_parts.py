"""Keys are taken apart, and found to exist, as in Dagster's own methods."""

import dagster as dg
import pytest
from dagster._check import CheckError
from dagster._core.definitions.partitions.context import partition_loading_context

from stockpick_assets.fine_partitions import install, remove
from stockpick_assets_tests.fine_partitions.flows import FIRST, LAST, PARTITIONS


def test_a_key_of_text_has_stocks_parts() -> None:
    remove()
    expected = PARTITIONS.get_partition_key_from_str(FIRST)
    install()

    key = PARTITIONS.get_partition_key_from_str(FIRST)

    assert key == expected
    assert key.dimension_keys == expected.dimension_keys
    assert key.keys_by_dimension == {"minute": "2024-06-03 09:30", "ticker": "AAA"}


def test_text_of_another_form_is_refused_as_by_stock() -> None:
    install()

    with pytest.raises(CheckError, match="Expected 2 partition keys in partition key string 2024-06-03 09:30"):
        PARTITIONS.get_partition_key_from_str("2024-06-03 09:30")


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
