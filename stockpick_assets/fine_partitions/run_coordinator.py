"""Dagster's queue of runs with runs that do not wait in it, configured in `dagster.yaml`.

A run whose tag `dagster/priority` is at least `at_once_priority` is launched when it is submitted, unless another of
its job is not finished; the others wait in Dagster's own queue for their turn. What does not belong here: which runs
are urgent.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, Field, IntSource, QueuedRunCoordinator, RunsFilter
from dagster._config.config_schema import UserConfigSchema
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._serdes import ConfigurableClassData

from stockpick_assets.fine_partitions.overrides import StockMethod, check

COORDINATOR_METHODS: tuple[StockMethod, ...] = (
    StockMethod(QueuedRunCoordinator, "submit_run", "(self, context)"),
    StockMethod(QueuedRunCoordinator, "from_config_value", "(inst_data, config_value)"),
    StockMethod(DagsterInstance, "launch_run", "(self, run_id, workspace)"),
)


class PriorityRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """A queue that urgent runs do not stand in.

    The daemon looks into the queue every `dequeue_interval_seconds`, and leaves runs there while as many are at work
    as it allows: an urgent run counts among those but waits for neither. It waits for its own job only: one that is
    executed again, or launched by hand beside the one at work, stands in the queue. Where it is Dagster's own
    QueuedRunCoordinator instead, the same tag puts a run first in the queue.

    Args:
        at_once_priority: the lowest `dagster/priority` that is launched at once.
        queue: what Dagster's QueuedRunCoordinator takes.

    Raises:
        UnsupportedDagster: the installed Dagster is not the one this was written for.
    """

    def __init__(self, at_once_priority: int, **queue: Any) -> None:
        check(COORDINATOR_METHODS)
        super().__init__(**queue)
        self._at_once_priority = at_once_priority

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Dagster's own, and the priority."""
        priority = Field(IntSource, description="the lowest dagster/priority that is launched at once")
        queue = super().config_type()
        assert isinstance(queue, Mapping)
        return {**queue, "at_once_priority": priority}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """From what `dagster.yaml` says."""
        return cls(inst_data=inst_data, **config_value)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch the run, or leave it in the queue."""
        run = context.dagster_run
        urgent = run.status is DagsterRunStatus.NOT_STARTED and _priority(run) >= self._at_once_priority
        if urgent and not self._another_of_its_job(run):
            return self._instance.launch_run(run.run_id, context.workspace)
        return super().submit_run(context)

    def _another_of_its_job(self, run: DagsterRun) -> bool:
        of_job = RunsFilter(job_name=run.job_name, statuses=NOT_FINISHED_STATUSES)
        return any(run_id != run.run_id for run_id in self._instance.get_run_ids(of_job, limit=2))


def _priority(run: DagsterRun) -> int:
    """The run's priority as Dagster's queue reads it."""
    try:
        return int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0
