"""Materializes again what revised bars left out of date: from the first minute touched to the last one made.

Dagster's own marks cannot see it: a revision is a version of a row. What does not belong here: which minutes a revision
touches (core/versions.py), and minutes that were never made (the live sensor, a backfill).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DueMinutes
from stockpick_assets.core.market_hours import Session, minute_from_label
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS, RAW_PRICES, SCORES, TABLES, TIMESTAMP
from stockpick_assets.core.versions import affected_minutes
from stockpick_assets.jobs import LIVE, RECOMPUTE, TRAINING_SET, AssetJob
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.changes import changed_sessions
from stockpick_assets.sensors.live import IN_PROGRESS, is_at_work
from stockpick_assets.store import Store, TableMissing

# The first of the flow and the last: what one of them read before a revision and the other after it is out of date.
MADE = (FEATURE_ROWS.name, SCORES.name)
# A run that fails at once would otherwise be requested again every half minute.
WAIT_AFTER_FAILURE = timedelta(minutes=5)


def recompute_sensor(flow: Flow, jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor `recompute`; of `jobs` it requests the two named here.

    Its cursor is, by session, the state in which its rows were found up to date, and the one in which a run was
    requested: a session whose run changed nothing, because it failed, comes after the others.
    """
    requested = [job for job in jobs if job.name in (RECOMPUTE, TRAINING_SET)]

    @dg.sensor(
        name=RECOMPUTE,
        jobs=requested,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Features to scores of the minutes that revised bars left out of date, then their training set.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        for job in requested:
            if is_at_work(context.instance, job.name):
                return dg.SensorResult(skip_reason=f"A run of {job.name} is still at work.")
        store = tables.store()
        cursor: dict[str, dict[str, str]] = json.loads(context.cursor or "{}")
        current, asked = cursor.get("current", {}), cursor.get("asked", {})
        changed = changed_sessions(store, (RAW_PRICES.name, *MADE), flow.window.sessions, current)
        live = _live_from(context.instance)
        due: list[tuple[Session, str, dg.RunRequest]] = []
        for session, state in changed:
            request = request_of(store, flow, session, live)
            if request is None:
                current[session.label()] = state
            else:
                due.append((session, state, request))
        fresh = [entry for entry in due if asked.get(entry[0].label()) != entry[1]]
        requests: list[dg.RunRequest] = []
        said = "Nothing is out of date."
        if not fresh and due:
            waits = _waits(context.instance, now)
            said = f"{due[0][0].label()} is out of date, and the run that was to mend it changed nothing. {waits}"
            fresh = [] if waits else due
        if fresh:
            session, state, request = fresh[0]
            asked[session.label()] = state
            requests = [request]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said,
            cursor=json.dumps({"current": current, "asked": asked}),
        )

    return sensor


def _live_from(instance: dg.DagsterInstance) -> datetime | None:
    """The first minute of the live run at work, which makes its minutes itself; None where there is none."""
    for run in instance.get_runs(dg.RunsFilter(job_name=LIVE, statuses=IN_PROGRESS), limit=1):
        return minute_from_label(run.tags["dagster/asset_partition_range_start"].partition("|")[0])
    return None


def request_of(store: Store, flow: Flow, session: Session, live: datetime | None = None) -> dg.RunRequest | None:
    """The run that a session needs next to be up to date, but for the minutes from `live` on. Raises StoreError."""
    affected = out_of_date(store, session, flow.window.tickers, live)
    if affected is not None:
        return dg.RunRequest(job_name=RECOMPUTE, tags=flow.window.select(affected.first, affected.last).tags())
    if learnt_before(store, session):
        return dg.RunRequest(job_name=TRAINING_SET, partition_key=session.label())
    return None


def _waits(instance: dg.DagsterInstance, now: Now) -> str | None:
    """Why nothing is requested again yet: the newest run failed a short while ago."""
    ended = [
        record.end_time or 0.0
        for job in (RECOMPUTE, TRAINING_SET)
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.FAILURE]), limit=1
        )
    ]
    since = timedelta(seconds=now.wall().timestamp() - max(ended, default=0.0))
    return f"It is requested again in {WAIT_AFTER_FAILURE - since}." if since < WAIT_AFTER_FAILURE else None


def out_of_date(
    store: Store, session: Session, tickers: Sequence[str], before: datetime | None = None
) -> DueMinutes | None:
    """The minutes of a session that were made from bars that have been revised since. Raises StoreError.

    tickers: those that are made again; rows of others stay as they are. before: only minutes before it. A minute that
    has come through the first of the flow and not through the last is a run's at work, or a failed one's.
    """
    bars = _of(store, RAW_PRICES.name, session, ("session", "minute", "ticker", "reason", "fetched_at"))
    bars = bars.filter(pc.is_in(bars["ticker"], pa.array(list(tickers))))
    first_made, last_made = (
        rows.filter(pc.is_in(rows["ticker"], pa.array(list(tickers))))
        for rows in (_of(store, name, session, ("session", "minute", "ticker", BARS_FETCHED_AT)) for name in MADE)
    )
    if before is not None:
        last_made = last_made.filter(pc.less(last_made["minute"], pa.scalar(before, TIMESTAMP)))
    newest = pc.max(last_made["minute"])
    first_made = first_made.filter(pc.less_equal(first_made["minute"], newest))
    found = [due for rows in (first_made, last_made) if (due := affected_minutes(bars, rows)) is not None]
    return DueMinutes(min(due.first for due in found), newest.as_py()) if found else None


def learnt_before(store: Store, session: Session) -> bool:
    """Whether the session's training set was made of features that have been made again since. Raises StoreError."""
    made = _of(store, FEATURE_ROWS.name, session, (BARS_FETCHED_AT,))
    learnt = _of(store, TRAINING_SET, session, (BARS_FETCHED_AT,))
    newest = pc.max(made[BARS_FETCHED_AT]).as_py()
    return bool(learnt.num_rows) and newest is not None and newest > pc.max(learnt[BARS_FETCHED_AT]).as_py()


def _of(store: Store, table: str, session: Session, columns: Sequence[str]) -> pa.Table:
    try:
        return store.read(table, from_session=session.date, to_session=session.date, columns=columns)
    except TableMissing:
        return TABLES[table].empty().select(list(columns))
