"""Forgets what Dagster knows of partitions that left the window. The tables keep their rows, and training reads them.

What does not belong here: how it is forgotten (fine_partitions/retention.py), and old versions of tables (upkeep.py).
"""

import json

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.fine_partitions.retention import forget_partitions_before
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage
from stockpick_assets.jobs import FLOW


def retention_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `retention`. Its cursor is, by asset, the first minute of the window that it has seen to.

    One asset a tick: a session of 39,000 partitions takes 1.2 to 1.7 s, and Dagster gives a tick 60 s.
    """
    first = minute_label(flow.window.sessions[0].open)

    @dg.sensor(
        name="retention",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Forgets the partitions that left the window; the tables keep their rows.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if not isinstance(context.instance.event_log_storage, FinePartitionsStorage):
            return dg.SensorResult(skip_reason="Dagster's own event log keeps what it knows of every partition.")
        done: dict[str, str] = json.loads(context.cursor or "{}")
        asset = next((asset for asset in FLOW if done.get(asset) != first), None)
        if asset is None:
            return dg.SensorResult(skip_reason=f"Nothing is left of the time before {first} New York.")
        forgotten = forget_partitions_before(context.instance, [flow.key(asset)], first)
        said = f"{flow.source}/{asset}: {forgotten.events:,} events before {first} New York forgotten."
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(done | {asset: first}))

    return sensor
