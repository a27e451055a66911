"""What the code server of crashes.py serves: the relay's sensor, on the tables and the broker of the settings."""

import dagster as dg

from stockpick_assets.sensors.relay import relay_sensor
from stockpick_assets.settings import Settings
from stockpick_assets_tests.crashes import FLOW, LATE, relay, tables


@dg.op
def nothing() -> None:
    pass


@dg.job
def idle() -> None:
    nothing()


_settings = Settings.load()
defs = dg.Definitions(
    jobs=[idle],
    sensors=[relay_sensor(FLOW)],
    resources={"tables": tables(_settings), "now": LATE, "relay": relay(_settings)},
)
