"""Rolls the window of live partitions: once the settings give another, the code location is reloaded with it.

What does not belong here: which window the settings give, and at what times it may change (window.py).
"""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus

from stockpick_assets.assets.flow import Flow
from stockpick_assets.partitions import Window
from stockpick_assets.resources.code_server import CannotReload, CodeServer
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.live import IN_PROGRESS
from stockpick_assets.window import is_between_sessions

WINDOW = "window"
UNFINISHED = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]


def window_sensor(flow: Flow, window_at: Callable[[datetime], Window]) -> dg.SensorDefinition:
    """The sensor `window`. window_at: the window that the settings give at a wall time."""

    @dg.sensor(
        name=WINDOW,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Rolls the window of live partitions once a day, between sessions, when no run is at work.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, now: dg.ResourceParam[Now], code_server: dg.ResourceParam[CodeServer]
    ) -> dg.SkipReason:
        due = window_at(now.wall())
        if due == flow.window:
            return dg.SkipReason(f"The window is the one the settings give: {due}.")
        if not is_between_sessions(due, now.market()):
            return dg.SkipReason(f"The window becomes {due} when the session is over.")
        runs = context.instance.get_runs_count(dg.RunsFilter(statuses=IN_PROGRESS))
        backfills = context.instance.get_backfills_count(BulkActionsFilter(statuses=UNFINISHED))
        if runs or backfills:
            return dg.SkipReason(f"The window becomes {due} after {runs} runs and {backfills} backfills at work.")
        try:
            code_server.reload()
        except CannotReload as error:
            return dg.SkipReason(f"The window is {flow.window} and {due} is due: {error}.")
        return dg.SkipReason(f"The window was {flow.window} and is {due}.")

    return sensor
