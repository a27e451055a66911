"""Asks again for the minutes that have no final reason, session by session.

What does not belong here: minutes without any row (the live sensor, a backfill), and how long it waits (core/due.py).
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.ask_again import again, unexplained
from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import Healing
from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.jobs import ASK_AGAIN
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.changes import changed_sessions
from stockpick_assets.sensors.live import IN_PROGRESS
from stockpick_assets.store import Store

HEAL = "heal"


def heal_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `heal`. Its cursor holds each session's rows as they were looked at last, and its Healing."""

    @dg.sensor(
        name=HEAL,
        job_name=ASK_AGAIN,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks the source again for minutes that have no final reason, less often each time.",
    )
    def sensor(context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        store, wall = tables.store(), now.wall()
        cursor: dict[str, Any] = json.loads(context.cursor or "{}")
        looked: dict[str, str] = cursor.get("looked", {})
        plans = {label: _plan(told) for label, told in cursor.get("plans", {}).items()}
        for session, state in changed_sessions(store, (RAW_PRICES.name,), flow.window.sessions, looked):
            plan = plans.get(session.label(), Healing(0, 0, wall, f"{flow.seed} {session.label()}"))
            plans[session.label()] = plan.found(_unexplained(store, session).num_rows, wall)
            looked[session.label()] = state
        open_plans = {label: plan for label, plan in plans.items() if plan.unexplained}
        due = next((session for session in flow.window.sessions if _due(open_plans.get(session.label()), wall)), None)
        requests: list[dg.RunRequest] = []
        said = _said(open_plans)
        if due is not None:
            at_work = context.instance.get_runs_count(dg.RunsFilter(job_name=ASK_AGAIN, statuses=IN_PROGRESS))
            if at_work:
                said = f"{said} A run of {ASK_AGAIN} is at work."
            else:
                minutes = _unexplained(store, due)["minute"]
                open_plans[due.label()] = open_plans[due.label()].asked(wall)
                requests = [again(pc.min(minutes).as_py(), pc.max(minutes).as_py(), unexplained=True)]
        kept = {label: asdict(plan) | {"after": plan.after.isoformat()} for label, plan in open_plans.items()}
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said,
            cursor=json.dumps({"looked": looked, "plans": kept}),
        )

    return sensor


def _plan(told: dict[str, Any]) -> Healing:
    return Healing(**{**told, "after": datetime.fromisoformat(told["after"])})


def _due(plan: Healing | None, wall: datetime) -> bool:
    return plan is not None and plan.after <= wall


def _unexplained(store: Store, session: Session) -> pa.Table:
    columns = ["minute", "ticker", "reason"]
    return unexplained(store.read(RAW_PRICES.name, from_session=session.date, to_session=session.date, columns=columns))


def _said(plans: dict[str, Healing]) -> str:
    if not plans:
        return "Every minute that was answered has a final reason."
    parts = [
        f"{plan.unexplained} minutes of {label} have no final reason and are asked for again from "
        f"{plan.after:%H:%M:%S} UTC on (attempt {plan.attempts + 1})."
        for label, plan in plans.items()
    ]
    return " ".join(parts)
