"""Sends the messages of new picks to Kafka: whatever the relay has not sent yet, a bounded amount each tick.

Dagster asks its sensors every five seconds. A tick that comes before a minute closes, or soon after, looks until its
picks are there: what is sent then does not wait for the next tick.
"""

from datetime import datetime, timedelta

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.market_hours import MINUTE, last_session_begun, session_after
from stockpick_assets.relay import Relay
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables

RELAY = "relay"
# Dagster gives a tick 60 s. A transaction takes 25 s at most; relay.py keeps a call that opens the outbox below 60 s.
BEGIN_WITHIN = timedelta(seconds=30)
# From one tick to the next it is 5 s and what Dagster does between them.
SECONDS_BEFORE_CLOSE = 10.0
SECONDS_AFTER_CLOSE = 60.0  # a minute that has not come by then may not come at all: ticks look for it
SECONDS_BETWEEN_LOOKS = 0.1


def relay_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor `relay`. Needs the resource `relay`, which keeps its connection from tick to tick.

    Its cursor is for people, and says what was sent last: how far the relay has come is kept by Kafka.
    """

    @dg.sensor(
        name=RELAY,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"One message for each ticker and minute of {flow.source}/picks, to the Kafka topic of its ticker.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, tables: Tables, now: dg.ResourceParam[Now], relay: dg.ResourceParam[Relay]
    ) -> dg.SensorResult:
        store, end = tables.store(), now.wall() + BEGIN_WITHIN
        sent = done = relay.send_due(store, now.market())
        while (done or _expected(done.until, now)) and now.wall() < end:
            if not done:
                now.sleep(SECONDS_BETWEEN_LOOKS)
            done = relay.send_due(store, now.market())
            sent = sent.then(done)
        if not sent:
            return dg.SensorResult(skip_reason=str(sent), cursor=context.cursor)
        more = " More is due and follows at the next tick." if done else ""
        return dg.SensorResult(skip_reason=f"Sent {sent}.{more}", cursor=str(sent))

    return sensor


def _expected(minute: datetime, now: Now) -> bool:
    """Whether the first minute of a session from `minute` on closes soon, or closed a short while ago."""
    session = last_session_begun(minute)
    coming = minute if session.contains(minute) else session_after(session).open
    return -SECONDS_AFTER_CLOSE < now.seconds_until(coming + MINUTE) < SECONDS_BEFORE_CLOSE
