"""Requests the live run: every closed minute that no ticker or not every ticker has an answer for, in one run.

A sensor and not a schedule: it follows the market's clock, which a replay moves faster than cron can say, and what is
late when it looks is one request. Dagster asks its sensors every five seconds; the tick before a close waits for it.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DueMinutes, due_minutes
from stockpick_assets.core.market_hours import MINUTE, last_closed_minute, minute_label, next_close
from stockpick_assets.core.schemas import SCORES
from stockpick_assets.jobs import LIVE
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store, TableMissing

# A run that fails at once would otherwise be requested again every five seconds.
WAIT_AFTER_FAILURE = timedelta(seconds=30)
# For a close: the time from one tick to the next is 5 s and what Dagster does between them, and a tick may take 60 s.
SECONDS_TO_WAIT = 10.0
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def live_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `live`."""

    @dg.sensor(
        name=LIVE,
        job_name=LIVE,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Each minute, the flow of the minutes that have closed and have no answer yet, for every ticker.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]
    ) -> dg.SkipReason | dg.RunRequest:
        market = now.market()
        begun = [session for session in flow.window.sessions if session.open <= market]
        if not begun:
            opening = minute_label(flow.window.sessions[0].open)
            return dg.SkipReason(f"The market is closed; it is {minute_label(market)} there and opens {opening}.")
        session = begun[-1]
        active = _newest_run(context.instance, IN_PROGRESS)
        if active:
            return dg.SkipReason(f"Run {active.dagster_run.run_id[:8]} is still at work on earlier minutes.")
        failed = _newest_run(context.instance, None)
        if failed and failed.dagster_run.status == dg.DagsterRunStatus.FAILURE and failed.end_time:
            waited = timedelta(seconds=now.wall().timestamp() - failed.end_time)
            if waited < WAIT_AFTER_FAILURE:
                return dg.SkipReason(
                    f"Run {failed.dagster_run.run_id[:8]} failed; its minutes are asked for again in "
                    f"{(WAIT_AFTER_FAILURE - waited).seconds} s."
                )
        last_closed = last_closed_minute(session, market, flow.bar_delay)
        tickers = flow.universe.on(session.date)
        answered = answered_minutes(tables.store(), session.date, tickers)
        due = due_minutes(session, answered, len(tickers), last_closed)
        coming = next_close(session, market, flow.bar_delay)
        if due is None and coming is not None and now.seconds_until(coming) <= SECONDS_TO_WAIT:
            now.wait_until(coming)
            minute = coming - flow.bar_delay - MINUTE
            due = DueMinutes(minute, minute)
        if due is None:
            return dg.SkipReason(
                f"Every closed minute of {session.label()} is answered; it is {minute_label(market)} in New York."
            )
        selection = flow.window.select(due.first, due.last)
        return dg.RunRequest(tags=selection.tags())

    return sensor


def answered_minutes(store: Store, session: date, tickers: Sequence[str]) -> Counter[datetime]:
    """How many of the tickers have come through the whole flow, by minute of the session.

    tickers: those of that session. The window may have further ones, of a later session: for them alone no minute of a
    session that is over is asked for again.
    """
    try:
        rows = store.read(SCORES.name, from_session=session, to_session=session, columns=["minute", "ticker"])
    except TableMissing:
        return Counter()
    return rows_by_minute(rows.filter(pc.is_in(rows["ticker"], pa.array(tickers))))


def is_at_work(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of the job waits or is at work."""
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=IN_PROGRESS)) > 0


def rows_by_minute(rows: pa.Table) -> Counter[datetime]:
    """How many rows each minute has."""
    counts = rows.group_by("minute").aggregate([([], "count_all")]).to_pylist()
    return Counter({count["minute"]: count["count_all"] for count in counts})


def _newest_run(instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus] | None) -> dg.RunRecord | None:
    filters = dg.RunsFilter(job_name=LIVE, statuses=statuses or [])
    records = instance.get_run_records(filters, limit=1)
    return records[0] if records else None
