"""A selection of partitions in stretches of time without a gap."""

from pathlib import Path

import dagster as dg
from dagster._core.definitions import automation_tick_evaluation_context
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.fine_partitions.stretches import stretches
from stockpick_assets_tests.fine_partitions.conftest import OURS, instance_on
from stockpick_assets_tests.fine_partitions.flows import PARTITIONS, keys

MINUTES = dg.TimeWindowPartitionsDefinition(
    start="2024-06-03 09:30",
    end="2024-06-06 00:00",
    fmt="%Y-%m-%d %H:%M",
    cron_schedule="* 9-10 * * *",
    timezone="America/New_York",
    exclusions=["0-57 9 * * *", "* 10 * * *"],
)
DAYS = dg.MultiPartitionsDefinition({"ticker": dg.StaticPartitionsDefinition(["AAA", "BBB"]), "minute": MINUTES})
EVERY = [str(key) for key in DAYS.get_partition_keys()]


def test_each_days_minutes_are_a_stretch_earliest_first() -> None:
    found = stretches(frozenset(EVERY), DAYS)
    assert [{key[:10] for key in stretch} for stretch in found] == [{"2024-06-03"}, {"2024-06-04"}, {"2024-06-05"}]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from([*EVERY, "2024-06-03 11:00|AAA"])))
def test_every_key_is_in_one_stretch(selection: set[str]) -> None:
    found = stretches(frozenset(selection), DAYS)
    assert sorted(key for stretch in found for key in stretch) == sorted(selection)


def test_switched_off_in_the_configuration_stocks_runs_are_made(tmp_path: Path) -> None:
    def runs() -> list[set[str]]:
        requests = automation_tick_evaluation_context._build_run_requests_with_backfill_policy(
            [dg.AssetKey("upstream")], [], dg.BackfillPolicy.single_run(), frozenset(EVERY), DAYS, {}, None
        )
        ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        return [{request.tags[end] for end in ends} for request in requests]

    for overrides, expected in ((True, 3), (False, 2)):
        with instance_on(tmp_path / str(overrides), {**OURS, "config": {"overrides": overrides}}):
            made = runs()
            assert len(made) == expected, made
            assert all(len({end[:10] for end in run}) == 1 for run in made) == overrides


def test_where_nothing_is_excluded_all_keys_are_one_stretch() -> None:
    assert stretches(frozenset(keys()), PARTITIONS) == [frozenset(keys())]
    letters = dg.StaticPartitionsDefinition(["a", "b"])
    assert stretches(frozenset({"a", "b"}), letters) == [frozenset({"a", "b"})]
