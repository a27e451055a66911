"""Asks again for the minutes that have no final reason, each ticker of a session in its own time.

What does not belong here: minutes without any row (the live sensor, a backfill), and how long it waits (core/due.py).
"""

import json
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.ask_again import again
from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import Healing
from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.quality import FINAL
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.jobs import ASK_AGAIN
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.changes import changed_sessions
from stockpick_assets.sensors.live import is_at_work
from stockpick_assets.store import Store

HEAL = "heal"

Plans = dict[str, dict[str, Healing]]  # by session label and ticker


def heal_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `heal`. Its cursor holds each session's rows as they were looked at last, and the plans."""

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
        labels = {session.label() for session in flow.window.sessions}
        looked: dict[str, str] = {label: state for label, state in cursor.get("looked", {}).items() if label in labels}
        plans = {label: plan for label, plan in _plans(cursor.get("plans", {})).items() if label in labels}
        for session, state in changed_sessions(store, (RAW_PRICES.name,), flow.window.sessions, looked):
            label = session.label()
            tickers: list[Any] = _unexplained(store, session, flow.window.tickers)["ticker"].to_pylist()
            plans[label] = {
                ticker: plans.get(label, {}).get(ticker, _begun(flow, label, ticker, wall)).found(count, wall)
                for ticker, count in Counter(tickers).items()
            }
            looked[label] = state
        requests: list[dg.RunRequest] = []
        said = _said(plans)
        for session in flow.window.sessions:
            due = [ticker for ticker, plan in plans.get(session.label(), {}).items() if plan.after <= wall]
            if not due:
                continue
            if is_at_work(context.instance, ASK_AGAIN):
                said = f"{said} A run of {ASK_AGAIN} is at work."
                break
            last = pc.max(_unexplained(store, session, due)["minute"]).as_py()
            plans[session.label()] |= {ticker: plans[session.label()][ticker].asked(wall) for ticker in due}
            # From the open on, which is no further request: the rules of quarantine, and what tells a split, see the
            # minutes before.
            requests = [again(session.open, last, sorted(due))]
            break
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said,
            cursor=json.dumps({"looked": looked, "plans": plans}, default=_told),
        )

    return sensor


def _begun(flow: Flow, label: str, ticker: str, wall: datetime) -> Healing:
    return Healing(0, 0, wall, f"{flow.seed} {label} {ticker}")


def _plans(told: dict[str, dict[str, dict[str, Any]]]) -> Plans:
    return {
        label: {
            ticker: Healing(**{**plan, "after": datetime.fromisoformat(plan["after"])})
            for ticker, plan in of_session.items()
        }
        for label, of_session in told.items()
    }


def _told(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def _unexplained(store: Store, session: Session, tickers: list[str] | tuple[str, ...]) -> pa.Table:
    """The newest rows of these tickers in a session whose reason is not final. Raises StoreError."""
    rows = store.read(
        RAW_PRICES.name,
        from_session=session.date,
        to_session=session.date,
        columns=["minute", "ticker", "reason"],
    )
    waits = pc.invert(pc.is_in(rows["reason"], pa.array(sorted(FINAL))))
    return rows.filter(pc.and_(waits, pc.is_in(rows["ticker"], pa.array(list(tickers)))))


def _said(plans: Plans) -> str:
    parts: list[str] = []
    for label, of_session in plans.items():
        if of_session:
            minutes = sum(plan.unexplained for plan in of_session.values())
            after = min(plan.after for plan in of_session.values())
            parts.append(
                f"{minutes} minutes of {len(of_session)} tickers in {label} have no final reason and are asked for "
                f"again from {after:%H:%M:%S} UTC on."
            )
    return " ".join(parts) or "Every minute that was answered has a final reason."
