"""What runs of a backfill leave behind: in the tables, in Dagster's account, and to be done again.

On a real instance, with assets that compute nothing.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psutil
import pyarrow as pa
import pytest
import yaml
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration

from stockpick_assets.backfill import (
    PROCESS,
    BackfillFailed,
    Step,
    fail_runs_left_behind,
    missing,
    plan,
    run,
)
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import SCORES, TABLES
from stockpick_assets.fine_partitions import remove
from stockpick_assets.io_managers import Bounds
from stockpick_assets.jobs import BACKFILL, FACTORS, FLOW, PERFORMANCE, RETURN_MODEL, TRAINING_SET
from stockpick_assets.store import Store, TableMissing
from stockpick_assets_tests import null_flow
from stockpick_assets_tests.null_flow import NULL_FLOW, SESSIONS, TICKERS, Told, marked, rows

FIRST, SECOND = SESSIONS
WINDOW = NULL_FLOW.window
# Enough for every selection below; a whole session would only take longer.
HOUR = WINDOW.select(SECOND.open, SECOND.open + 59 * MINUTE)
STEP = Step(BACKFILL, "an hour", FLOW, selection=HOUR)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class InThisProcess(WorkspaceLoadTarget):
    """The definitions of null_flow, without a code server."""

    def create_origins(self) -> Sequence[InProcessCodeLocationOrigin]:
        target = LoadableTargetOrigin(executable_path=sys.executable, module_name=null_flow.__name__)
        return [InProcessCodeLocationOrigin(target, location_name="test")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Told.anew(tmp_path / "tables")


def configuration(folder: Path) -> dict[str, Any]:
    """The event log of dagster.yaml, and runs that are launched in this process, one after the other."""
    return {
        "event_log_storage": {
            "module": "stockpick_assets.fine_partitions",
            "class": "FinePartitionsSqliteStorage",
            "config": {"base_dir": str(folder / "events")},
        },
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "run_launcher": {
            "module": "dagster._core.launcher.sync_in_memory_run_launcher",
            "class": "SyncInMemoryRunLauncher",
        },
    }


@contextmanager
def opened(folder: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of that folder."""
    folder.mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder), overrides=configuration(folder)) as instance:
        yield instance
    remove()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with opened(tmp_path / "dagster") as instance:
        yield instance


def at_work(instance: dg.DagsterInstance, tags: Mapping[str, str], run_id: str | None = None) -> None:
    """A run that has started, somewhere."""
    job = null_flow.backfill_job()
    instance.create_run_for_job(job, run_id=run_id, tags=tags, status=dg.DagsterRunStatus.STARTED)


def run_to_death(folder: str) -> None:
    """What the process of `test_a_run_whose_process_was_killed...` does."""
    Told.anew(Path(folder) / "tables")
    Told.instead["predictions"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    with opened(Path(folder) / "dagster") as instance:
        do(instance, STEP)


def do(instance: dg.DagsterInstance, step: Step) -> list[str]:
    done: list[str] = []
    run(null_flow.defs(), instance, step, done.append)
    return done


def with_mark(store: Store, table: str, mark: float) -> set[tuple[datetime, str]]:
    """The rows of a table that were written with that mark."""
    try:
        rows = store.read(table).to_pylist()
    except TableMissing:
        return set()
    return {(row["minute"], row["ticker"]) for row in rows if row[marked(table)] == mark}


def cells(first: int, last: int, *tickers: str) -> set[tuple[datetime, str]]:
    """The partitions of the second session from one minute's number to another."""
    return {(SECOND.open + number * MINUTE, ticker) for number in range(first, last + 1) for ticker in tickers}


def key(cell: tuple[datetime, str]) -> str:
    return WINDOW.select(cell[0], cell[0], (cell[1],)).keys.start


def materialize_in_the_page(instance: dg.DagsterInstance, keys: Sequence[str]) -> list[dg.DagsterRun]:
    """What the page's "Materialize" does for a selection of partitions, and the daemon's ticks until it is done."""
    with WorkspaceProcessContext(instance, InThisProcess()) as workspace:
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="selection",
            asset_graph=workspace.create_request_context().asset_graph,
            partition_names=keys,
            asset_selection=[NULL_FLOW.key(name) for name in FLOW],
            backfill_timestamp=SECOND.close.timestamp(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        for _ in range(5):
            assert [error for error in execute_backfill_iteration(workspace, logging.getLogger("test")) if error] == []
            found = instance.get_backfill("selection")
            assert found
            if found.status is not BulkActionStatus.REQUESTED:
                assert found.status is BulkActionStatus.COMPLETED_SUCCESS
                break
    return list(instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "selection"})))


def hold(store: Store, steps: Sequence[Step]) -> None:
    """Write what the steps would, a row of a session for what is made once a day."""
    for step in steps:
        for table in step.assets:
            if step.selection:
                rows = null_flow.rows(table, step.selection)
            else:
                assert step.session
                row = {"session": step.session.date, "source": NULL_FLOW.source}
                rows = pa.Table.from_pylist([row], schema=TABLES[table].columns)
            store.append(table, rows, {})


