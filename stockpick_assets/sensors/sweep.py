"""Compares the minutes of recent sessions with the source's again: bars are revised after they closed.

What does not belong here: how often (core/due.py), and what is done about a revision (recompute.py).
"""

import json
from datetime import datetime

import dagster as dg

from stockpick_assets.ask_again import again
from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.due import due_sweep
from stockpick_assets.core.market_hours import last_closed_minute
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.jobs import ASK_AGAIN
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.live import is_at_work
from stockpick_assets.store import TableMissing

SWEEP = "sweep"


def sweep_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `sweep`.

    Its cursor is, by session, market time of the last sweep that was requested, or at which it was seen first: rows
    that have just come need no comparison.
    """

    @dg.sensor(
        name=SWEEP,
        job_name=ASK_AGAIN,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks again for every answered minute of recent sessions, to find the bars that were revised.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        market = now.market()
        told: dict[str, str] = json.loads(context.cursor or "{}")
        swept = {label: at for label, time in told.items() if (at := datetime.fromisoformat(time)) <= market}
        try:
            held = tables.store().contents(RAW_PRICES.name)
        except TableMissing:
            return dg.SensorResult(skip_reason="No minute has been answered yet.")
        begun = [session for session in flow.window.sessions if session.open <= market and session.date in held.files]
        swept = {session.label(): swept.get(session.label(), market) for session in begun}
        session = due_sweep(begun, swept, market)
        # The newest minutes are the live run's, before which a sweep's requests would go as if they were; and what no
        # run has answered yet is the live sensor's.
        last = last_closed_minute(session, market - BACKFILL_LAG, flow.bar_delay) if session else None
        last = min(last, held.newest) if last is not None and held.newest is not None else None
        requests: list[dg.RunRequest] = []
        said = "Every recent session was compared with the source lately."
        if session is not None and last is not None:
            if is_at_work(context.instance, ASK_AGAIN):
                said = f"A run of {ASK_AGAIN} is at work; {session.label()} comes after it."
            else:
                requests = [again(session.open, last)]
                swept[session.label()] = market
        cursor = json.dumps({label: at.isoformat() for label, at in swept.items()})
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else said, cursor=cursor)

    return sensor
