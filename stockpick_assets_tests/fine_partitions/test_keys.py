"""Ranges expand and keys exist as in Dagster's own methods."""

from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from stockpick_assets.fine_partitions import install, remove

MINUTES = dg.TimeWindowPartitionsDefinition(
    start="2024-06-03 15:58",
    end="2024-06-05 00:00",
    fmt="%Y-%m-%d %H:%M",
    cron_schedule="* 9-16 * * 1-5",
    timezone="America/New_York",
    exclusions=["0-29 9 * * 1-5", "* 16 * * 1-5", datetime(2024, 6, 4, 9, 31, tzinfo=ZoneInfo("America/New_York"))],
)
MORNINGS = dg.TimeWindowPartitionsDefinition(
    start="2024-06-03", end="2024-06-08", fmt="%Y-%m-%d", cron_schedule="0 7 * * 1-5", timezone="America/New_York"
)
# 01:00 to 02:00 of 3 November 2024 comes twice in New York.
AUTUMN = dg.HourlyPartitionsDefinition(
    start_date="2024-11-03-00:00", end_date="2024-11-03-05:00", timezone="America/New_York"
)
DEFINITION = dg.MultiPartitionsDefinition({"ticker": dg.StaticPartitionsDefinition(["A", "B"]), "minute": MINUTES})


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-06-03 15:59|A", "2024-06-04 09:32|B"),
        ("2024-06-04 09:30|B", "2024-06-04 09:30|B"),
        ("2024-06-04 09:30|B", "2024-06-04 09:32|A"),
    ],
)
def test_a_range_expands_to_stocks_keys_in_stocks_order(first: str, last: str) -> None:
    remove()
    expected = DEFINITION.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))
    install()

    keys = DEFINITION.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))

    assert keys == expected
    assert [_parts(key) for key in keys] == [_parts(key) for key in expected]


@pytest.mark.parametrize("tickers", [["A", "B"], []])
@pytest.mark.parametrize("now", [datetime(2024, 6, 4, 9, 31, 30, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)])
def test_all_keys_and_the_last_are_stocks(tickers: list[str], now: datetime) -> None:
    definition = dg.MultiPartitionsDefinition({"ticker": dg.StaticPartitionsDefinition(tickers), "minute": MINUTES})
    remove()
    with partition_loading_context(now):
        expected, last = definition.get_partition_keys(), definition.get_last_partition_key()
    install()

    with partition_loading_context(now):
        keys = definition.get_partition_keys()
        assert definition.get_last_partition_key() == last
    assert [_parts(key) for key in keys] == [_parts(key) for key in expected]


def test_an_expanded_range_is_the_callers_to_change() -> None:
    install()
    whole = dg.PartitionKeyRange("2024-06-03 15:58|A", "2024-06-03 15:59|B")
    expanded = DEFINITION.get_partition_keys_in_range(whole)
    assert isinstance(expanded, list)
    expanded.clear()

    assert len(DEFINITION.get_partition_keys_in_range(whole)) == 4


def test_a_range_with_a_dynamic_dimension_follows_the_instance() -> None:
    install()
    dynamic = dg.MultiPartitionsDefinition(
        {"a": dg.DynamicPartitionsDefinition(name="names"), "b": dg.StaticPartitionsDefinition(["x"])}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("names", ["one", "two"])
        whole = dg.PartitionKeyRange("one|x", "two|x")
        assert dynamic.get_partition_keys_in_range(whole, instance) == ["one|x", "two|x"]
        instance.delete_dynamic_partition("names", "two")
        instance.add_dynamic_partitions("names", ["new", "two"])
        assert dynamic.get_partition_keys_in_range(whole, instance) == ["one|x", "new|x", "two|x"]


@pytest.mark.parametrize(
    ("definition", "keys"),
    [
        (
            MINUTES,
            {
                "2024-06-03 15:57",
                "2024-06-03 15:58",
                "2024-06-03 16:00",
                "2024-06-04 09:29",
                "2024-06-04 09:30",
                "2024-06-04 09:31",
                "2024-06-04 15:59",
                "2024-06-05 09:30",
                "not a minute",
            },
        ),
        (MINUTES, {"2024-06-04 09:31"}),
        (MINUTES, {"not a minute"}),
        (MINUTES, set()),
        (MORNINGS, {"2024-06-02", "2024-06-03", "2024-06-07", "2024-06-08", "2024-06-10"}),
        (AUTUMN, {"2024-11-03-00:00", "2024-11-03-01:00", "2024-11-03-02:00", "2024-11-03-05:00"}),
    ],
)
def test_stock_and_ours_agree_which_keys_exist(definition: dg.TimeWindowPartitionsDefinition, keys: set[str]) -> None:
    remove()
    expected = definition.filter_valid_partition_keys(keys)
    install()

    assert definition.filter_valid_partition_keys(keys) == expected


def test_no_key_exists_before_a_window_has_ended() -> None:
    install()
    future = dg.HourlyPartitionsDefinition(start_date="2999-01-01-00:00")

    assert future.filter_valid_partition_keys({"2999-01-01-00:00"}) == set()


def _parts(key: str) -> Mapping[str, str]:
    assert isinstance(key, dg.MultiPartitionKey)
    return key.keys_by_dimension
