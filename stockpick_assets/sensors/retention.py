"""Forgets what Dagster knows of partitions that left the window, and of old runs. The tables keep their rows, and
training reads them.

What does not belong here: how it is forgotten (fine_partitions/retention.py), old versions of tables (upkeep.py), and
ticks, which Dagster's daemon deletes as `retention` in dagster.yaml says.
"""

import json
from datetime import timedelta

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DAILY
from stockpick_assets.fine_partitions.retention import (
    forget_backfills_before,
    forget_partitions_before,
    forget_runs_before,
)
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage
from stockpick_assets.jobs import FLOW
from stockpick_assets.resources.now import Now

RUNS = "runs"
# 17 s of the 60 that Dagster gives a tick, at 37 ms a run on a machine with other work.
RUNS_A_TICK = 450


def retention_sensor(flow: Flow, keep_runs: timedelta) -> dg.SensorDefinition:
    """The sensor `retention`. Its cursor is, by asset, the window's first session it has seen to; of the runs, the day.

    One asset a tick: a session of 39,000 partitions takes 1.2 to 1.7 s, and counting those that stay 2.5 s, which the
    first viewer of the asset's page would wait for. keep_runs: the age from which a run goes, once it has nothing of a
    partition of the window.
    """
    first = flow.window.sessions[0].label()
    definitions: dict[str, dg.PartitionsDefinition] = {
        **dict.fromkeys(FLOW, flow.window.ticker_minutes),
        **dict.fromkeys(DAILY, flow.window.session_partitions),
    }

    @dg.sensor(
        name="retention",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Forgets the partitions that left the window and old runs; the tables keep their rows.",
    )
    def sensor(context: dg.SensorEvaluationContext, now: dg.ResourceParam[Now]) -> dg.SensorResult:
        instance = context.instance
        if not isinstance(instance.event_log_storage, FinePartitionsStorage):
            return dg.SensorResult(skip_reason="Dagster's own event log keeps what it knows of every partition.")
        done: dict[str, str] = json.loads(context.cursor or "{}")
        asset = next((asset for asset in definitions if done.get(asset) != first), None)
        if asset is not None:
            forgotten = forget_partitions_before(instance, [flow.key(asset)], first)
            get_and_update_asset_status_cache_value(instance, flow.key(asset), definitions[asset])
            said = f"{flow.source}/{asset}: {forgotten.events:,} events before {first} forgotten."
            return dg.SensorResult(skip_reason=said, cursor=json.dumps(done | {asset: first}))
        wall = now.wall()
        today = wall.date().isoformat()
        if done.get(RUNS) != today:
            old = wall - keep_runs
            runs, backfills = forget_runs_before(instance, old, RUNS_A_TICK), forget_backfills_before(instance, old)
            said = f"{runs} runs and {backfills} backfills older than {keep_runs.days} days forgotten."
            done |= {RUNS: today} if runs < RUNS_A_TICK else {}
            return dg.SensorResult(skip_reason=said, cursor=json.dumps(done))
        return dg.SensorResult(
            skip_reason=f"Nothing is left of the time before {first}, nor to do today.", cursor=context.cursor
        )

    return sensor
