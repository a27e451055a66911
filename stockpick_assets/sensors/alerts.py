"""Raises alerts from new picks, and delivers them through the table `alerts`: every alert is a row before it is sent.

A tick that dies between sending an alert and marking it sends it again: an alert comes at least once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.alerts import (
    MATTERS_FOR,
    PICK_COLUMNS,
    Alert,
    Status,
    alerts_from,
    alerts_table,
    expire,
    new_best_picks,
    settled,
)
from stockpick_assets.core.market_hours import MINUTE, minute_label, new_york_date
from stockpick_assets.core.schemas import ALERTS, PICKS
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store, TableMissing

NAME = "alerts"
# Dagster gives a tick 60 s, and a channel that does not answer takes 8 s.
DELIVERIES_A_TICK = 4
JUDGED_A_TICK = timedelta(days=1)


def alerts_sensor(flow: Flow, threshold: float) -> dg.SensorDefinition:
    """The sensor `alerts`. Its cursor is the newest minute it has judged. threshold: p_profit from which to alert."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"A new best pick whose p_profit is at least {threshold:.1%}, to every channel that is configured.",
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        tables: Tables,
        now: dg.ResourceParam[Now],
        notifier: dg.ResourceParam[Notifier],
    ) -> dg.SensorResult:
        store, market = tables.store(), now.market()
        newest = market - MINUTE
        judged = datetime.fromisoformat(context.cursor) if context.cursor else None
        if judged is None or judged > newest:
            # At first, and when a replay was started again: what is over already is nobody's alert.
            judged = (newest - MATTERS_FOR).replace(second=0, microsecond=0)
        until = min(newest, judged + JUDGED_A_TICK)
        try:
            picks = store.read(
                PICKS.name, from_session=new_york_date(judged), first=judged, last=until, columns=PICK_COLUMNS
            )
        except TableMissing:
            return dg.SensorResult(skip_reason="There are no picks yet.")
        raised = raise_alerts(store, new_best_picks(picks, judged, threshold, flow.links, now.wall()))
        marked = deliver_alerts(store, notifier, judged, now)
        if picks.num_rows:
            judged = picks["minute"][-1].as_py()
        elif until < newest:
            judged = until
        return dg.SensorResult(skip_reason=_summary(raised, marked, judged), cursor=judged.astimezone(UTC).isoformat())

    return sensor


def raise_alerts(store: Store, alerts: Sequence[Alert]) -> list[Alert]:
    """Write the alerts that the table does not have yet, as pending; returns those. Raises StoreError."""
    if not alerts:
        return []
    known = {alert.id for alert in _alerts_since(store, alerts[0].minute)}
    new = [alert for alert in alerts if alert.id not in known]
    if new:
        store.append(ALERTS.name, alerts_table(new), {"rule": ", ".join(sorted({alert.rule for alert in new}))})
    return new


def deliver_alerts(store: Store, notifier: Notifier, since: datetime, now: Now) -> list[Alert]:
    """Deliver or expire the pending alerts of the session of `since` and later, and mark what became of them.

    At most DELIVERIES_A_TICK are delivered; the others stay pending. Returns those marked. Raises StoreError.
    """
    pending = [alert for alert in _alerts_since(store, since) if alert.status == Status.PENDING]
    late = [alert for alert in pending if alert.expired(now.market())]
    due = [alert for alert in pending if alert not in late][:DELIVERIES_A_TICK]
    marked = [expire(alert, now.market()) for alert in late]
    marked += [settled(alert, notifier.deliver(alert.title, alert.body), now.wall()) for alert in due]
    if marked:
        ids = ", ".join("'" + alert.id.replace("'", "''") + "'" for alert in marked)
        oldest = min(alert.session for alert in marked)
        predicate = f"session >= '{oldest.isoformat()}' AND id IN ({ids})"
        store.replace(ALERTS.name, alerts_table(marked), predicate, {"marked": str(len(marked))})
    return marked


def _alerts_since(store: Store, minute: datetime) -> list[Alert]:
    try:
        return alerts_from(store.read(ALERTS.name, from_session=new_york_date(minute)))
    except TableMissing:
        return []


def _summary(raised: Sequence[Alert], marked: Sequence[Alert], reached: datetime) -> str:
    words = [f"{status}: {count}" for status in Status if (count := sum(alert.status == status for alert in marked))]
    said = f"{len(raised)} new alerts" + (f" ({', '.join(words)})" if words else "")
    return f"Judged picks up to {minute_label(reached)} New York: {said}."
