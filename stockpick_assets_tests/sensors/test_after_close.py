"""What is requested once a session is over, on a real ephemeral instance and a local folder."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from stockpick_assets.core.market_hours import MINUTE, Session, session_after, session_before
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.io_managers import commit_metadata
from stockpick_assets.jobs import jobs
from stockpick_assets.sensors.after_close import after_close_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION, scores
from stockpick_assets_tests.sensors.flows import FLOW, at, tables

FOLLOWING = session_after(SESSION)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path).store()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, store: Store) -> list[tuple[str | None, str | None]] | str | None:
    """The jobs and partitions that are requested a minute after the close; or why there are none."""
    resources = {"tables": tables(Path(store.root)), "now": at(SESSION.close + MINUTE)}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        answer = after_close_sensor(FLOW, jobs(FLOW))(context)
    assert isinstance(answer, dg.SensorResult)
    if answer.skip_reason:
        return answer.skip_reason.skip_message
    assert answer.run_requests
    return [(request.job_name, request.partition_key) for request in answer.run_requests]


def made(store: Store, table: str, session: object) -> None:
    row = {"session": session, "source": FLOW.source}
    store.append(table, pa.Table.from_pylist([row], schema=TABLES[table].columns), {})


def made_without_rows(store: Store, table: str, session: Session) -> None:
    label = session.label()
    metadata = commit_metadata("a-run", dg.PartitionKeyRange(label, label))
    store.replace(table, TABLES[table].empty(), f"session = '{label}'", metadata)


NEXT_UNIVERSE = ("universe", FOLLOWING.label())


def test_the_daily_work_waits_for_every_minute_and_each_part_for_the_one_before(
    instance: dg.DagsterInstance, store: Store
) -> None:
    made(store, "universe", FOLLOWING.date)
    assert tick(instance, store) == f"Session {SESSION.label()} still has minutes without an answer."
    store.append("scores", scores(390, tickers=TICKERS), {})
    for table, session in (
        ("training_set", SESSION),
        ("performance", SESSION),
        ("factors", FOLLOWING),
        ("return_model", FOLLOWING),
    ):
        assert tick(instance, store) == [(table, session.label())]
        made(store, table, session.date)
    assert tick(instance, store) == f"Session {SESSION.label()} has all that is made after its close."


def test_a_universe_that_cannot_be_made_keeps_nothing_else_from_being_made(
    instance: dg.DagsterInstance, store: Store
) -> None:
    assert tick(instance, store) == [NEXT_UNIVERSE], "it waits for no minute"
    store.append("scores", scores(390, tickers=TICKERS), {})
    assert tick(instance, store) == [NEXT_UNIVERSE, ("training_set", SESSION.label())]
    made(store, "training_set", SESSION.date)
    assert tick(instance, store) == [NEXT_UNIVERSE, ("performance", SESSION.label())]
    instance.add_run(dg.DagsterRun(job_name="universe", status=dg.DagsterRunStatus.STARTED))
    assert tick(instance, store) == [NEXT_UNIVERSE, ("performance", SESSION.label())]
    instance.add_run(dg.DagsterRun(job_name="performance", status=dg.DagsterRunStatus.STARTED))
    assert tick(instance, store) == [NEXT_UNIVERSE]
    made(store, "universe", FOLLOWING.date)
    assert tick(instance, store) == "A run of performance is at work."


def test_a_session_that_nothing_can_be_learnt_from_is_followed_by_the_factors_and_the_model_of_the_next(
    instance: dg.DagsterInstance, store: Store
) -> None:
    made(store, "universe", FOLLOWING.date)
    store.append("scores", scores(390, tickers=TICKERS), {})
    for table, session in (
        ("training_set", SESSION),
        ("performance", SESSION),
        ("factors", FOLLOWING),
        ("return_model", FOLLOWING),
    ):
        made_without_rows(store, table, session_before(session))
        assert tick(instance, store) == [(table, session.label())], "another session's commit is not its own"
        made_without_rows(store, table, session)
        store.compact(table, session.date)
    assert tick(instance, store) == f"Session {SESSION.label()} has all that is made after its close."
