"""The runs that failed, with the step and the error: read from Dagster's record of them.

What does not belong here: whether that is worth an alert, or asking for one again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.observations import FailedRun

FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}


def failed_runs(
    instance: dg.DagsterInstance, after: datetime, most: int, clock: MarketClock
) -> Iterator[tuple[FailedRun, datetime]]:
    """At most so many runs whose record changed later than `after` and says that they failed, in the order of that.

    Yields each with the time of the change, from which on to look for the next ones.
    """
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after)
    for record in instance.get_run_records(failed, limit=most, order_by="update_timestamp", ascending=True):
        run = record.dagster_run
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
        step, error = _cause(instance, run.run_id)
        yield FailedRun(run.run_id, run.job_name, step, error, clock.at(ended)), record.update_timestamp


def _cause(instance: dg.DagsterInstance, run_id: str) -> tuple[str | None, str]:
    """The step that failed first, and the first line of its innermost error; of a run without a step its own."""
    records = instance.get_records_for_run(run_id, of_type=FAILURES, limit=1).records
    event = records[0].event_log_entry.dagster_event if records else None
    if event is None:
        return None, "no event says why"
    data: Any = event.event_specific_data
    error: Any = data.error if data else None
    while error is not None and error.cause is not None:
        error = error.cause
    said = error.message if error is not None else event.message or ""
    return event.step_key, said.strip().partition("\n")[0] or "no event says why"
