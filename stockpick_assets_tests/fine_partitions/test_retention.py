"""Partitions that left the window are forgotten, whatever became of them, and those that are in it stay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable
from dagster._core.storage.runs.schema import BackfillTagsTable, RunsTable, RunTagsTable, SnapshotsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from stockpick_assets.fine_partitions import forgetting, retention
from stockpick_assets.fine_partitions.plans import PlannedPartitions
from stockpick_assets.fine_partitions.range_events import RangeEvents
from stockpick_assets.fine_partitions.retention import (
    Forgotten,
    forget_backfills_before,
    forget_partitions_before,
    forget_runs_before,
)
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage, events
from stockpick_assets_tests.fine_partitions.conftest import OURS
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
AFTER = "2024-06-04"
KEPT = sorted(key for key in keys() if key >= SECOND_MINUTE)
SOON = datetime.now(UTC) + timedelta(hours=1)


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


def test_a_run_stays_as_long_as_a_partition_has_something_of_it(ours: dg.DagsterInstance) -> None:
    made = run(ours).run_id
    failed = run(ours, upstream=failing).run_id

    assert forget_runs_before(ours, SOON) == 0
    forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], SECOND_MINUTE)
    assert forget_runs_before(ours, SOON) == 0
    assert statuses(ours, UPSTREAM) == {"materialized": KEPT, "failed": KEPT, "in progress": []}

    forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)
    assert forget_runs_before(ours, SOON, most=1) == 1
    assert [each.run_id for each in ours.get_runs()] == [failed]
    assert forget_runs_before(ours, SOON) == 1
    assert not ours.all_logs(made) and not ours.all_logs(failed)


def test_a_run_that_is_not_finished_or_not_old_is_not_forgotten(ours: dg.DagsterInstance) -> None:
    counted: list[int] = []

    def forgets(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)
        counted.append(forget_runs_before(ours, SOON))
        return materialized(context)

    run(ours)
    under_way = run(ours, downstream=forgets)

    assert under_way.success and counted == [1]
    assert [each.run_id for each in ours.get_runs()] == [under_way.run_id]
    forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)
    assert forget_runs_before(ours, datetime.now(UTC) - timedelta(hours=1)) == 0


def test_with_its_last_run_a_snapshot_and_every_tag_go(ours: dg.DagsterInstance) -> None:
    runs = ours.run_storage
    assert isinstance(runs, SqlRunStorage)
    tables = (RunTagsTable, SnapshotsTable)

    def rows() -> list[int]:
        with runs.connect() as connection:
            return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

    run(ours)
    of_one = rows()
    run(ours, first=MIDDLE)
    assert rows()[1] == of_one[1]

    forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)
    assert forget_runs_before(ours, SOON, most=1) == 1
    assert rows() == of_one
    assert forget_runs_before(ours, SOON) == 1
    assert rows() == [0, 0]


def test_what_runs_leave_is_deleted_before_the_runs_after_them(
    ours: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, holds = ours.run_storage, forgetting.holds_partitions
    assert isinstance(runs, SqlRunStorage)
    first, second = run(ours).run_id, run(ours).run_id
    forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)

    def ended(connection: Connection, run_id: str) -> bool:
        if run_id == second:
            raise TimeoutError
        return holds(connection, run_id)

    monkeypatch.setattr(forgetting, "holds_partitions", ended)
    monkeypatch.setattr(retention, "RUNS_TOGETHER", 1)
    with pytest.raises(TimeoutError):
        forget_runs_before(ours, SOON)

    with runs.connect() as connection:
        assert set(connection.execute(select(RunTagsTable.c.run_id)).scalars()) == {second}
    assert ours.get_run_by_id(first) is None


def test_however_long_it_goes_on_no_table_grows(ours: dg.DagsterInstance) -> None:
    event_log, runs = ours.event_log_storage, ours.run_storage
    assert isinstance(event_log, FinePartitionsStorage) and isinstance(runs, SqlRunStorage)

    def rows() -> list[int]:
        counts: list[int] = []
        for connect, tables in (
            (event_log.index_connection, (events, AssetEventTagsTable, AssetKeyTable, PlannedPartitions, RangeEvents)),
            (runs.connect, (RunsTable, RunTagsTable, SnapshotsTable)),
        ):
            with connect() as connection:
                counts += [connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables]
        return counts

    left: list[list[int]] = []
    for _ in range(3):
        run(ours, downstream=failing)
        run(ours)
        with event_log.materializing(RUNLESS_RUN_ID, UPSTREAM, MIDDLE, [FIRST, MIDDLE]):
            ours.report_runless_asset_event(dg.AssetMaterialization(UPSTREAM, partition=MIDDLE))
        assert statuses(ours, UPSTREAM)["materialized"] == keys()
        forget_partitions_before(ours, [UPSTREAM, DOWNSTREAM], AFTER)
        assert forget_runs_before(ours, SOON) == 2
        left.append(rows())

    assert left[0] == left[1] == left[2]
    of_assets = 2
    assert sum(left[0]) == of_assets


def test_with_a_run_its_output_goes(tmp_path: Path) -> None:
    event_log = OURS | {"config": {"base_dir": str(tmp_path / "events")}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"event_log_storage": event_log}) as instance:
        made = run(instance, tags={"dagster/partition": FIRST}).run_id
        assert list((tmp_path / "storage" / made).rglob("*.err"))

        forget_partitions_before(instance, [UPSTREAM, DOWNSTREAM], AFTER)
        assert forget_runs_before(instance, SOON) == 1

        assert not (tmp_path / "storage" / made).exists()


def test_finished_backfills_go_and_others_stay(ours: dg.DagsterInstance) -> None:
    runs = ours.run_storage
    assert isinstance(runs, SqlRunStorage)
    for status in (BulkActionStatus.REQUESTED, BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.FAILED):
        ours.add_backfill(
            PartitionBackfill(
                backfill_id=status.value,
                partition_set_origin=None,
                status=status,
                from_failure=False,
                tags={"why": "test"},
                backfill_timestamp=datetime(2024, 6, 3, tzinfo=UTC).timestamp(),
            )
        )

    assert forget_backfills_before(ours, datetime(2024, 6, 2, tzinfo=UTC)) == 0
    assert forget_backfills_before(ours, datetime(2024, 6, 4, tzinfo=UTC)) == 2
    assert [backfill.backfill_id for backfill in ours.get_backfills()] == [BulkActionStatus.REQUESTED.value]
    with runs.connect() as connection:
        tagged = connection.execute(select(BackfillTagsTable.c.backfill_id)).scalars()
        assert set(tagged) == {BulkActionStatus.REQUESTED.value}


def test_another_event_log_is_refused_though_nothing_is_old() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(TypeError, match="InMemoryEventLogStorage"):
            forget_partitions_before(instance, [UPSTREAM], SECOND_MINUTE)
        with pytest.raises(TypeError, match="InMemoryEventLogStorage"):
            forget_runs_before(instance, SOON)
