"""Our event log and Dagster's own are told one story, run by run, and asked the same questions after each chapter."""

import sqlite3
from pathlib import Path
from queue import Queue
from typing import Any

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from sqlalchemy import event, text

from stockpick_assets.fine_partitions import FinePartitionsSqliteStorage, install, remove
from stockpick_assets_tests.fine_partitions.conftest import OURS, STOCK, instance_on
from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    LAST,
    MIDDLE,
    UPSTREAM,
    about,
    keys,
    materialized,
    run,
    statuses,
)

Answers = dict[str, Any]
NEXT_MINUTE = ("2024-06-03 09:32|AAA", "2024-06-03 09:32|BBB")


def told_to(instance: dg.DagsterInstance) -> Answers:
    """What the instance answers after each chapter."""
    answers: Answers = {}
    first = run(instance).run_id
    answers["a range is materialized"] = about(instance, [first])

    second = run(instance, first=MIDDLE).run_id
    answers["a part of it again"] = about(instance, [first, second])

    instance.delete_run(second)
    for asset_key in (UPSTREAM, DOWNSTREAM):
        instance.event_log_storage.wipe_asset_cached_status(asset_key)
    answers["the second run is deleted"] = about(instance, [first])

    instance.wipe_assets([UPSTREAM, DOWNSTREAM])
    answers["the assets are wiped"] = {asset.path[0]: statuses(instance, asset) for asset in (UPSTREAM, DOWNSTREAM)}

    def fails_after_a_look(_context: dg.AssetExecutionContext) -> None:
        answers["a run is under way"] = {asset.path[0]: statuses(instance, asset) for asset in (UPSTREAM, DOWNSTREAM)}
        raise dg.Failure("the source did not answer")

    failed = run(instance, downstream=fails_after_a_look).run_id
    answers["it failed in the second asset"] = about(instance, [failed])

    one = run(instance, tags={"dagster/partition": MIDDLE}).run_id
    answers["one partition is redone by itself"] = about(instance, [failed, one])

    def with_own_metadata(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        for key in keys()[:2]:
            context.add_asset_metadata({"own": key}, partition_key=key)
        return materialized(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "2")
        batched = run(instance, upstream=with_own_metadata).run_id
    answers["partitions with metadata of their own, in batches"] = about(instance, [failed, one, batched])
    return answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, Answers]:
    """Ours and stock's."""
    folder = tmp_path_factory.mktemp("event_logs")
    with instance_on(folder / "stock", STOCK) as stock:
        remove()
        expected = told_to(stock)
    with instance_on(folder / "ours", OURS) as ours:
        install()
        return told_to(ours), expected


@pytest.mark.parametrize(
    "chapter",
    [
        "a range is materialized",
        "a part of it again",
        "the second run is deleted",
        "the assets are wiped",
        "a run is under way",
        "it failed in the second asset",
        "one partition is redone by itself",
        "partitions with metadata of their own, in batches",
    ],
)
def test_both_event_logs_answer_the_same_when(chapter: str, answers: tuple[Answers, Answers]) -> None:
    ours, stock = answers

    assert ours[chapter] == stock[chapter]


def test_each_partition_of_a_range_has_its_own_materialization(answers: tuple[Answers, Answers]) -> None:
    upstream = answers[0]["a range is materialized"]["upstream"]

    assert upstream["statuses"]["materialized"] == sorted(keys())
    (middle,) = upstream["details"][MIDDLE]
    assert middle["partition"] == MIDDLE
    assert middle["tags"]["dagster/partition/ticker"] == "AAA"
    assert middle["tags"]["grade"] == "good"
    assert middle["metadata"]["rows"].value == 12


def test_a_second_materialization_is_the_latest_until_its_run_is_deleted(answers: tuple[Answers, Answers]) -> None:
    again, deleted = answers[0]["a part of it again"], answers[0]["the second run is deleted"]

    assert [each["run"] for each in again["upstream"]["details"][MIDDLE]] == [1, 0]
    assert [each["run"] for each in again["upstream"]["details"][FIRST]] == [0]
    assert [each["run"] for each in deleted["upstream"]["details"][MIDDLE]] == [0]


