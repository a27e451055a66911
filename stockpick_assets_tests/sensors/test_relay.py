"""The relay's sensor: what a person reads of each tick."""

from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.relay import MESSAGES_AT_ONCE, Relay
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets.sensors.relay import relay_sensor
from stockpick_assets_tests.fake_outbox import FakeBroker
from stockpick_assets_tests.picks import TICKERS, minute, picks
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at, tables


def tick(folder: Path, broker: FakeBroker, market: datetime, relay: Relay | None = None) -> str:
    now = at(market)
    relay = relay or Relay("simulated", TICKERS, now.clock, broker.connect)
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"tables": tables(folder), "now": now, "relay": relay}
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            said = relay_sensor(FLOW).evaluate_tick(context)
    assert said.run_requests == []
    return said.skip_message or ""


def test_a_tick_says_what_it_sent(tmp_path: Path) -> None:
    tables(tmp_path).store().append("picks", picks(2), {})
    broker = FakeBroker()
    assert tick(tmp_path, broker, minute(2)) == (
        "Sent 6 messages of 2 minutes, 2026-11-20 09:30 to 2026-11-20 09:31 New York."
    )
    assert tick(tmp_path, broker, minute(2)) == "Everything before 2026-11-20 09:32 New York has been sent."


def test_a_tick_says_why_it_sent_nothing(tmp_path: Path) -> None:
    assert tick(tmp_path, FakeBroker(), minute(2)) == (
        "There are no picks yet; the first to be sent are of 2026-11-20 09:30 New York."
    )


def test_a_backlog_is_sent_in_several_transactions_of_one_tick(tmp_path: Path) -> None:
    tickers = [f"T{index}" for index in range(MESSAGES_AT_ONCE // 100)]
    broker = FakeBroker()
    relay = Relay("simulated", tickers, at(minute(0)).clock, broker.connect)
    tick(tmp_path, broker, minute(1), relay)
    tables(tmp_path).store().append("picks", picks(390, tickers=tickers), {})
    said = tick(tmp_path, broker, SESSION.close, relay)
    assert said.startswith(f"Sent {390 * len(tickers)} messages of 390 minutes")
    assert len(broker.committed) == 390 * len(tickers)


def test_a_tick_without_a_broker_fails_and_the_next_sends_what_was_due(tmp_path: Path) -> None:
    tables(tmp_path).store().append("picks", picks(2), {})
    broker = FakeBroker(fails="to open")
    with pytest.raises(BrokerError, match="no broker"):
        tick(tmp_path, broker, minute(2))
    broker.fails = ""
    assert tick(tmp_path, broker, minute(2)).startswith("Sent 6 messages")


def test_the_sensor_runs_by_default_and_says_what_it_is_for() -> None:
    sensor = relay_sensor(FLOW)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert "simulated/picks" in (sensor.description or "")
