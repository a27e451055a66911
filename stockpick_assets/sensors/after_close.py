"""Requests the daily work once a session is over: the universe of the session that follows, the training set of the one
that is over, then the model of the one that follows.
"""

from collections.abc import Sequence

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import due_after_close, due_minutes
from stockpick_assets.core.market_hours import Session, minute_label
from stockpick_assets.jobs import RETURN_MODEL, TRAINING_SET, UNIVERSE, AssetJob
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.live import IN_PROGRESS, answered_minutes
from stockpick_assets.store import Store, TableMissing

DAILY = (UNIVERSE, TRAINING_SET, RETURN_MODEL)


def after_close_sensor(flow: Flow, jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor `after_close`; of `jobs` it requests the daily ones."""
    daily = [job for job in jobs if job.name in DAILY]

    @dg.sensor(
        name="after_close",
        jobs=daily,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="After each close: the next session's universe, this one's training set, the next one's model.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]
    ) -> dg.SkipReason | dg.RunRequest:
        market = now.market()
        closed = [session for session in flow.window.sessions if session.close <= market]
        if not closed:
            return dg.SkipReason(f"No session of the window has closed; it is {minute_label(market)} in New York.")
        for job in DAILY:
            if context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=IN_PROGRESS)):
                return dg.SkipReason(f"A run of {job} is at work.")
        session, store = closed[-1], tables.store()
        tickers = flow.universe.on(session.date)
        answered = answered_minutes(store, session.date, tickers)
        complete = due_minutes(session, answered, len(tickers), session.last_minute) is None
        following = flow.window.following(session)
        due = due_after_close(session, following, complete, lambda table, day: has_session(store, table, day))
        if due is None:
            state = "has its training set and model" if complete else "still has minutes without an answer"
            return dg.SkipReason(f"Session {session.label()} {state}.")
        # The key holds what the request is for, so that a failed run is asked for again only by a person.
        label = due.session.label()
        return dg.RunRequest(job_name=due.asset, partition_key=label, run_key=f"{flow.source} {due.asset} {label}")

    return sensor


def has_session(store: Store, table: str, session: Session) -> bool:
    """Whether the table holds rows of the session. Raises StoreError."""
    columns: Sequence[str] = ("session",)
    try:
        rows = store.read(table, from_session=session.date, to_session=session.date, columns=columns)
    except TableMissing:
        return False
    return rows.num_rows > 0