def test_planned_partitions_are_in_progress_and_then_failed(answers: tuple[Answers, Answers]) -> None:
    under_way, failed = answers[0]["a run is under way"], answers[0]["it failed in the second asset"]
    redone = answers[0]["one partition is redone by itself"]

    assert under_way["downstream"]["in progress"] == sorted(keys())
    assert under_way["upstream"]["in progress"] == []
    assert failed["downstream"]["statuses"]["failed"] == sorted(keys())
    assert redone["downstream"]["statuses"]["failed"] == sorted(set(keys()) - {MIDDLE})


def test_metadata_of_one_partition_stays_its_own(answers: tuple[Answers, Answers]) -> None:
    details = answers[0]["partitions with metadata of their own, in batches"]["upstream"]["details"]

    assert details[FIRST][0]["metadata"]["own"].value == FIRST
    assert "own" not in details[LAST][0]["metadata"]


def test_a_runs_own_log_has_one_materialization_for_partitions_that_are_alike(ours: dg.DagsterInstance) -> None:
    finished = run(ours)

    records = ours.get_records_for_run(finished.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records

    assert [record.event_log_entry.get_dagster_event().message for record in records] == [
        f"Materialized 4 partitions of {name}, {FIRST} to {LAST}." for name in ("upstream", "downstream")
    ]
    assert [event.partition for event in finished.asset_materializations_for_node("upstream")] == [LAST]


def test_statuses_follow_the_run_after_a_deleted_one(ours: dg.DagsterInstance) -> None:
    deleted = run(ours)
    assert statuses(ours, UPSTREAM)["materialized"] == sorted(keys())
    last_deleted = max(_event_ids(ours))
    ours.delete_run(deleted.run_id)

    run(ours, *NEXT_MINUTE)

    assert min(_event_ids(ours)) > last_deleted
    assert set(NEXT_MINUTE) <= set(statuses(ours, UPSTREAM)["materialized"])


def test_a_run_of_more_materializations_than_sqlite_takes_variables_can_be_deleted(ours: dg.DagsterInstance) -> None:
    finished = run(ours)
    event_log = ours.event_log_storage
    assert isinstance(event_log, FinePartitionsSqliteStorage)
    for connected in (event_log.index_connection(), event_log.run_connection(finished.run_id)):
        with connected as connection:
            event.listen(connection.engine, "checkout", _take_seven_variables)

    ours.delete_run(finished.run_id)

    assert ours.get_materialized_partitions(UPSTREAM) == set()
    with event_log.index_connection() as connection:
        assert connection.execute(text("SELECT count(*) FROM planned_partitions")).scalar_one() == 0


def test_a_watched_run_is_told_of_an_event_while_its_writer_keeps_the_log_open(
    ours: dg.DagsterInstance, tmp_path: Path
) -> None:
    finished = run(ours)
    entries = [record.event_log_entry for record in ours.get_records_for_run(finished.run_id).records]
    writer, reader = FinePartitionsSqliteStorage(str(tmp_path)), FinePartitionsSqliteStorage(str(tmp_path))
    writer.store_event(entries[0])
    told: Queue[EventLogEntry] = Queue()
    reader.watch(finished.run_id, reader.get_records_for_run(finished.run_id).cursor, lambda event, _: told.put(event))

    writer.store_event(entries[1])

    assert told.get(timeout=30) == entries[1]
    reader.dispose()
    writer.dispose()


def test_everything_can_be_wiped_and_written_again(ours: dg.DagsterInstance) -> None:
    run(ours)
    ours.wipe()
    assert ours.get_materialized_partitions(UPSTREAM) == set()

    run(ours)

    assert ours.get_materialized_partitions(UPSTREAM) == set(keys())


def _take_seven_variables(connection: sqlite3.Connection, *_: object) -> None:
    """The run's eight materializations are one more than a statement may have variables."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 7)


def _event_ids(instance: dg.DagsterInstance) -> list[int]:
    return [record.storage_id for record in instance.fetch_materializations(UPSTREAM, limit=100).records]
