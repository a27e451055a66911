"""Partitions that left the window are forgotten, whatever became of them, and those that are in it stay."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.fine_partitions import forgetting
from stockpick_assets.fine_partitions.retention import Forgotten, forget_partitions_before, forget_runs_before
from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    MIDDLE,
    UPSTREAM,
    failing,
    keys,
    materializations,
    materialized,
    run,
    statuses,
)

SECOND_MINUTE = "2024-06-03 09:31"
KEPT = sorted(key for key in keys() if key >= SECOND_MINUTE)


@pytest.fixture(params=[1, 5_000], ids=["event by event", "at once"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(forgetting, "MOST_VARIABLES", request.param)
    return request.param


def test_materialized_and_failed_partitions_before_the_window_are_forgotten(
    ours: dg.DagsterInstance, chunk: int
) -> None:
    run(ours, downstream=failing)

    forgotten = forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], SECOND_MINUTE)

    assert forgotten == Forgotten(events=2, tags=2, planned_partitions=4)
    assert statuses(ours, UPSTREAM) == {"materialized": KEPT, "failed": [], "in progress": []}
    assert statuses(ours, DOWNSTREAM) == {"materialized": [], "failed": KEPT, "in progress": []}
    assert materializations(ours, UPSTREAM, FIRST) == []
    assert len(materializations(ours, UPSTREAM, MIDDLE)) == 1
    assert forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], SECOND_MINUTE) == Forgotten()


def test_an_asset_whose_last_materialization_is_forgotten_shows_the_one_before(ours: dg.DagsterInstance) -> None:
    kept = run(ours, first=MIDDLE).run_id
    run(ours, tags={"dagster/partition": FIRST})

    forget_partitions_before(ours, [UPSTREAM], SECOND_MINUTE)

    (record,) = ours.get_asset_records([UPSTREAM])
    latest = record.asset_entry.last_materialization_record
    assert latest is not None and latest.run_id == kept
    assert statuses(ours, UPSTREAM)["materialized"] == KEPT


def test_a_run_goes_on_while_partitions_are_forgotten(ours: dg.DagsterInstance) -> None:
    seen: list[dict[str, list[str]]] = []

    def forgets(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], SECOND_MINUTE)
        seen.append(statuses(ours, DOWNSTREAM))
        return materialized(context)

    assert run(ours, downstream=forgets).success
    assert seen == [{"materialized": [], "failed": [], "in progress": KEPT}]
    assert statuses(ours, UPSTREAM)["materialized"] == KEPT
    assert statuses(ours, DOWNSTREAM)["materialized"] == sorted(keys())


def test_old_runs_are_forgotten_and_unfinished_ones_are_not(ours: dg.DagsterInstance) -> None:
    counted: list[int] = []

    def forgets(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        counted.append(forget_runs_before(ours, datetime.now(UTC) + timedelta(hours=1)))
        return materialized(context)

    run(ours, first=MIDDLE)
    under_way = run(ours, downstream=forgets)

    assert under_way.success and counted == [1]
    assert [each.run_id for each in ours.get_runs()] == [under_way.run_id]
    assert forget_runs_before(ours, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert [each["run"] for each in materializations(ours, UPSTREAM, MIDDLE)] == [under_way.run_id]


def test_another_event_log_is_refused() -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(TypeError, match="InMemoryEventLogStorage"):
        forget_partitions_before(instance, [UPSTREAM], SECOND_MINUTE)
