"""How long a live minute took from its close, stage by stage: read from Dagster's record of the run that answered it.

What does not belong here: what a stage may take, and how it is shown.
"""

from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, minute_from_label
from stockpick_assets.jobs import LIVE


@dataclass(frozen=True)
class Latency:
    """What a live run that succeeded took of wall time.

    minute: the newest it answered. close_to_launch_seconds: from the minute's close to the run's launch, the wait for
    the bar included. step_seconds: by asset, in the order in which they began. close_to_last_commit_seconds: until the
    last table was committed.
    """

    run_id: str
    minute: datetime
    close_to_launch_seconds: float
    launch_to_first_step_seconds: float
    step_seconds: dict[str, float]
    close_to_last_commit_seconds: float
    last_commit_to_end_seconds: float


def newest_latencies(
    instance: dg.DagsterInstance, clock: MarketClock, count: int, since: datetime | None = None
) -> list[Latency]:
    """Of the newest `count` live runs that succeeded, newest first, but for those that have none (see `latency`).

    since: of runs created later alone.
    """
    succeeded = dg.RunsFilter(job_name=LIVE, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=since)
    records = instance.get_run_records(succeeded, limit=count)
    found = (latency(instance, record.dagster_run, clock) for record in records)
    return [latency for latency in found if latency]


def latency(instance: dg.DagsterInstance, run: dg.DagsterRun, clock: MarketClock) -> Latency | None:
    """Of a live run that succeeded; None for one of a single ticker, one that was not launched, or without a commit."""
    kind = dg.DagsterEventType
    times = {
        (entry.dagster_event.event_type, entry.step_key): entry.timestamp
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event
    }
    last, launched = run.tags.get(ASSET_PARTITION_RANGE_END_TAG), times.get((kind.RUN_STARTING, None))
    committed = max((at for (event, _), at in times.items() if event is kind.HANDLED_OUTPUT), default=None)
    if last is None or launched is None or committed is None:
        return None
    minute = minute_from_label(last.split("|")[0])
    closed = clock.wall_at(minute + MINUTE).timestamp()
    began = {step: at for (event, step), at in times.items() if event is kind.STEP_START and step}
    return Latency(
        run_id=run.run_id,
        minute=minute,
        close_to_launch_seconds=launched - closed,
        launch_to_first_step_seconds=min(began.values()) - launched,
        step_seconds={
            step.rpartition("__")[-1]: times[kind.STEP_SUCCESS, step] - began[step]
            for step in sorted(began, key=began.__getitem__)
        },
        close_to_last_commit_seconds=committed - closed,
        last_commit_to_end_seconds=times[kind.RUN_SUCCESS, None] - committed,
    )
