"""Keeps the tables quick to read and no larger than they need be: compaction at any time, a vacuum after each close.

In a sensor and not at the end of a write: the five tables of a minute have the same number of commits, so their
compactions would all be one minute's, and take it two seconds.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.core.upkeep import crowded_sessions
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import CommitRefused, Store, TableMissing

UPKEEP = "upkeep"
# Dagster gives a tick 60 s. A session of 200 files is compacted in 1.3 s.
BEGIN_WITHIN = timedelta(seconds=20)


def upkeep_sensor(flow: Flow, keep: timedelta) -> dg.SensorDefinition:
    """The sensor `upkeep`. Its cursor is, by table, the session after whose close it was vacuumed last.

    keep: how long a version of a table can still be read after a newer one replaced it.
    """

    @dg.sensor(
        name=UPKEEP,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compacts the tables, and deletes what no version of the last {keep.days} days needs.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        store, market = tables.store(), now.market()
        is_open = next((session.date for session in flow.window.sessions if session.contains(market)), None)
        done = list(compact_tables(store, is_open, now, now.wall() + BEGIN_WITHIN))
        vacuumed: dict[str, str] = json.loads(context.cursor or "{}")
        closed = [session.label() for session in flow.window.sessions if session.close <= market]
        due = next((name for name in TABLES if closed and vacuumed.get(name) != closed[-1]), None)
        if due is not None and not done:
            done.append(vacuum_table(store, due, keep))
            vacuumed[due] = closed[-1]
        said = " ".join(done) or "Every table is compact."
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(vacuumed))

    return sensor


def compact_tables(store: Store, is_open: date | None, now: Now, until: datetime) -> Iterator[str]:
    """Compact every crowded session of every table, beginning none after `until`; tells each. Raises StoreError."""
    for name in TABLES:
        try:
            crowded = crowded_sessions(store.contents(name).files, is_open)
        except TableMissing:
            continue
        for session in crowded:
            if now.wall() >= until:
                return
            try:
                if files := store.compact(name, session):
                    yield f"{name} of {session}: {files} files compacted."
            except CommitRefused:
                yield f"{name} of {session} was written to meanwhile and is compacted later."


def vacuum_table(store: Store, name: str, keep: timedelta) -> str:
    """Vacuum a table and tell how it went. Raises StoreError."""
    try:
        return f"{name}: {store.vacuum(name, keep)} files deleted."
    except TableMissing:
        return f"{name} has not been written."
