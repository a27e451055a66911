"""What is Postgres' own of our event log in it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from stockpick_assets.fine_partitions.postgres_storage import FinePartitionsPostgresStorage
from stockpick_assets_tests.fine_partitions.conftest import in_postgres, instance_on
from stockpick_assets_tests.fine_partitions.flows import FIRST, LAST, UPSTREAM, keys, run, statuses
from stockpick_assets_tests.fine_partitions.postgres import new_database

LATER = "2024-06-03 09:32|BBB"


def event_log_of(instance: dg.DagsterInstance) -> FinePartitionsPostgresStorage:
    event_log = instance.event_log_storage
    assert isinstance(event_log, FinePartitionsPostgresStorage)
    return event_log


def test_a_short_write_does_not_overtake_a_range_of_the_same_asset(ours_in_postgres: dg.DagsterInstance) -> None:
    event_log = event_log_of(ours_in_postgres)
    run(ours_in_postgres, first=LAST)
    (record,) = ours_in_postgres.fetch_materializations(UPSTREAM, limit=1).records
    assert record.asset_materialization is not None

    def report_later() -> None:
        ours_in_postgres.report_runless_asset_event(dg.AssetMaterialization(UPSTREAM, partition=LATER))

    with ThreadPoolExecutor(1) as pool:
        with event_log.asset_transaction([UPSTREAM]) as connection:
            ids = event_log.write_range(connection, record.event_log_entry, keys())
            short = pool.submit(report_later)
            with event_log.index_connection() as other:
                while not _waiting(other):
                    assert not short.done(), "it did not wait for the range"
            assert statuses(ours_in_postgres, UPSTREAM)["materialized"] == [LAST]
        short.result(timeout=30)

    (latest,) = ours_in_postgres.fetch_materializations(UPSTREAM, limit=1).records
    assert latest.storage_id > ids[-1]
    assert statuses(ours_in_postgres, UPSTREAM)["materialized"] == sorted([*keys(), LATER])


def _waiting(connection: Connection) -> bool:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return bool(connection.execute(waiting).scalar_one())


def test_two_assets_do_not_wait_for_each_other(ours_in_postgres: dg.DagsterInstance) -> None:
    with event_log_of(ours_in_postgres).asset_transaction([dg.AssetKey("another")]):
        assert run(ours_in_postgres).success


def test_text_that_copy_gives_a_meaning_is_kept(ours_in_postgres: dg.DagsterInstance) -> None:
    said = 'a tab\t, a line\n, a quote ", a backslash \\, \\N, \u2028 and é'
    event_log = event_log_of(ours_in_postgres)
    ours_in_postgres.report_runless_asset_event(dg.AssetMaterialization(UPSTREAM, description=said, partition=LAST))
    (record,) = ours_in_postgres.fetch_materializations(UPSTREAM, limit=1).records

    with event_log.asset_transaction([UPSTREAM]) as connection:
        event_log.write_range(connection, record.event_log_entry, [FIRST, said])

    written = ours_in_postgres.fetch_materializations(UPSTREAM, limit=2).records
    assert [record.partition_key for record in written] == [said, FIRST]
    assert [record.asset_materialization.description for record in written if record.asset_materialization] == [
        said
    ] * 2


def test_a_database_can_be_prepared_by_several_at_once(postgres: str) -> None:
    address = new_database(postgres)
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(FinePartitionsPostgresStorage, [address] * 4))

    for storage in storages:
        with storage.index_connection() as connection:
            assert connection.execute(text("SELECT count(*) FROM planned_partitions")).scalar_one() == 0
        storage.dispose()


def test_a_database_made_before_ranges_had_an_event_in_common_gets_their_table(postgres: str, tmp_path: Path) -> None:
    event_log = in_postgres(new_database(postgres))
    with instance_on(tmp_path / "home", event_log) as instance:
        run(instance)
        with event_log_of(instance).index_connection() as connection:
            connection.execute(text("DROP TABLE range_events"))

    with instance_on(tmp_path / "home", event_log) as instance:
        assert instance.get_materialized_partitions(UPSTREAM) == set(keys())
        instance.delete_run(run(instance).run_id)
        with event_log_of(instance).index_connection() as connection:
            assert connection.execute(text("SELECT count(*) FROM range_events")).scalar_one() == 0


def test_a_forked_process_opens_its_own_connection(ours_in_postgres: dg.DagsterInstance) -> None:
    event_log = event_log_of(ours_in_postgres)
    server_process = text("SELECT pg_backend_pid()")
    with event_log.index_connection() as connection:
        parents = connection.execute(server_process).scalar_one()

    child = os.fork()
    if child == 0:
        with event_log.index_connection() as connection:
            own = connection.execute(server_process).scalar_one()
        os._exit(0 if own != parents else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with event_log.index_connection() as connection:
        assert connection.execute(server_process).scalar_one() == parents


def test_a_plain_address_is_psycopg2s_and_another_driver_is_refused(postgres: str, tmp_path: Path) -> None:
    address = new_database(postgres)
    with instance_on(tmp_path / "home", in_postgres(address.replace("+psycopg2", ""))) as instance:
        assert event_log_of(instance).postgres_url.startswith("postgresql+psycopg2://")

    with pytest.raises(ValueError, match=r"cannot use postgresql\+psycopg: say postgresql\+psycopg2://"):
        FinePartitionsPostgresStorage(address.replace("psycopg2", "psycopg"))
