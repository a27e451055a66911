"""Sends the messages of new picks to Kafka: whatever the relay has not sent yet, a bounded amount each tick."""

from datetime import timedelta

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.relay import Relay, Relayed
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables

RELAY = "relay"
# Dagster gives a tick 60 s. Opening the outbox takes 20 s at most, a transaction 25 s.
BEGIN_WITHIN = timedelta(seconds=15)


def relay_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `relay`. Needs the resource `relay`, which keeps its connection from tick to tick."""

    @dg.sensor(
        name=RELAY,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"One message for each ticker and minute of {flow.source}/picks, to the Kafka topic of its ticker.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now], relay: dg.ResourceParam[Relay]
    ) -> dg.SkipReason:
        store, began = tables.store(), now.wall()
        done = relay.send_due(store, now.market())
        sent = Relayed(done.minutes, done.messages)
        while done.minutes and now.wall() - began < BEGIN_WITHIN:
            done = relay.send_due(store, now.market())
            sent = Relayed(sent.minutes + done.minutes, sent.messages + done.messages)
        if not sent.minutes:
            return dg.SkipReason(str(done))
        more = " More is due and follows at the next tick." if done.minutes else ""
        return dg.SkipReason(f"Sent {sent}.{more}")

    return sensor
