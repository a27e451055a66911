"""The broker is away for half a session: the relay's memory, how fast the backlog drains, and what a live minute waits.

A relay in a process of its own is warm when the broker is killed. It then tries as often as the sensor does in half a
session, while the picks of half a session are committed; its memory, threads and open files are sampled. It asks the
broker for 0.05 s each time instead of 5, or the bench would take as long. The broker is started again, and while the
backlog drains a live minute is committed every second: each waits for the backlog before it. What such minutes wait
afterwards is the baseline. At the end a consumer with `read_committed` reads all topics. The broker and the object
store are the bench's own. The last line printed is one JSON object.

    .venv/bin/python bench/broker_away.py
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from common import report

from stockpick_assets import services
from stockpick_assets.core.market_hours import session_of
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.relay import Relay
from stockpick_assets.resources import kafka
from stockpick_assets.services.kafka import Kafka as Broker
from stockpick_assets.services.object_store import ObjectStore
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.crashes import (
    CLOCK,
    LATE,
    MINUTES,
    Child,
    Step,
    kill_broker,
    prepare_processes,
    start_broker,
)
from stockpick_assets_tests.delivery import delivery, read_topics, stored_messages
from stockpick_assets_tests.picks import pick, table

SERVICES = (Broker(), ObjectStore())
TICKERS = NASDAQ_100[:100]
HALF_A_SESSION = 195
BASELINE_MINUTES = 20
MINUTES_BETWEEN_COMPACTIONS = 20  # as the sensor upkeep
TICK_SECONDS = 1.0  # as the sensor's interval
SECONDS_OF_A_LIVE_MINUTE = 1.0
SECONDS_TO_SEND = 300
MEGABYTE = 2**20


class Tried(NamedTuple):
    """What one try of the relay came to, at which monotonic time."""

    at: float
    minutes: Sequence[datetime]
    problem: str


def relaying(pipe: Connection, settings: Settings, bootstrap_seconds: float) -> None:
    """Relay what is due until told to end, without a pause while the broker is away; tell of each try."""
    kafka.BOOTSTRAP_SECONDS = bootstrap_seconds
    store = Store.from_settings(settings)
    with closing(Relay(settings.source, TICKERS, CLOCK, kafka.Kafka(settings.kafka_bootstrap).outbox)) as relay:
        while True:
            minutes, problem = (), ""
            try:
                minutes = relay.send_due(store, LATE.market()).minutes
            except kafka.BrokerError as error:
                problem = str(error)
            pipe.send(Tried(time.monotonic(), minutes, problem))
            if pipe.poll(0 if minutes or problem else TICK_SECONDS):
                return


def commit(store: Store, minute: datetime) -> float:
    """Commit the picks of every ticker for a minute; when that was."""
    rows = table([pick(minute, ticker, rank) for rank, ticker in enumerate(TICKERS, 1)], minute)
    store.append("picks", rows, {})
    return time.monotonic()


class Watched:
    """The relay's process: which minutes were acknowledged when, how often it failed, and samples of what it takes."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._process = psutil.Process(child.process.pid)
        self.acknowledged: dict[datetime, float] = {}
        self.samples: list[tuple[float, int, int]] = []
        self.tries = 0

    def listen(self, seconds: float) -> None:
        """Take what it tells within so many seconds; sample every fiftieth failure."""
        end = time.monotonic() + seconds
        while self._child.pipe.poll(max(0, end - time.monotonic())):
            tried = self._child.pipe.recv()
            if not isinstance(tried, Tried):
                raise SystemExit(f"the relay {tried}")
            self.acknowledged |= dict.fromkeys(tried.minutes, tried.at)
            self.tries += bool(tried.problem)
            if tried.problem and self.tries % 50 == 0:
                memory = self._process.memory_info().rss / MEGABYTE
                self.samples.append((memory, self._process.num_threads(), self._process.num_fds()))

    def wait_for(self, minutes: Iterable[datetime]) -> None:
        """Return when the minutes are acknowledged."""
        end = time.monotonic() + SECONDS_TO_SEND
        while not self.acknowledged.keys() >= set(minutes):
            if time.monotonic() > end:
                raise SystemExit(f"the relay did not send in {SECONDS_TO_SEND} s what was due")
            self.listen(0.05)

    def figures(self) -> dict[str, float]:
        """The most of each in the first half of the tries and in the second; open files go with collected garbage."""
        half = len(self.samples) // 2
        figures: dict[str, float] = {"tries": self.tries}
        for place, name in enumerate(("memory_mb", "threads", "files")):
            first, second = (max(row[place] for row in rows) for rows in (self.samples[:half], self.samples[half:]))
            figures |= {f"relay_{name}_first_half": first, f"relay_{name}_second_half": second}
        return figures | {
            "memory_ratio": figures["relay_memory_mb_second_half"] / figures["relay_memory_mb_first_half"]
        }