def started(run: dg.DagsterRun) -> str:
    return run.tags["dagster/asset_partition_range_start"]


def test_a_session_selected_in_the_page_is_one_run(instance: dg.DagsterInstance, store: Store) -> None:
    session = WINDOW.select(SECOND.open, SECOND.last_minute)
    keys = [str(each) for each in WINDOW.ticker_minutes.get_partition_keys_in_range(session.keys)]
    (one,) = materialize_in_the_page(instance, keys)
    assert one.tags.items() >= session.tags().items()
    assert Told.ran == list(FLOW)
    for table in FLOW:
        assert with_mark(store, table, 1.0) == cells(0, 389, *TICKERS)
        assert instance.get_materialized_partitions(NULL_FLOW.key(table)) == set(keys)


def test_two_sessions_selected_in_the_page_are_a_run_each(instance: dg.DagsterInstance, store: Store) -> None:
    both = WINDOW.select(FIRST.last_minute - 9 * MINUTE, SECOND.open + 9 * MINUTE)
    keys = [str(each) for each in WINDOW.ticker_minutes.get_partition_keys_in_range(both.keys)]
    runs = materialize_in_the_page(instance, keys)
    assert sorted(map(started, runs)) == [
        both.keys.start,
        HOUR.keys.start,
    ]
    assert store.read("scores").num_rows == both.size


def test_a_range_named_on_dagsters_command_line_is_one_run(
    instance: dg.DagsterInstance, store: Store, tmp_path: Path
) -> None:
    home = Path(instance.root_directory)
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration(home)), encoding="utf-8")
    two = WINDOW.select(SECOND.open, SECOND.open + MINUTE)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-f", null_flow.__file__]
    chosen = ["--select", ",".join(NULL_FLOW.key(table).to_user_string() for table in FLOW)]
    done = subprocess.run(
        [*command, *chosen, "--partition-range", f"{two.keys.start}...{two.keys.end}"],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (one,) = instance.get_runs()
    assert one.tags.items() >= two.tags().items()
    for table in FLOW:
        assert with_mark(store, table, 1.0) == cells(0, 1, *TICKERS)
        assert instance.get_materialized_partitions(NULL_FLOW.key(table)) == set(map(key, cells(0, 1, *TICKERS)))


def test_a_ragged_selection_in_the_page_writes_its_partitions_and_no_other_row(
    instance: dg.DagsterInstance, store: Store
) -> None:
    do(instance, STEP)
    Told.mark = 2.0
    ragged = cells(0, 10, "AAPL") | cells(5, 20, "MSFT") | cells(35, 35, *TICKERS)
    runs = materialize_in_the_page(instance, sorted(map(key, ragged)))
    assert len(runs) == 3
    for table in FLOW:
        assert with_mark(store, table, 2.0) == ragged
        assert with_mark(store, table, 1.0) == cells(0, 59, *TICKERS) - ragged


def test_each_materialization_says_how_many_rows_a_second_it_made(instance: dg.DagsterInstance, store: Store) -> None:
    do(instance, STEP)
    for table in FLOW:
        event = instance.get_latest_materialization_event(NULL_FLOW.key(table))
        assert event
        assert event.asset_materialization
        told = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        assert told["rows/s"] * told["seconds"] == pytest.approx(HOUR.size, rel=0.2)


def test_one_ticker_of_one_minute_writes_one_row_of_each_table(instance: dg.DagsterInstance, store: Store) -> None:
    do(instance, STEP)
    Told.mark = 2.0
    do(instance, Step(BACKFILL, "one", FLOW, selection=WINDOW.select(SECOND.open, SECOND.open, ("AMD",))))
    assert [with_mark(store, table, 2.0) for table in FLOW] == [cells(0, 0, "AMD")] * len(FLOW)


def fail() -> None:
    raise dg.Failure("the model is not there")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(60)


def test_a_retry_from_failure_runs_what_failed_and_what_comes_after_it(
    instance: dg.DagsterInstance, store: Store
) -> None:
    Told.instead["predictions"] = fail
    with pytest.raises(BackfillFailed, match="the model is not there"):
        do(instance, STEP)
    (failed,) = instance.get_runs()
    Told.instead.clear()
    retried = dg.execute_job(
        dg.reconstructable(null_flow.backfill_job),
        instance,
        run_config=QUIET,
        tags=HOUR.tags(),
        reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, instance),
    )
    assert retried.success
    assert Told.ran == [*FLOW[:3], *FLOW[2:]]
    assert {store.version(table) for table in FLOW} == {1}  # made, and written once
    for table in FLOW:
        assert with_mark(store, table, 1.0) == cells(0, 59, *TICKERS)
        assert len(instance.get_materialized_partitions(NULL_FLOW.key(table))) == HOUR.size


