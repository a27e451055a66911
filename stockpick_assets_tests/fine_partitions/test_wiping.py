"""Partitions are wiped by the mutation of Dagster's web page, and an asset's page is right afterwards."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_graphql.schema import create_schema

from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    LAST,
    MIDDLE,
    UPSTREAM,
    definitions,
    failing,
    keys,
    materializations,
    run,
    statuses,
)

SERVED = definitions()

WIPE = """
mutation Wipe($ranges: [PartitionsByAssetSelector!]!) {
  wipeAssets(assetPartitionRanges: $ranges) {
    __typename
    ... on AssetWipeSuccess { assetPartitionRanges { assetKey { path } partitionRange { start end } } }
    ... on PythonError { message }
    ... on UnsupportedOperationError { message }
  }
}
"""
STATS = """
query Stats($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode { partitionStats { numMaterialized numFailed numMaterializing numPartitions } }
  }
}
"""


@contextmanager
def served(instance: dg.DagsterInstance) -> Iterator[Any]:
    """A function that answers a GraphQL request as the webserver does."""
    target = LoadableTargetOrigin(python_file=__file__, attribute="SERVED")
    location = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(target, location_name="served"))
    schema = create_schema()
    with WorkspaceProcessContext(instance, location) as process:

        def ask(request: str, **variables: Any) -> Any:
            context = process.create_request_context()
            answered = asyncio.run(schema.execute_async(request, context_value=context, variables=variables))
            assert not answered.errors, answered.errors
            return answered.data

        yield ask


def stats(ask: Any, asset_key: dg.AssetKey) -> dict[str, int]:
    """The counts on an asset's page."""
    return ask(STATS, asset={"path": asset_key.path})["assetNodeOrError"]["partitionStats"]


def test_a_range_is_wiped_by_the_web_pages_mutation(ours: dg.DagsterInstance) -> None:
    run(ours, downstream=failing)
    with served(ours) as ask:
        before = stats(ask, UPSTREAM), stats(ask, DOWNSTREAM)
        ranges = [
            {"assetKey": {"path": key.path}, "partitions": {"range": {"start": FIRST, "end": FIRST}}}
            for key in (UPSTREAM, DOWNSTREAM)
        ]
        answer = ask(WIPE, ranges=ranges)["wipeAssets"]
        after = stats(ask, UPSTREAM), stats(ask, DOWNSTREAM)

    assert answer["__typename"] == "AssetWipeSuccess", answer
    assert [(each["numMaterialized"], each["numFailed"]) for each in before] == [(4, 0), (0, 4)]
    assert [(each["numMaterialized"], each["numFailed"]) for each in after] == [(3, 0), (0, 3)]
    assert materializations(ours, UPSTREAM, FIRST) == []
    assert len(materializations(ours, UPSTREAM, MIDDLE)) == 1


def test_a_wiped_partition_can_be_materialized_again(ours: dg.DagsterInstance) -> None:
    run(ours)
    ours.wipe_asset_partitions(UPSTREAM, keys())
    assert statuses(ours, UPSTREAM)["materialized"] == []
    assert statuses(ours, DOWNSTREAM)["materialized"] == sorted(keys())

    again = run(ours, first=LAST).run_id

    assert statuses(ours, UPSTREAM)["materialized"] == [LAST]
    assert [each["run"] for each in materializations(ours, UPSTREAM, LAST)] == [again]


def test_an_asset_shows_the_materialization_before_the_wiped_one(ours: dg.DagsterInstance) -> None:
    kept = run(ours, first=MIDDLE).run_id
    run(ours, tags={"dagster/partition": FIRST})

    ours.wipe_asset_partitions(UPSTREAM, [FIRST])

    latest = ours.get_latest_materialization_event(UPSTREAM)
    assert latest is not None and latest.run_id == kept


def test_the_status_cache_forgets_a_deleted_run_by_itself(ours: dg.DagsterInstance) -> None:
    kept = run(ours, first=MIDDLE).run_id
    deleted = run(ours).run_id
    assert statuses(ours, UPSTREAM)["materialized"] == sorted(keys())

    ours.delete_run(deleted)

    assert statuses(ours, UPSTREAM)["materialized"] == keys(first=MIDDLE)
    latest = ours.get_latest_materialization_event(UPSTREAM)
    assert latest is not None and latest.run_id == kept
