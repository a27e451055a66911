"""A real code server: its runs are forked from a preloaded process, and end as stock runs do, as does the server."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psutil
import pytest

from stockpick_assets.fine_partitions.code_server import STOCK_METHODS, ColdCodeServer, command
from stockpick_assets.fine_partitions.overrides import check
from stockpick_assets.services.process import free_ports
from stockpick_assets_tests.fine_partitions import code_location
from stockpick_assets_tests.fine_partitions.code_servers import ROOT, SECONDS, Served, command_line, serve


@pytest.fixture(scope="module")
def ports() -> Iterator[int]:
    """Free ports of 127.0.0.1, one after the other."""
    return iter(free_ports(8))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, ports: Iterator[int]) -> Iterator[Served]:
    """One server for the tests that leave it as it was."""
    with serve(tmp_path_factory.mktemp("served"), next(ports), code_location.__name__) as served:
        yield served


def test_a_run_is_forked_from_the_preloaded_process_and_succeeds(served: Served) -> None:
    (run,) = served.finished(served.launch(code_location.succeeding))

    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert run.tags["parent"] == str(served.fork_server().pid)


def test_ten_runs_at_once_succeed(served: Served) -> None:
    runs = served.finished(*(served.launch(code_location.succeeding) for _ in range(10)))

    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 10
    assert {run.tags["parent"] for run in runs} == {str(served.fork_server().pid)}


def test_a_failing_run_is_marked_failed(served: Served) -> None:
    (run,) = served.finished(served.launch(code_location.failing))

    assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_run_terminated_through_the_launcher_is_canceled(served: Served) -> None:
    run_id = served.endless()

    assert served.instance.run_launcher.terminate(run_id)

    assert [run.status for run in served.finished(run_id)] == [dg.DagsterRunStatus.CANCELED]


def test_a_run_whose_process_is_killed_is_marked_failed(served: Served) -> None:
    run_id = served.endless()
    (process,) = served.fork_server().children()

    process.kill()

    assert [run.status for run in served.finished(run_id)] == [dg.DagsterRunStatus.FAILURE]


def test_the_process_that_forks_has_one_thread_and_no_connection(served: Served) -> None:
    assert served.fork_server().num_threads() == 1
    assert served.fork_server().net_connections("inet") == []


def test_sigterm_leaves_no_process_though_a_shell_started_it_in_the_background(
    tmp_path: Path, ports: Iterator[int]
) -> None:
    with serve(tmp_path, next(ports), before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as served:
        processes = served.processes()
        assert len(processes) >= 2

        served.process.send_signal(signal.SIGTERM)

        assert psutil.wait_procs(processes, timeout=SECONDS)[1] == []


def test_sigterm_to_all_processes_interrupts_a_run_and_leaves_none(tmp_path: Path, ports: Iterator[int]) -> None:
    with serve(tmp_path, next(ports)) as served:
        run_id = served.endless()
        processes = served.processes()

        os.killpg(served.process.pid, signal.SIGTERM)

        assert psutil.wait_procs(processes, timeout=SECONDS)[1] == []
        assert served.run(run_id).status == dg.DagsterRunStatus.FAILURE
        messages = [event.user_message for event in served.instance.all_logs(run_id)]
        assert not [message for message in messages if "unexpectedly exited" in message]


def test_kill_leaves_no_process(tmp_path: Path, ports: Iterator[int]) -> None:
    with serve(tmp_path, next(ports)) as served:
        processes = served.processes()
        assert len(processes) >= 2

        served.process.kill()

        assert psutil.wait_procs(processes, timeout=SECONDS)[1] == []


def test_what_cannot_be_preloaded_is_refused(ports: Iterator[int]) -> None:
    threaded = "stockpick_assets_tests.fine_partitions.opens_a_thread"

    refused = subprocess.run(
        command_line(next(ports), "no_such_module", threaded),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert refused.returncode == 1
    assert "--preload names no_such_module, which cannot be imported" in refused.stderr
    assert "started 1 threads and opened 0 connections" in refused.stderr
    assert "`dagster api grpc`" in refused.stderr


def test_the_installed_dagster_is_the_one_it_was_written_for() -> None:
    check(STOCK_METHODS)


def test_a_changed_dagster_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(STOCK_METHODS[1], signature="(self, request)")
    monkeypatch.setattr("stockpick_assets.fine_partitions.code_server.STOCK_METHODS", (changed,))

    with pytest.raises(ColdCodeServer, match=r"DagsterApiServer\.StartRun\(self, request\) is now"):
        command.main(["--port", "1"], standalone_mode=False)
