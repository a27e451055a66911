"""The alerts' sensor, with a webhook on this machine at the other end of a real Apprise."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.core.alerts import Status, alerts_from
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.sensors.alerts import DELIVERIES_A_TICK, alerts_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.sensors.flows import FLOW, at, tables

SECRET = "hunter2hunter2"


class Webhook(ThreadingHTTPServer):
    """A channel: keeps what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.received: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Its Apprise address, with a secret in it."""
        return f"json://user:{SECRET}@127.0.0.1:{self.server_port}/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        """Take one notification."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.received.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@contextmanager
def listening() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path).store()


class Ticking:
    """Ticks of one sensor, whose cursor goes from each to the next as the daemon hands it on."""

    def __init__(self, store: Store, *urls: str) -> None:
        self._store = store
        self._notifier = Notifier(" ".join(urls))
        self.cursor: str | None = None

    def tick(self, market: datetime) -> str:
        """Evaluate the sensor at market time `market`; returns what a person reads of it."""
        with dg.DagsterInstance.ephemeral() as instance:
            resources = {"tables": tables(Path(self._store.root)), "now": at(market), "notifier": self._notifier}
            with dg.build_sensor_context(instance=instance, cursor=self.cursor, resources=resources) as context:
                said = alerts_sensor(FLOW, 0.5).evaluate_tick(context)
        self.cursor = said.cursor
        return said.skip_message or ""


def best(store: Store, index: int, ticker: str) -> None:
    store.append("picks", table([pick(minute(index), ticker, 1), pick(minute(index), "TSLA", 2)]), {})


def statuses(store: Store) -> list[tuple[str, str]]:
    return [(alert.ticker, alert.status) for alert in sorted(alerts_from(store.read("alerts")), key=lambda a: a.minute)]


def test_a_new_best_pick_arrives_once_as_plain_text(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "NVDA")
    assert ticking.tick(minute(1)) == "Judged picks up to 2026-11-20 09:30 New York: 1 new alerts (sent: 1)."
    assert ticking.tick(minute(2)) == "Judged picks up to 2026-11-20 09:30 New York: 0 new alerts."
    [received] = webhook.received
    assert received["title"] == "SIMULATED: NVDA is the new best pick of 2026-11-20 09:30 New York"
    assert "Ranked first of 2 tickers." in received["message"]
    assert "http://127.0.0.1:8501/ticker?ticker=NVDA&minute=2026-11-20T09%3A30" in received["message"]
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.status, alert.attempts, alert.detail) == (Status.SENT, 1, "accepted by channel 1 (JSON)")
    assert alert.sent_at == at(minute(1)).wall()


def test_the_same_best_pick_is_not_sent_again_in_the_next_minute(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    for index, ticker in enumerate(["NVDA", "NVDA", "AMD"]):
        best(store, index, ticker)
        ticking.tick(minute(index + 1))
    assert [received["title"].split()[1] for received in webhook.received] == ["NVDA", "AMD"]


def test_a_sensor_that_lost_its_cursor_does_not_repeat_an_alert(store: Store, webhook: Webhook) -> None:
    best(store, 0, "AMD")
    best(store, 1, "NVDA")
    Ticking(store, webhook.url).tick(minute(2))
    Ticking(store, webhook.url).tick(minute(2))
    assert statuses(store) == [("AMD", "sent"), ("NVDA", "sent")]
    assert len(webhook.received) == 2


def test_an_alert_that_was_written_but_not_delivered_is_delivered_by_the_next_tick(
    store: Store, webhook: Webhook
) -> None:
    best(store, 0, "NVDA")
    with listening() as gone:
        url = gone.url
    ticking = Ticking(store, url)
    assert ticking.tick(minute(1)).endswith("1 new alerts (pending: 1).")
    restarted = Ticking(store, webhook.url)
    restarted.cursor = ticking.cursor
    assert restarted.tick(minute(2)).endswith("0 new alerts (sent: 1).")
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.attempts, len(webhook.received)) == (2, 1)


def test_a_channel_that_keeps_refusing_is_given_up(store: Store, webhook: Webhook) -> None:
    webhook.status = 500
    best(store, 0, "NVDA")
    ticking = Ticking(store, webhook.url)
    for index in range(1, 5):
        ticking.tick(minute(index))
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.status, alert.attempts) == (Status.FAILED, 3)
    assert alert.detail == "refused by channel 1 (JSON) at attempt 3"


def test_one_channel_that_takes_it_is_enough(store: Store, webhook: Webhook) -> None:
    best(store, 0, "NVDA")
    Ticking(store, "nonsense://x", webhook.url).tick(minute(1))
    [alert] = alerts_from(store.read("alerts"))
    assert alert.detail == ("accepted by channel 2 (JSON); refused by channel 1 (no address that Apprise knows)")


def test_without_a_channel_alerts_are_recorded_all_the_same(store: Store) -> None:
    best(store, 0, "NVDA")
    assert Ticking(store).tick(minute(1)).endswith("1 new alerts (suppressed: 1).")
    [alert] = alerts_from(store.read("alerts"))
    assert alert.detail == "no channel is configured: set STOCKPICK_ALERT_URLS"


def test_after_an_outage_what_is_over_expires_and_what_matters_is_sent(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "AAPL")
    ticking.tick(minute(1))
    for index, ticker in enumerate(["NVDA", "AMD", "NVDA"], start=1):
        best(store, index * 10, ticker)
    ticking.tick(minute(31))
    assert statuses(store) == [("AAPL", "sent"), ("NVDA", "expired"), ("AMD", "expired"), ("NVDA", "sent")]


def test_backfilled_minutes_are_not_alerts_of_a_sensor_that_starts(store: Store, webhook: Webhook) -> None:
    for index, ticker in enumerate(["NVDA", "AMD"] * 10):
        best(store, index, ticker)
    Ticking(store, webhook.url).tick(minute(60))
    assert webhook.received == []
    assert not store.exists("alerts")


def test_a_tick_delivers_a_bounded_number_and_the_next_the_others(store: Store, webhook: Webhook) -> None:
    for index, ticker in enumerate(["NVDA", "AMD"] * 3):
        best(store, index, ticker)
    ticking = Ticking(store, webhook.url)
    ticking.tick(minute(6))
    assert len(webhook.received) == DELIVERIES_A_TICK
    ticking.tick(minute(6))
    assert len(webhook.received) == len(statuses(store)) == 6


def test_a_minute_that_comes_late_is_judged_when_it_comes(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "NVDA")
    ticking.tick(minute(1))
    ticking.tick(minute(2) + timedelta(seconds=5))
    best(store, 1, "AMD")
    ticking.tick(minute(2) + timedelta(seconds=15))
    assert [received["title"].split()[1] for received in webhook.received] == ["NVDA", "AMD"]


def test_without_any_picks_the_sensor_waits(store: Store) -> None:
    assert Ticking(store).tick(minute(1)) == "There are no picks yet."


def test_an_address_is_neither_logged_nor_kept(
    store: Store, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.status = 403
    best(store, 0, "NVDA")
    said = Ticking(store, webhook.url, f"nonsense://{SECRET}").tick(minute(1))
    kept = str(store.read("alerts").to_pylist())
    assert "refused by channel 1 (JSON), channel 2" in kept
    assert SECRET not in said + kept
    assert SECRET not in caplog.text
