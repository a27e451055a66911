"""How long the relay takes for a session's messages, and for live minutes one by one, on a Kafka and an object store of
the bench's own.

A backlog of some sessions is sent by the sensor's ticks, as after a long time without a broker. The session is 100
tickers × 390 minutes that wait in picks, in as many files as the open session may have; the baseline is kafka-python's
producer without a transaction, which is given the same messages to as many topics. Of a live minute the time runs from
the commit of its picks to the acknowledgement of the transaction, while the relay looks as often as its sensor does;
commits come at every phase of its looks. Every message is then read again, by a reader of committed ones. What a
Dagster daemon adds by the times at which it begins a tick is not in it: docs/messages.md has when that is nothing.
The last line printed is one JSON object.

    .venv/bin/python bench/relay.py --minutes 60
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dagster as dg
import pyarrow as pa
from common import report
from kafka import KafkaProducer
from trivial_flow import flow_of, simulated

from stockpick_assets import services
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, Session, session_on, sessions_until
from stockpick_assets.core.messages import Origin, parse_message, topic_name, topic_prefix, with_messages
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.core.upkeep import MOST_FILES_WHILE_OPEN
from stockpick_assets.relay import Relay
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.topic_reader import TopicReader
from stockpick_assets.sensors.relay import SECONDS_BETWEEN_LOOKS, relay_sensor
from stockpick_assets.services.kafka import Kafka as KafkaService
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.crashes import tables

BACKLOG, LIVE = date(2026, 11, 19), date(2026, 11, 20)
PHASES = 7  # of the time between two looks


@contextmanager
def own_services(tickers: int) -> Iterator[Settings]:
    """A running object store and Kafka, in a folder of their own."""
    with tempfile.TemporaryDirectory() as home:
        store, kafka = free_ports(2)
        settings = simulated(tickers, 2).model_copy(
            update={
                "home": Path(home),
                "s3_endpoint": f"http://127.0.0.1:{store}",
                "kafka_bootstrap": f"127.0.0.1:{kafka}",
            }
        )
        needed = [services.OBJECT_STORE, KafkaService()]
        try:
            yield services.start(settings, needed, lambda line: print(line, flush=True))
        finally:
            services.stop(settings, needed)


def picks(tickers: Sequence[str], session: Session, first: int, minutes: int) -> pa.Table:
    """Picks of `minutes` minutes from the session's `first`-th on, of the tickers in their order."""
    starts = [session.open + index * MINUTE for index in range(first, first + minutes) for _ in tickers]
    count, ranks = len(starts), list(range(1, len(tickers) + 1)) * minutes
    columns: dict[str, list[Any]] = {
        "session": [session.date] * count,
        "minute": starts,
        "ticker": list(tickers) * minutes,
        "source": ["simulated"] * count,
        "rank": ranks,
        "price": [100 + rank / 7 for rank in ranks],
        "change_day": [rank / 3e4 for rank in ranks],
        "change_5m": [-rank / 7e4 for rank in ranks],
        "pop_window": [0.6] * count,
        "p_profit": [0.55 - rank / 2300 for rank in ranks],
        "expected_excess_return": [1e-4 / rank for rank in ranks],
        "expected_obtainable_return": [0.7e-4 / rank for rank in ranks],
        "model_version": [f"{session.date}-1"] * count,
        "abstain": ["no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp"] * count,
    }
    made = {name: pa.array(values, PICKS.columns.field(name).type) for name, values in columns.items()}
    made_at = starts[-1] + MINUTE
    versions = {"raw_prices": 12, "features": 4, "predictions": 4}
    origin = Origin(versions, "s3://stockpick/simulated/", "5f0c2c5e-9d0b-4b0e-8a35-0a3f6f6c1b1e", made_at)
    return with_messages(pa.table(made), origin, made_at)


