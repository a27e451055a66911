"""Requests the daily work once a session is over: its training set and performance, then the factors and the model of
the session that follows; and beside them, as nothing is made of it, the universe of the session that follows.
"""

from collections.abc import Sequence

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DAILY, DueSession, due_after_close, due_minutes
from stockpick_assets.core.market_hours import Session, minute_label
from stockpick_assets.jobs import UNIVERSE, AssetJob
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.live import answered_minutes, is_at_work
from stockpick_assets.store import Commit, Store, TableMissing


def after_close_sensor(flow: Flow, jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor `after_close`; of `jobs` it requests the daily ones."""
    requested = [job for job in jobs if job.name in (UNIVERSE, *DAILY)]

    @dg.sensor(
        name="after_close",
        jobs=requested,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="After each close: the session's training set and performance; the next one's factors and models.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        market = now.market()
        closed = [session for session in flow.window.sessions if session.close <= market]
        if not closed:
            said = f"No session of the window has closed; it is {minute_label(market)} in New York."
            return dg.SensorResult(skip_reason=said)
        session, store = closed[-1], tables.store()
        following = flow.window.following(session)
        universe = None if has_session(store, UNIVERSE, following) else DueSession(UNIVERSE, following)
        at_work = next((job for job in DAILY if is_at_work(context.instance, job)), None)
        due = None
        if at_work:
            said = f"A run of {at_work} is at work."
        else:
            tickers = flow.universe.on(session.date)
            answered = answered_minutes(store, session.date, tickers)
            complete = due_minutes(session, answered, len(tickers), session.last_minute) is None
            due = due_after_close(session, following, complete, lambda table, day: has_session(store, table, day))
            state = "has all that is made after its close" if complete else "still has minutes without an answer"
            said = f"Session {session.label()} {state}."
        requests = [_request(flow.source, one) for one in (universe, due) if one]
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else said)

    return sensor


def _request(source: str, due: DueSession) -> dg.RunRequest:
    # The key holds what the request is for, so that a failed run is asked for again only by a person.
    label = due.session.label()
    return dg.RunRequest(job_name=due.asset, partition_key=label, run_key=f"{source} {due.asset} {label}")


def has_session(store: Store, table: str, session: Session) -> bool:
    """Whether a daily table's session has been made: it holds rows, or a commit that had none. Raises StoreError."""
    try:
        rows = store.read(table, columns=["session"], from_session=session.date, to_session=session.date)
        return rows.num_rows > 0 or any(_is_of(commit, session.label()) for commit in store.commits(table))
    except TableMissing:
        return False


def _is_of(commit: Commit, label: str) -> bool:
    said = commit.metadata  # that of a compaction names no partitions
    return "partition_start" in said and said["partition_start"] <= label <= said["partition_end"]
