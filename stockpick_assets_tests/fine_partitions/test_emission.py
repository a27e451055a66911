"""What a step over a range emits beside materializations that are alike."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from stockpick_assets_tests.fine_partitions.flows import (
    FIRST,
    LAST,
    PARTITIONS,
    QUIET,
    UPSTREAM,
    keys,
    materialized,
    run,
)

OF_RANGE = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}


def test_an_observed_range_keeps_an_observation_of_each_partition(ours: dg.DagsterInstance) -> None:
    @dg.multi_observable_source_asset(specs=[dg.AssetSpec("seen", partitions_def=PARTITIONS)])
    def seen() -> Iterator[dg.ObserveResult]:
        yield dg.ObserveResult(asset_key="seen", metadata={"rows": 3})

    finished = (
        dg.Definitions(
            assets=[seen], jobs=[dg.define_asset_job("observe", [dg.AssetKey("seen")])], executor=dg.in_process_executor
        )
        .resolve_job_def("observe")
        .execute_in_process(instance=ours, tags=OF_RANGE, run_config=QUIET)
    )

    assert finished.success
    observed = [record.partition_key for record in ours.fetch_observations(dg.AssetKey("seen"), limit=10).records]
    assert sorted(observed, key=str) == sorted(keys())


def test_a_multi_asset_materializes_the_range_of_each_of_its_assets(ours: dg.DagsterInstance) -> None:
    names = ["left", "right"]

    @dg.multi_asset(specs=[dg.AssetSpec(name, partitions_def=PARTITIONS) for name in names])
    def both() -> Iterator[dg.MaterializeResult[Any]]:
        for name in names:
            yield dg.MaterializeResult(asset_key=name)

    assert dg.materialize([both], instance=ours, tags=OF_RANGE, run_config=QUIET).success
    for name in names:
        assert ours.get_materialized_partitions(dg.AssetKey(name)) == set(keys())


def test_a_materialization_an_asset_reports_itself_stands_for_its_partition_only(ours: dg.DagsterInstance) -> None:
    def reports(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        context.log_event(dg.AssetMaterialization("elsewhere", partition=LAST))
        return materialized(context)

    assert run(ours, upstream=reports).success
    assert ours.get_materialized_partitions(dg.AssetKey("elsewhere")) == {LAST}
    assert ours.get_materialized_partitions(UPSTREAM) == set(keys())