def wait_in_picks(settings: Settings, store: Store, session: Session) -> None:
    """Write the messages of a session, for the relay to send."""
    chunk = -(-session.length // MOST_FILES_WHILE_OPEN)
    for first in range(0, session.length, chunk):
        store.append(PICKS.name, picks(settings.tickers, session, first, min(chunk, session.length - first)), {})


def backlog_ticks(settings: Settings, store: Store, kafka: Kafka, count: int) -> dict[str, float]:
    """The sensor's ticks until the messages of `count` sessions are sent."""
    sessions = sessions_until(BACKLOG, count + 1)[:-1]
    began = time.monotonic()
    now = Now(MarketClock(), lambda: sessions[-1].close + timedelta(minutes=5, seconds=time.monotonic() - began))
    relay = Relay("simulated", settings.tickers, MarketClock(), kafka.outbox)
    sensor, took, said = relay_sensor(flow_of(settings)), [], ""
    with closing(relay), dg.DagsterInstance.ephemeral() as instance:
        relay.send_due(store, sessions[0].open)
        for session in sessions:
            wait_in_picks(settings, store, session)
        resources = {"tables": tables(settings), "now": now, "relay": relay}
        while not said.startswith("There are no picks"):
            at = time.monotonic()
            with dg.build_sensor_context(instance=instance, resources=resources) as context:
                said = sensor.evaluate_tick(context).skip_message or ""
            took.append(time.monotonic() - at)
            print(f"{took[-1]:.1f} s: {said}", flush=True)
    messages = sum(session.length for session in sessions) * len(settings.tickers)
    return {"backlog_messages": messages, "backlog_ticks": len(took) - 1, "backlog_tick_s_max": max(took)}


def session_seconds(settings: Settings, store: Store, kafka: Kafka) -> dict[str, float]:
    """Relay a session that waits, and give its messages to a producer without a transaction."""
    session = session_on(BACKLOG)
    wait_in_picks(settings, store, session)
    with closing(Relay("simulated", settings.tickers, MarketClock(), kafka.outbox)) as relay:
        began = time.monotonic()
        relay.send_due(store, session.open)
        opened = time.monotonic()
        sent = transactions = 0
        while done := relay.send_due(store, session.close):
            sent, transactions = sent + done.messages, transactions + 1
        relayed = time.monotonic()
    rows = store.read(PICKS.name, from_session=BACKLOG, columns=["ticker", "message"])
    texts: list[tuple[str, str]] = list(zip(rows["ticker"].to_pylist(), rows["message"].to_pylist(), strict=True))
    plain = plain_seconds(kafka, settings.tickers, texts)
    return {
        "open_with_topics_s": opened - began,
        "session_messages": sent,
        "session_transactions": transactions,
        "session_s": relayed - opened,
        "session_messages/s": sent / (relayed - opened),
        "plain_producer_s": plain,
        "session_over_plain": (relayed - opened) / plain,
    }


def plain_seconds(kafka: Kafka, tickers: Sequence[str], texts: Sequence[tuple[str, str]]) -> float:
    """Seconds in which a producer without a transaction has the texts acknowledged, its topics known before."""
    topics = {ticker: topic_name("plain", ticker) for ticker in tickers}
    with closing(kafka.outbox("stockpick.relay.plain")) as outbox:
        outbox.prepare(list(topics.values()))
    with closing(KafkaProducer(**kafka.client(), acks="all")) as producer:
        for topic in topics.values():
            producer.partitions_for(topic)
        began = time.monotonic()
        for ticker, text in texts:
            producer.send(topics[ticker], key=ticker.encode(), value=text.encode())
        producer.flush()
        return time.monotonic() - began


def live_seconds(settings: Settings, store: Store, kafka: Kafka, minutes: int) -> dict[str, float]:
    """Relay live minutes one by one, while the relay looks as its sensor does."""
    session, plain = session_on(LIVE), []
    acknowledged: dict[datetime, float] = {}
    committed: dict[datetime, float] = {}
    over = Event()
    market = [session.open]

    def look() -> None:
        with closing(Relay("simulated", settings.tickers, MarketClock(), kafka.outbox)) as relay:
            while not over.is_set():
                done = relay.send_due(store, market[0])
                acknowledged.update(dict.fromkeys(done.minutes, time.monotonic()))
                if not done:
                    time.sleep(SECONDS_BETWEEN_LOOKS)

    looking = Thread(target=look)
    looking.start()
    try:
        with closing(KafkaProducer(**kafka.client(), acks="all")) as producer:
            for index in range(minutes):
                minute = session.open + index * MINUTE
                market[0] = minute + MINUTE
                rows = picks(settings.tickers, session, index, 1)
                time.sleep(SECONDS_BETWEEN_LOOKS * (1 + index % PHASES / PHASES))
                store.append(PICKS.name, rows, {})
                committed[minute] = time.monotonic()
                while minute not in acknowledged and looking.is_alive():
                    time.sleep(0.002)
                began = time.monotonic()
                for ticker, text in zip(rows["ticker"].to_pylist(), rows["message"].to_pylist(), strict=True):
                    producer.send(topic_name("plain", ticker), key=ticker.encode(), value=text.encode())
                producer.flush()
                plain.append(time.monotonic() - began)
                if (index + 1) % MOST_FILES_WHILE_OPEN == 0:
                    store.compact(PICKS.name, session.date)
    finally:
        over.set()
        looking.join()
    # The first waits for the connection to be opened.
    waited = [acknowledged[minute] - committed[minute] for minute in list(committed)[1:]]
    return {"live_minutes": len(waited), **quantiles("commit_to_acknowledged", waited), **quantiles("plain", plain[1:])}


def quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the largest."""
    ordered = sorted(seconds)
    return {
        f"{name}_s_p50": ordered[len(ordered) // 2],
        f"{name}_s_p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        f"{name}_s_max": ordered[-1],
    }


def read_again(kafka: Kafka) -> dict[str, int]:
    """How often a reader of committed messages gets each: how many there are, and how many came more than once."""
    seen = Counter[tuple[str, int]]()
    with closing(TopicReader(kafka, topic_prefix("simulated"), "earliest")) as reader:
        while not reader.at_end() or not seen:
            seen.update((message.id, message.version) for message in map(parse_message, reader.poll(0.5)))
    return {"read": len(seen), "read_twice": sum(count > 1 for count in seen.values())}


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--minutes", type=int, default=60, help="live minutes")
    parser.add_argument("--backlog", type=int, default=3, help="sessions of the backlog")
    arguments = parser.parse_args()
    with own_services(arguments.tickers) as settings:
        store, kafka = Store.from_settings(settings), Kafka(settings.kafka_bootstrap)
        figures: dict[str, Any] = {"tickers": arguments.tickers}
        if arguments.backlog:
            figures |= backlog_ticks(settings, store, kafka, arguments.backlog)
        figures |= session_seconds(settings, store, kafka)
        figures |= live_seconds(settings, store, kafka, arguments.minutes)
        figures |= read_again(kafka)
    report(figures, digits=3)


if __name__ == "__main__":
    main()
