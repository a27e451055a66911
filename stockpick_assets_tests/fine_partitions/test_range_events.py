"""What the partitions of a range have in common is in the event log once, and in every answer about one of them."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.instance.utils import RUNLESS_RUN_ID
from sqlalchemy import func, select

from stockpick_assets.fine_partitions.range_events import RangeEvents
from stockpick_assets.fine_partitions.retention import forget_partitions_before
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage, events
from stockpick_assets_tests.fine_partitions.flows import FIRST, LAST, MIDDLE, UPSTREAM, keys, materializations, run


def event_log_of(instance: dg.DagsterInstance) -> FinePartitionsStorage:
    event_log = instance.event_log_storage
    assert isinstance(event_log, FinePartitionsStorage)
    return event_log


def runs_with_ranges(instance: dg.DagsterInstance) -> set[str]:
    with event_log_of(instance).index_connection() as connection:
        return set(connection.execute(select(RangeEvents.c.run_id)).scalars())


def test_a_rows_text_does_not_grow_with_the_metadata_of_its_range(ours: dg.DagsterInstance) -> None:
    def says_much(_context: dg.AssetExecutionContext) -> dg.MaterializeResult[object]:
        return dg.MaterializeResult(metadata={"said": "much " * 1_000}, tags={"grade": "good"})

    run(ours, upstream=says_much)

    of_upstream = select(func.max(func.length(events.c.event))).where(
        events.c.asset_key == UPSTREAM.to_string(), events.c.partition.is_not(None)
    )
    with event_log_of(ours).index_connection() as connection:
        assert connection.execute(of_upstream).scalar_one() < 1_000
    for key in keys():
        (said,) = materializations(ours, UPSTREAM, key)
        assert said["metadata"]["said"].value == "much " * 1_000
        assert said["tags"]["grade"] == "good"


def restore(instance: dg.DagsterInstance, partitions: Sequence[str], said: str = "restored") -> None:
    """One event without a run for all of the partitions."""
    with event_log_of(instance).materializing(RUNLESS_RUN_ID, UPSTREAM, partitions[-1], partitions):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(UPSTREAM, partition=partitions[-1], metadata={"said": said})
        )


def test_each_range_of_an_asset_keeps_its_own(ours: dg.DagsterInstance) -> None:
    restored = {MIDDLE: (FIRST, MIDDLE), LAST: (LAST, "2024-06-03 09:32|BBB")}
    for said, partitions in restored.items():
        restore(ours, partitions, said)

    found = {
        record.partition_key: record.asset_materialization.metadata["said"].value
        for record in ours.fetch_materializations(UPSTREAM, limit=10).records
        if record.asset_materialization
    }
    assert found == {key: said for said, partitions in restored.items() for key in partitions}


def test_the_partitions_of_a_range_that_are_not_wiped_stay_whole(ours: dg.DagsterInstance) -> None:
    run(ours)

    ours.wipe_asset_partitions(UPSTREAM, [FIRST, LAST])

    (middle,) = materializations(ours, UPSTREAM, MIDDLE)
    assert middle["metadata"]["rows"].value == 12
    latest = ours.get_latest_materialization_event(UPSTREAM)
    assert latest is not None and latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["rows"].value == 12
    assert latest.asset_materialization.tags is not None
    assert latest.asset_materialization.tags["dagster/partition/minute"] == MIDDLE.partition("|")[0]


def test_a_range_without_a_run_goes_with_the_last_of_its_partitions(ours: dg.DagsterInstance) -> None:
    made = run(ours).run_id
    restore(ours, [FIRST, MIDDLE])

    ours.wipe_asset_partitions(UPSTREAM, [FIRST])
    assert runs_with_ranges(ours) == {made, RUNLESS_RUN_ID}
    assert [each["metadata"].get("said") for each in materializations(ours, UPSTREAM, MIDDLE)] == [
        dg.TextMetadataValue("restored"),
        None,
    ]

    forget_partitions_before(ours, [UPSTREAM], LAST)
    assert runs_with_ranges(ours) == {made}


def test_nothing_is_left_of_a_range_without_a_run_when_everything_is_wiped(ours: dg.DagsterInstance) -> None:
    restore(ours, [FIRST, MIDDLE])

    ours.wipe()

    assert runs_with_ranges(ours) == set()


def test_a_deleted_run_takes_the_events_of_its_ranges_with_it(ours: dg.DagsterInstance) -> None:
    kept, deleted = run(ours).run_id, run(ours).run_id
    assert runs_with_ranges(ours) >= {kept, deleted}

    ours.delete_run(deleted)

    assert runs_with_ranges(ours) & {kept, deleted} == {kept}
