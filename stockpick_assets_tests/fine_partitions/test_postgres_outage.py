"""Runs and readers on our event log in Postgres while the server is away."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import EventLogEntry
from sqlalchemy.engine import URL, Connection, make_url

from stockpick_assets.fine_partitions.connections import ServerUnreachable
from stockpick_assets.fine_partitions.connections import logger as connection_logger
from stockpick_assets.fine_partitions.postgres_storage import FinePartitionsPostgresStorage
from stockpick_assets_tests.fine_partitions.conftest import in_postgres, instance_on
from stockpick_assets_tests.fine_partitions.flows import (
    DOWNSTREAM,
    FIRST,
    UPSTREAM,
    keys,
    materializations,
    materialized,
    run,
    statuses,
)
from stockpick_assets_tests.fine_partitions.postgres import Server, new_database, running_server
from stockpick_assets_tests.fine_partitions.test_connections import waits

MATERIALIZED = {"materialized": keys(), "failed": [], "in progress": []}


class Breaking(FinePartitionsPostgresStorage):
    """Its server dies, and comes back, within the first transaction that writes a range, once it `dies`."""

    dies: Server | None = None

    def write_range(self, connection: Connection, event: EventLogEntry, partition_keys: Sequence[str]) -> range:
        written = super().write_range(connection, event, partition_keys)
        if server := Breaking.dies:
            Breaking.dies = None
            server.stop()
            server.start()
        return written


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def instance(server: Server, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    event_log: dict[str, Any] = in_postgres(new_database(server.address))
    event_log |= {"module": __name__, "class": Breaking.__name__}
    with instance_on(tmp_path / "home", event_log) as instance:
        yield instance


@contextmanager
def away_until_it_is_missed(server: Server) -> Iterator[Future[None]]:
    """The server is away, and comes back once somebody waits for it."""
    with waits() as waited:

        def come_back() -> None:
            assert waited.wait(30), "nobody waited for the server"
            server.start()

        server.stop()
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(come_back)


def test_a_run_waits_for_a_server_that_is_away_and_goes_on(server: Server, instance: dg.DagsterInstance) -> None:
    back: list[Future[None]] = []

    def while_it_is_away(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with away_until_it_is_missed(server) as coming:
            back.append(coming)
            context.log.info("said while the server is away")
        return materialized(context)

    done = run(instance, upstream=while_it_is_away)
    assert done.success
    assert [coming.result() for coming in back] == [None]
    for asset in (UPSTREAM, DOWNSTREAM):
        assert statuses(instance, asset) == MATERIALIZED
        assert len(materializations(instance, asset, FIRST)) == 1
    said = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert said.count("said while the server is away") == 1


def test_a_transaction_that_breaks_fails_its_step_with_the_reason_and_is_healed_by_a_new_run(
    server: Server, instance: dg.DagsterInstance
) -> None:
    Breaking.dies = server
    broken = run(instance)
    assert not broken.success
    run_of_it = instance.get_run_by_id(broken.run_id)
    assert run_of_it is not None and run_of_it.status is dg.DagsterRunStatus.FAILURE
    failure = broken.failure_data_for_node("upstream")
    assert failure is not None and failure.error is not None
    assert "server closed the connection unexpectedly" in failure.error.to_string()
    assert statuses(instance, UPSTREAM) == {"materialized": [], "failed": keys(), "in progress": []}
    assert materializations(instance, UPSTREAM, FIRST) == []

    assert run(instance).success
    for asset in (UPSTREAM, DOWNSTREAM):
        assert statuses(instance, asset) == MATERIALIZED
        assert len(materializations(instance, asset, FIRST)) == 1


@pytest.mark.parametrize("reader", ["daemon", "webserver"])
def test_a_reader_does_not_notice_a_restart_between_two_questions(
    server: Server, instance: dg.DagsterInstance, reader: str
) -> None:
    if reader == "webserver":
        instance.optimize_for_webserver(statement_timeout=5000, pool_recycle=3600, max_overflow=20)
    assert run(instance).success
    assert instance.get_materialized_partitions(UPSTREAM) == set(keys())
    server.stop()
    server.start()
    assert instance.get_materialized_partitions(UPSTREAM) == set(keys())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url.set(username="nobody"), 'role "nobody" does not exist'),
        (lambda url: url.set(database="nothing"), 'database "nothing" does not exist'),
    ],
)
def test_a_server_that_refuses_is_not_waited_for(
    server: Server, change: Callable[[URL], URL], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = change(make_url(new_database(server.address))).render_as_string(hide_password=False)
    with pytest.raises(ServerUnreachable, match=f"refuses to be opened: .*{why}.*Correct the account"):
        FinePartitionsPostgresStorage(address)
    assert connection_logger.name not in {record.name for record in caplog.records}


def test_a_wrong_password_is_told_of_at_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    address = make_url(new_database(server.address)).set(password="wrong")
    with server.asking_for_passwords(), pytest.raises(ServerUnreachable, match="password authentication failed"):
        FinePartitionsPostgresStorage(address.render_as_string(hide_password=False))
    assert connection_logger.name not in {record.name for record in caplog.records}


def test_a_server_that_stays_away_is_told_of_after_the_patience(server: Server) -> None:
    storage = FinePartitionsPostgresStorage(new_database(server.address), patience_seconds=0.1)
    server.stop()
    try:
        with pytest.raises(ServerUnreachable, match=r"gave no connection for 0.1 s: .*patience_seconds"):
            storage.get_materialized_partitions(UPSTREAM)
    finally:
        server.start()
    assert storage.get_materialized_partitions(UPSTREAM) == set()
    storage.dispose()
