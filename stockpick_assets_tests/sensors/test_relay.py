"""The relay's sensor: what a person reads of each tick."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.core.market_hours import session_after
from stockpick_assets.relay import MESSAGES_AT_ONCE, Relay
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.relay import BEGIN_WITHIN, SECONDS_AFTER_CLOSE, relay_sensor
from stockpick_assets_tests.fake_outbox import FakeBroker
from stockpick_assets_tests.picks import TICKERS, minute, picks
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at, tables


@dataclass
class Ticking:
    """Market time, which moves while somebody sleeps; `meanwhile` then happens."""

    market: datetime
    meanwhile: Callable[[], object] = lambda: None
    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.market += timedelta(seconds=seconds)
        self.meanwhile()

    def now(self) -> Now:
        clock = at(self.market).clock
        return Now(clock, lambda: clock.wall_at(self.market), self.sleep)


def evaluate(folder: Path, broker: FakeBroker, now: Now, relay: Relay | None = None, cursor: str | None = None) -> Any:
    relay = relay or Relay("simulated", TICKERS, now.clock, broker.connect)
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"tables": tables(folder), "now": now, "relay": relay}
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
            said = relay_sensor(FLOW).evaluate_tick(context)
    assert said.run_requests == []
    return said


def tick(folder: Path, broker: FakeBroker, market: datetime, relay: Relay | None = None) -> str:
    return evaluate(folder, broker, Ticking(market).now(), relay).skip_message or ""


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
    tickers = [f"T{index}" for index in range(MESSAGES_AT_ONCE // 250)]
    broker = FakeBroker()
    relay = Relay("simulated", tickers, at(minute(0)).clock, broker.connect)
    tick(tmp_path, broker, minute(1), relay)
    tables(tmp_path).store().append("picks", picks(390, tickers=tickers), {})
    said = tick(tmp_path, broker, SESSION.close, relay)
    assert said.startswith(f"Sent {390 * len(tickers)} messages of 390 minutes")
    assert len(broker.committed) == 390 * len(tickers)


def test_a_tick_before_a_close_looks_until_the_picks_of_the_minute_are_there(tmp_path: Path) -> None:
    store = tables(tmp_path).store()

    def commit() -> None:
        if time.market == minute(1) + timedelta(seconds=6):
            store.append("picks", picks(1), {})

    time = Ticking(minute(1) - timedelta(seconds=9), commit)
    said = evaluate(tmp_path, FakeBroker(), time.now())
    assert said.skip_message == "Sent 3 messages of 2026-11-20 09:30 New York."
    assert time.market == minute(1) + timedelta(seconds=6)


def test_a_tick_looks_for_half_a_minute_at_most_and_not_at_all_when_no_close_is_near(tmp_path: Path) -> None:
    near, far, late = (Ticking(minute(1) + timedelta(seconds=seconds)) for seconds in (-9, -11, SECONDS_AFTER_CLOSE))
    for time in (near, far, late):
        evaluate(tmp_path, FakeBroker(), time.now())
    assert near.slept == pytest.approx(BEGIN_WITHIN.seconds)
    assert far.slept == late.slept == 0


def test_a_tick_before_a_session_waits_for_its_first_minute_and_one_after_it_for_none(tmp_path: Path) -> None:
    tables(tmp_path).store().append("picks", picks(390), {})
    broker = FakeBroker()
    relay = Relay("simulated", TICKERS, at(minute(0)).clock, broker.connect)
    evaluate(tmp_path, broker, Ticking(minute(389)).now(), relay)
    evening = Ticking(SESSION.close + timedelta(minutes=1))
    evaluate(tmp_path, broker, evening.now(), relay)
    assert (len(broker.committed), evening.slept) == (390 * 3, 0)
    morning = Ticking(session_after(SESSION).open + timedelta(seconds=55))
    evaluate(tmp_path, broker, morning.now(), relay)
    assert morning.slept > 0


def test_the_cursor_says_what_was_sent_last(tmp_path: Path) -> None:
    tables(tmp_path).store().append("picks", picks(2), {})
    broker = FakeBroker()
    first = evaluate(tmp_path, broker, Ticking(minute(2)).now())
    assert first.cursor == "6 messages of 2 minutes, 2026-11-20 09:30 to 2026-11-20 09:31 New York"
    assert evaluate(tmp_path, broker, Ticking(minute(2)).now(), cursor=first.cursor).cursor == first.cursor


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
