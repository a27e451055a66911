"""Materializes again what revised bars left out of date: from the first minute touched to the last one made.

Dagster's own marks cannot see it: a revision is a version of a row. What does not belong here: which minutes a revision
touches (core/versions.py), and minutes that were never made (the live sensor, a backfill).
"""

import json
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DueMinutes
from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS, RAW_PRICES, SCORES, TABLES
from stockpick_assets.core.versions import affected_minutes
from stockpick_assets.jobs import RECOMPUTE, TRAINING_SET, AssetJob
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.changes import changed_sessions
from stockpick_assets.sensors.live import IN_PROGRESS
from stockpick_assets.store import Store, TableMissing

# The first of the flow and the last: what one of them read before a revision and the other after it is out of date.
MADE = (FEATURE_ROWS.name, SCORES.name)
# A run that fails at once would otherwise be requested again every half minute.
WAIT_AFTER_FAILURE = timedelta(minutes=5)


def recompute_sensor(flow: Flow, jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor `recompute`; of `jobs` it requests the two named here.

    Its cursor is, by session, the state in which its rows were found up to date.
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
            if why := _waits(context.instance, job.name, now):
                return dg.SensorResult(skip_reason=why)
        store = tables.store()
        current: dict[str, str] = json.loads(context.cursor or "{}")
        for session, state in changed_sessions(store, (RAW_PRICES.name, *MADE), flow.window.sessions, current):
            affected = out_of_date(store, session)
            if affected is not None:
                selection = flow.window.select(affected.first, affected.last)
                request = dg.RunRequest(job_name=RECOMPUTE, tags=selection.tags())
            elif learnt_before(store, session):
                request = dg.RunRequest(job_name=TRAINING_SET, partition_key=session.label())
            else:
                current[session.label()] = state
                continue
            return dg.SensorResult(run_requests=[request], cursor=json.dumps(current))
        return dg.SensorResult(skip_reason="Nothing is out of date.", cursor=json.dumps(current))

    return sensor


def _waits(instance: dg.DagsterInstance, job: str, now: Now) -> str | None:
    """Why no run is requested while the newest of the job is as it is."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    if not records:
        return None
    run, ended = records[0].dagster_run, records[0].end_time or 0.0
    if run.status in IN_PROGRESS:
        return f"Run {run.run_id[:8]} of {job} is still at work."
    since = timedelta(seconds=now.wall().timestamp() - ended)
    if run.status == dg.DagsterRunStatus.FAILURE and since < WAIT_AFTER_FAILURE:
        return f"Run {run.run_id[:8]} of {job} failed; the next is requested in {WAIT_AFTER_FAILURE - since}."
    return None


def out_of_date(store: Store, session: Session) -> DueMinutes | None:
    """The minutes of a session that were made from bars that have been revised since. Raises StoreError.

    A minute that has come through the first of the flow and not through the last is a run's at work, or a failed one's.
    """
    bars = _of(store, RAW_PRICES.name, session, ("session", "minute", "fetched_at"))
    first_made, last_made = (_of(store, name, session, ("session", "minute", BARS_FETCHED_AT)) for name in MADE)
    newest = pc.max(last_made["minute"])
    first_made = first_made.filter(pc.less_equal(first_made["minute"], newest))
    found = [due for rows in (first_made, last_made) if (due := affected_minutes(bars, rows)) is not None]
    return DueMinutes(min(due.first for due in found), newest.as_py()) if found else None


def learnt_before(store: Store, session: Session) -> bool:
    """Whether the session's training set was made from bars that have been revised since. Raises StoreError."""
    bars = _of(store, RAW_PRICES.name, session, ("fetched_at",))
    learnt = _of(store, TRAINING_SET, session, (BARS_FETCHED_AT,))
    return bool(learnt.num_rows) and pc.max(bars["fetched_at"]).as_py() > pc.max(learnt[BARS_FETCHED_AT]).as_py()


def _of(store: Store, table: str, session: Session, columns: Sequence[str]) -> pa.Table:
    try:
        return store.read(table, from_session=session.date, to_session=session.date, columns=columns)
    except TableMissing:
        return TABLES[table].empty().select(list(columns))
