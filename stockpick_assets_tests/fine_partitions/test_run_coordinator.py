"""Which runs wait in the queue and which do not, on a real instance whose launcher notes what it is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from stockpick_assets.fine_partitions import UnsupportedDagster
from stockpick_assets.fine_partitions.run_coordinator import PriorityRunCoordinator
from stockpick_assets_tests.fine_partitions import code_location

REPOSITORY = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name=code_location.__name__)), "__repository__"
)


class NotingLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts no process; the runs it was given stay as they are until a test ends them."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "NotingLauncher":
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start nothing."""

    def terminate(self, run_id: str) -> bool:
        raise NotImplementedError


class Queue:
    """An instance, its workspace, and the daemon that looks into the queue when a test says so."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance = instance
        self._workspace = workspace
        self._daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    def submit(self, priority: str | None = None, job: dg.JobDefinition = code_location.succeeding) -> str:
        """Submit a run of that priority."""
        run = self.instance.create_run_for_job(
            job,
            tags={"dagster/priority": priority} if priority else {},
            remote_job_origin=RemoteJobOrigin(REPOSITORY, job.name),
            job_code_origin=dg.reconstructable(job).get_python_origin(),
        )
        return self.instance.submit_run(run.run_id, self._workspace.create_request_context()).run_id

    def look(self) -> None:
        """What the daemon does each interval."""
        list(self._daemon.run_iteration(self._workspace))

    def end(self, run_id: str) -> None:
        """Let a run have failed."""
        run = self.instance.get_run_by_id(run_id)
        assert run
        self.instance.report_run_failed(run)

    def statuses(self, *runs: str) -> list[str]:
        found = [self.instance.get_run_by_id(run_id) for run_id in runs]
        return [run.status.value for run in found if run]


@contextmanager
def queue(folder: Path, **config: Any) -> Iterator[Queue]:
    coordinator = {"module": PriorityRunCoordinator.__module__, "class": "PriorityRunCoordinator", "config": config}
    launcher = {"module": __name__, "class": "NotingLauncher"}
    with (
        dg.DagsterInstance.local_temp(
            str(folder), overrides={"run_coordinator": coordinator, "run_launcher": launcher}
        ) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace,
    ):
        yield Queue(instance, workspace)


def test_an_urgent_run_is_launched_when_it_is_submitted_though_the_queue_is_full(tmp_path: Path) -> None:
    with queue(tmp_path, at_once_priority=10, max_concurrent_runs=1) as runs:
        backfill = runs.submit(job=code_location.failing)
        runs.look()
        live = runs.submit("10")
        assert runs.statuses(backfill, live) == ["STARTING", "STARTING"]


def test_an_urgent_run_waits_while_another_of_its_job_is_not_finished(tmp_path: Path) -> None:
    with queue(tmp_path, at_once_priority=10, max_concurrent_runs=1) as runs:
        live, again = runs.submit("10"), runs.submit("10")
        runs.look()
        assert runs.statuses(live, again) == ["STARTING", "QUEUED"]
        runs.end(live)
        assert runs.statuses(again, runs.submit("10")) == ["QUEUED", "QUEUED"]
        runs.look()
        assert runs.statuses(again) == ["STARTING"]
        runs.end(again)


def test_other_runs_wait_until_none_is_at_work_and_the_urgent_ones_count(tmp_path: Path) -> None:
    with queue(tmp_path, at_once_priority=10, max_concurrent_runs=1) as runs:
        live = runs.submit("10")
        first, second = runs.submit(), runs.submit()
        runs.look()
        assert runs.statuses(first, second) == ["QUEUED", "QUEUED"]
        for ended, expected in ((live, ["STARTING", "QUEUED"]), (first, ["FAILURE", "STARTING"])):
            runs.end(ended)
            runs.look()
            assert runs.statuses(first, second) == expected


@pytest.mark.parametrize("priority", ["9", "-1", "soon"])
def test_a_run_of_lower_priority_or_of_none_that_can_be_read_waits(tmp_path: Path, priority: str) -> None:
    with queue(tmp_path, at_once_priority=10) as runs:
        assert runs.statuses(runs.submit(priority)) == ["QUEUED"]


def test_a_run_that_waits_is_cancelled_before_it_has_begun(tmp_path: Path) -> None:
    with queue(tmp_path, at_once_priority=10) as runs:
        waiting = runs.submit()
        assert runs.instance.run_coordinator.cancel_run(waiting)
        runs.look()
        assert runs.statuses(waiting) == ["CANCELED"]


def test_what_the_queue_takes_is_taken(tmp_path: Path) -> None:
    with queue(tmp_path, at_once_priority=3, max_concurrent_runs=2, dequeue_interval_seconds=1) as runs:
        coordinator = runs.instance.run_coordinator
        assert isinstance(coordinator, PriorityRunCoordinator)
        assert (coordinator.dequeue_interval_seconds, coordinator.get_run_queue_config().max_concurrent_runs) == (1, 2)
        settings = runs.instance.get_concurrency_config().run_queue_config
        assert settings
        assert settings.max_concurrent_runs == 2


def test_another_dagster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg, "__version__", "1.14.0")
    with pytest.raises(UnsupportedDagster, match=r"dagster 1\.14\.0"):
        PriorityRunCoordinator(1)
