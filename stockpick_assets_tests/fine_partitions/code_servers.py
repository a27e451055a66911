"""Real code servers for the tests of this folder, and what is asked of them. What does not belong here: definitions."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import wait_for_grpc_server

from stockpick_assets_tests.fine_partitions import code_location

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
AT_ONCE = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}


@dataclass(frozen=True)
class Served:
    """A code server of this test's own, and an instance that launches runs on it."""

    process: psutil.Popen
    instance: dg.DagsterInstance
    context: WorkspaceProcessContext

    @property
    def workspace(self) -> WorkspaceRequestContext:
        """What a webserver or a daemon knows of the server's definitions now."""
        return self.context.create_request_context()

    def launch(self, job: dg.JobDefinition) -> str:
        """Start a run and return its id."""
        workspace = self.workspace
        location = workspace.get_code_location("test")
        remote = next(iter(location.get_repositories().values())).get_full_job(job.name)
        run = self.instance.create_run_for_job(
            job, remote_job_origin=remote.get_remote_origin(), job_code_origin=remote.get_python_origin()
        )
        self.instance.launch_run(run.run_id, workspace)
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        """The run as the instance knows it."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def finished(self, *run_ids: str) -> list[dg.DagsterRun]:
        """The runs, once all of them have finished."""
        until(lambda: all(self.run(run_id).is_finished for run_id in run_ids))
        return [self.run(run_id) for run_id in run_ids]

    def endless(self) -> str:
        """Launch a run and wait until its step is at work."""
        run_id = self.launch(code_location.endless)
        started = dg.DagsterEventType.STEP_START
        until(lambda: bool(self.instance.all_logs(run_id, of_type=started)))
        return run_id

    def processes(self) -> list[psutil.Process]:
        """The server and everything it started."""
        return [self.process, *self.process.children(recursive=True)]

    def fork_server(self) -> psutil.Process:
        """The process that runs are forked from."""
        (found,) = (child for child in self.process.children() if "forkserver" in " ".join(child.cmdline()))
        return found


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def command_line(port: int, *preload: str, module: str = code_location.__name__) -> list[str]:
    """A code server of the definitions in `module`."""
    modules = [argument for module in preload for argument in ("--preload", module)]
    place = ["--host", "127.0.0.1", "--port", str(port), "--location-name", "test"]
    served = ["--module-name", module]
    return [sys.executable, "-m", "stockpick_assets.fine_partitions.code_server", *modules, *served, *place]


@contextmanager
def serve(
    folder: Path,
    port: int,
    *preload: str,
    module: str = code_location.__name__,
    before: Callable[[], object] | None = None,
) -> Iterator[Served]:
    """A code server that answers; it is killed afterwards, if it is still there."""
    instance = dg.DagsterInstance.local_temp(str(folder), overrides={"run_coordinator": AT_ONCE})
    arguments = command_line(port, *preload, module=module)
    environment = os.environ | {"DAGSTER_HOME": str(folder)}
    process = psutil.Popen(arguments, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=before)
    started: list[psutil.Process] = [process]
    try:
        wait_for_grpc_server(process, DagsterGrpcClient(port=port, host="127.0.0.1"), arguments, int(SECONDS))
        started = [process, *process.children(recursive=True)]
        target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="test")
        with instance, WorkspaceProcessContext(instance, target) as context:
            yield Served(process, instance, context)
    finally:
        for left in started:
            if left.is_running():
                left.kill()
        process.wait()
