"""Our event logs and Dagster's own are told one story, run by run, and asked the same questions after each chapter."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.fine_partitions import install, remove
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage
from stockpick_assets_tests.fine_partitions.conftest import DATABASES, OURS, STOCK, in_postgres, instance_on
from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    LAST,
    MIDDLE,
    UPSTREAM,
    about,
    fails_at_first,
    keys,
    materializations,
    materialized,
    retry,
    run,
    statuses,
)
from stockpick_assets_tests.fine_partitions.postgres import new_database

Answers = dict[str, Any]
Reopen = Callable[[], dg.DagsterInstance]
NEXT_MINUTE = ("2024-06-03 09:32|AAA", "2024-06-03 09:32|BBB")


def of_both(instance: dg.DagsterInstance) -> dict[str, dict[str, list[str]]]:
    """The statuses of both assets."""
    return {asset.path[0]: statuses(instance, asset) for asset in (UPSTREAM, DOWNSTREAM)}


def told_to(instance: dg.DagsterInstance, reopen: Reopen) -> Answers:
    """What the instance answers after each chapter; `reopen` makes another one on the same storage."""
    answers: Answers = {}
    first = run(instance).run_id
    answers["a range is materialized"] = about(instance, [first])

    second = run(instance, first=MIDDLE).run_id
    answers["a part of it again"] = about(instance, [first, second])

    instance.delete_run(second)
    if not isinstance(instance.event_log_storage, FinePartitionsStorage):
        # Stock's status cache goes on showing the partitions of a deleted run.
        instance.wipe_asset_cached_status([UPSTREAM, DOWNSTREAM])
    answers["the second run is deleted"] = about(instance, [first])

    instance.wipe_assets([UPSTREAM, DOWNSTREAM])
    answers["the assets are wiped"] = of_both(instance)

    def fails_after_a_restart(_context: dg.AssetExecutionContext) -> None:
        answers["a run is under way"] = of_both(instance)
        instance.event_log_storage.dispose()
        with reopen() as reopened:
            answers["the storage is opened again in the middle"] = of_both(reopened)
        raise dg.Failure("the source did not answer")

    failed = run(instance, downstream=fails_after_a_restart).run_id
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

    broken = run(instance, *NEXT_MINUTE, downstream=fails_at_first).run_id
    retried = retry(instance, broken).run_id
    answers["a failed run is retried from its failure"] = about(instance, [failed, one, batched, broken, retried])

    instance.wipe_assets([UPSTREAM, DOWNSTREAM])
    together = Barrier(2, action=lambda: answers.update({"two runs are under way": of_both(instance)}))

    def beside_the_other(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        together.wait(timeout=60)
        return materialized(context)

    runs = [
        Thread(target=run, args=(instance, first, last), kwargs={"upstream": beside_the_other})
        for first, last in ((FIRST, LAST), NEXT_MINUTE)
    ]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    answers["two runs of one asset have ended"] = of_both(instance)
    return answers


@contextmanager
def told(folder: Path, event_log: dict[str, Any]) -> Iterator[Answers]:
    """The story, told to a new instance."""
    with instance_on(folder, event_log) as instance:
        yield told_to(instance, lambda: instance_on(folder, event_log))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What Dagster's own event log answers."""
    remove()
    with told(tmp_path_factory.mktemp("stock") / "home", STOCK) as answers:
        return answers


@pytest.fixture(scope="module", params=DATABASES)
def answers(request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What ours answers, in one database and the other."""
    install()
    event_log = OURS if request.param == "sqlite" else in_postgres(new_database(postgres))
    with told(tmp_path_factory.mktemp(request.param) / "home", event_log) as answers:
        return answers


@pytest.mark.parametrize(
    "chapter",
    [
        "a range is materialized",
        "a part of it again",
        "the second run is deleted",
        "the assets are wiped",
        "a run is under way",
        "the storage is opened again in the middle",
        "it failed in the second asset",
        "one partition is redone by itself",
        "partitions with metadata of their own, in batches",
        "a failed run is retried from its failure",
        "two runs are under way",
        "two runs of one asset have ended",
    ],
)
def test_both_event_logs_answer_the_same_when(chapter: str, stock: Answers, answers: Answers) -> None:
    assert answers[chapter] == stock[chapter]


@pytest.mark.parametrize("database", DATABASES)
def test_an_event_log_of_stocks_is_taken_over_and_given_back(database: str, postgres: str, tmp_path: Path) -> None:
    stocks, ours = STOCK, OURS
    if database == "postgres":
        ours = in_postgres(new_database(postgres))
        stocks = {**ours, "module": "dagster_postgres.event_log", "class": "PostgresEventLogStorage"}
    with instance_on(tmp_path / "home", stocks) as instance:
        remove()
        first = run(instance).run_id
    with instance_on(tmp_path / "home", ours) as instance:
        install()
        assert statuses(instance, UPSTREAM)["materialized"] == sorted(keys())
        second = run(instance).run_id
        assert [each["run"] for each in materializations(instance, UPSTREAM, MIDDLE)] == [second, first]
        instance.delete_run(second)
        third = run(instance).run_id
    with instance_on(tmp_path / "home", stocks) as instance:
        remove()
        of_ours, of_stock = materializations(instance, UPSTREAM, MIDDLE)
        assert [of_ours["run"], of_stock["run"]] == [third, first]
        assert [of_ours["partition"], of_ours["metadata"]] == [MIDDLE, {}]
        assert run(instance).success


def test_each_partition_of_a_range_has_its_own_materialization(answers: Answers) -> None:
    upstream = answers["a range is materialized"]["upstream"]

    assert upstream["statuses"]["materialized"] == sorted(keys())
    (middle,) = upstream["details"][MIDDLE]
    assert middle["partition"] == MIDDLE
    assert middle["tags"]["dagster/partition/ticker"] == "AAA"
    assert middle["tags"]["grade"] == "good"
    assert middle["metadata"]["rows"].value == 12


def test_a_second_materialization_is_the_latest_until_its_run_is_deleted(answers: Answers) -> None:
    again, deleted = answers["a part of it again"], answers["the second run is deleted"]

    assert [each["run"] for each in again["upstream"]["details"][MIDDLE]] == [1, 0]
    assert [each["run"] for each in again["upstream"]["details"][FIRST]] == [0]
    assert [each["run"] for each in deleted["upstream"]["details"][MIDDLE]] == [0]


def test_planned_partitions_are_in_progress_and_then_failed(answers: Answers) -> None:
    under_way, failed = answers["a run is under way"], answers["it failed in the second asset"]
    redone = answers["one partition is redone by itself"]

    assert under_way["downstream"]["in progress"] == sorted(keys())
    assert under_way["upstream"]["in progress"] == []
    assert failed["downstream"]["statuses"]["failed"] == sorted(keys())
    assert redone["downstream"]["statuses"]["failed"] == sorted(set(keys()) - {MIDDLE})


def test_metadata_of_one_partition_stays_its_own(answers: Answers) -> None:
    details = answers["partitions with metadata of their own, in batches"]["upstream"]["details"]

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


def test_everything_can_be_wiped_and_written_again(ours: dg.DagsterInstance) -> None:
    run(ours)
    ours.wipe()
    assert ours.get_materialized_partitions(UPSTREAM) == set()

    run(ours)

    assert ours.get_materialized_partitions(UPSTREAM) == set(keys())


def _event_ids(instance: dg.DagsterInstance) -> list[int]:
    return [record.storage_id for record in instance.fetch_materializations(UPSTREAM, limit=100).records]