def measure(settings: Settings, minutes: int, tries: int) -> dict[str, Any]:
    """The figures of one absence of the broker."""
    store, begin = Store.from_settings(settings), MINUTES[0]
    with closing(Relay(settings.source, TICKERS, CLOCK, kafka.Kafka(settings.kafka_bootstrap).outbox)) as first:
        first.send_due(store, begin)  # the position is then the session's open
    child = Child(relaying, settings, Step(), 0.05)
    relay = Watched(child)
    commit(store, begin)
    relay.wait_for([begin])
    kill_broker(settings)
    backlog, live = MINUTES[1 : minutes + 1], iter(MINUTES[minutes + 1 :])
    for number, minute in enumerate(backlog, 1):
        commit(store, minute)
        if number % MINUTES_BETWEEN_COMPACTIONS == 0:
            store.compact("picks", session_of(minute).date)
        relay.listen(0)
    while relay.tries < tries:
        relay.listen(1)
    figures = relay.figures()
    start_broker(settings)
    returned = time.monotonic()
    committed: dict[datetime, float] = {}
    after = 0
    while after < BASELINE_MINUTES:
        minute = next(live)
        committed[minute] = commit(store, minute)
        relay.listen(SECONDS_OF_A_LIVE_MINUTE)
        after += relay.acknowledged.keys() >= set(backlog)
    relay.wait_for(committed)
    child.kill()
    drained = max(relay.acknowledged[minute] for minute in backlog)
    waits = {minute: relay.acknowledged[minute] - at for minute, at in committed.items()}
    meanwhile = [wait for minute, wait in waits.items() if committed[minute] < drained]
    afterwards = [wait for minute, wait in waits.items() if committed[minute] >= drained]
    stored = stored_messages(store)
    found = delivery(stored, read_topics(kafka.Kafka(settings.kafka_bootstrap), settings.source))
    return {
        **figures,
        "backlog_messages": len(backlog) * len(TICKERS),
        "backlog_s": drained - returned,
        "live_minutes_meanwhile": len(meanwhile),
        "live_wait_meanwhile_max_s": max(meanwhile),
        "live_wait_afterwards_p50_s": statistics.median(afterwards),
        "live_wait_afterwards_max_s": max(afterwards),
        "messages": len(stored),
        **{problem: len(keys) for problem, keys in vars(found).items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=HALF_A_SESSION, help="that the broker is away for (195)")
    parser.add_argument("--tries", type=int, default=2000, help="of the relay meanwhile (2000)")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    prepare_processes()
    with tempfile.TemporaryDirectory() as home:
        broker, store = free_ports(2)
        settings = Settings(
            home=Path(home), kafka_bootstrap=f"127.0.0.1:{broker}", s3_endpoint=f"http://127.0.0.1:{store}"
        )
        try:
            settings = services.start(settings, SERVICES, print)
            figures = measure(settings, arguments.minutes, arguments.tries)
        finally:
            services.stop(settings, SERVICES)
    report(figures)
    sys.exit(bool(figures["lost"] or figures["duplicated"] or figures["out_of_order"]))


if __name__ == "__main__":
    main()