def test_ctrl_c_leaves_whole_commits_and_the_next_backfill_goes_on_behind_them(
    instance: dg.DagsterInstance, store: Store
) -> None:
    Told.instead["predictions"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        do(instance, STEP)
    written = {table: with_mark(store, table, 1.0) for table in FLOW}
    assert [len(written[table]) for table in FLOW] == [HOUR.size, HOUR.size, 0, 0, 0]
    Told.instead.clear()
    Told.ran.clear()
    done = [do(instance, step) for step in missing(store, [STEP])]
    assert Told.ran == list(FLOW[2:])
    assert done == [list(FLOW[2:])]
    assert list(missing(store, [STEP])) == []


def test_a_run_whose_process_was_killed_is_failed_by_the_next_backfill_and_no_other_run(
    instance: dg.DagsterInstance, store: Store, tmp_path: Path
) -> None:
    life = f"from {__name__} import run_to_death as run; run({str(tmp_path)!r})"
    died = subprocess.run([sys.executable, "-c", life], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (killed,) = instance.get_runs()
    assert killed.status is dg.DagsterRunStatus.STARTED
    gone = killed.tags[PROCESS].removesuffix(killed.run_id)
    here, alive = socket.gethostname(), psutil.Process()
    for process in (gone.replace(here, "elsewhere"), f"{here}:{alive.pid}:{alive.create_time()}:"):
        run_id = str(uuid4())
        at_work(instance, {PROCESS: process + run_id}, run_id)
    at_work(instance, killed.tags)  # a retry in the page
    at_work(instance, {})
    assert fail_runs_left_behind(instance) == [killed.run_id]
    statuses = [run.status for run in instance.get_runs(ascending=True)]
    assert statuses == [dg.DagsterRunStatus.FAILURE, *[dg.DagsterRunStatus.STARTED] * 4]
    assert [do(instance, step) for step in missing(store, [STEP])] == [list(FLOW[2:])]


def test_minutes_that_are_there_are_not_repeated(instance: dg.DagsterInstance, store: Store) -> None:
    do(instance, Step(BACKFILL, "head", FLOW, selection=WINDOW.select(SECOND.open, SECOND.open + 9 * MINUTE)))
    Told.mark = 2.0
    for step in missing(store, [STEP]):
        do(instance, step)
    for table in FLOW:
        assert with_mark(store, table, 1.0) == cells(0, 9, *TICKERS)
        assert with_mark(store, table, 2.0) == cells(10, 59, *TICKERS)


@pytest.mark.parametrize("reason", [Reason.PENDING, Reason.RATE_LIMITED, Reason.PROVIDER_ERROR, Reason.LOST])
def test_a_bar_whose_reason_may_change_is_asked_for_again(
    instance: dg.DagsterInstance, store: Store, reason: Reason
) -> None:
    do(instance, STEP)
    assert list(missing(store, [STEP])) == []
    Told.reason, Told.mark = reason, 2.0
    minute = SECOND.open + 20 * MINUTE
    one = WINDOW.select(minute, minute, ("MSFT",))
    store.replace("raw_prices", rows("raw_prices", one), Bounds.of(one.keys).sql(), {})
    again = [(step.assets, step.selection and step.selection.first) for step in missing(store, [STEP])]
    assert again == ([] if reason.final else [(FLOW, minute)])


def test_what_learned_from_a_session_is_made_again_with_it(store: Store) -> None:
    steps = list(plan(WINDOW, SESSIONS, (), SECOND.close + MINUTE, timedelta(0)))
    hold(store, steps)
    assert list(missing(store, steps)) == []
    lost = f"session = '{FIRST.date}' AND ticker = 'MSFT'"
    store.replace("features", store.read("features")[:0], lost, {})
    again = [(step.job, step.selection and step.selection.first, step.session) for step in missing(store, steps)]
    assert again == [
        (BACKFILL, FIRST.open, None),
        (TRAINING_SET, None, FIRST),
        (PERFORMANCE, None, FIRST),
        (FACTORS, None, SECOND),
        (RETURN_MODEL, None, SECOND),
    ]


def test_a_model_is_made_again_with_a_training_set_that_was_missing(store: Store) -> None:
    steps = list(plan(WINDOW, SESSIONS[:1], (), SECOND.close + MINUTE, timedelta(0)))
    hold(store, [steps[0], steps[2]])
    assert list(missing(store, steps)) == steps[1:]


def test_a_ticker_that_lacks_a_row_has_its_minute_and_all_after_it_repeated(
    instance: dg.DagsterInstance, store: Store
) -> None:
    do(instance, STEP)
    gone = (SECOND.open + 20 * MINUTE, "MSFT")
    kept = [row for row in store.read("scores").to_pylist() if (row["minute"], row["ticker"]) != gone]
    store.replace("scores", pa.Table.from_pylist(kept, schema=SCORES.columns), "true", {})
    (step,) = missing(store, [STEP])
    assert step.assets == ("scores",)
    assert step.selection
    assert (step.selection.first, step.selection.last) == (SECOND.open + 20 * MINUTE, HOUR.last)
    others = WINDOW.select(HOUR.first, HOUR.last, ("AAPL", "AMD"))
    assert list(missing(store, [Step(BACKFILL, "others", FLOW, selection=others)])) == []
