"""Messages through a real Kafka: each once, in order, whatever becomes of the relay."""

import json
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from datetime import datetime
from pathlib import Path
from signal import SIGKILL
from threading import Barrier

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from stockpick_assets.cli.leaders import leaders
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.messages import topic_name, topic_prefix
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.relay import Relay
from stockpick_assets.resources.kafka import BrokerError, Kafka, NewTopic, OutboxTaken, Outgoing, Position
from stockpick_assets.resources.topic_reader import TopicReader
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, live, minute, pick, picks, revise, table


@pytest.fixture
def store(tmp_path: Path, source: str) -> Store:
    return Store(str(tmp_path), source, {})


def read(kafka: Kafka, prefix: str) -> list[str]:
    """Every committed message of the topics, in order within each topic, as a separate reader gets them."""
    with closing(TopicReader(kafka, prefix, "earliest")) as reader:
        texts: list[str] = []
        while reader.topics:
            texts += [text.decode() for text in reader.poll(0.2)]
            if reader.at_end():
                break
        return texts


def read_minutes(kafka: Kafka, source: str) -> dict[str, list[datetime]]:
    """The minutes that each ticker's topic has, in its order."""
    minutes: dict[str, list[datetime]] = defaultdict(list)
    for text in read(kafka, topic_prefix(source)):
        message = json.loads(text)
        minutes[message["ticker"]].append(datetime.fromisoformat(message["minute"]))
    return minutes


def read_versions(kafka: Kafka, source: str) -> dict[str, list[str]]:
    """The minutes, counted from the open, and versions that each ticker's topic has, in its order."""
    versions: dict[str, list[str]] = defaultdict(list)
    for message in map(json.loads, read(kafka, topic_prefix(source))):
        index = (datetime.fromisoformat(message["minute"]) - minute(0)) // MINUTE
        versions[message["ticker"]].append(f"{index} {message['version']}")
    return versions


def relay(kafka: Kafka, source: str) -> Relay:
    return Relay(source, TICKERS, MarketClock(), kafka.outbox)


def batch(source: str, words: str) -> list[Outgoing]:
    return [Outgoing(topic_name(source, ticker), ticker, f"{ticker} {words}") for ticker in TICKERS]


def test_a_separate_reader_gets_each_message_once_and_the_schema_accepts_it(
    kafka: Kafka, source: str, store: Store
) -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs" / "message.schema.json").read_text(encoding="utf-8"))
    store.append("picks", picks(30), {})
    sending = relay(kafka, source)
    for index in (1, 2, 2, 10, 30):
        sending.send_due(store, minute(index))
    sending.close()
    texts = read(kafka, topic_prefix(source))
    for text in texts:
        Draft202012Validator(schema).validate(json.loads(text))
    assert Counter(texts) == Counter(store.read("picks")["message"].to_pylist())
    assert read_minutes(kafka, source) == {ticker: [minute(index) for index in range(30)] for ticker in TICKERS}


def test_a_relay_that_was_overtaken_cannot_send_and_goes_on_from_what_was_committed(
    kafka: Kafka, source: str, store: Store
) -> None:
    store.append("picks", picks(6), {})
    first, second = relay(kafka, source), relay(kafka, source)
    first.send_due(store, minute(1))
    second.send_due(store, minute(2))
    with pytest.raises(OutboxTaken, match="another process took over the outbox"):
        first.send_due(store, minute(3))
    first.send_due(store, minute(4))
    with pytest.raises(OutboxTaken):
        second.send_due(store, minute(5))
    second.send_due(store, minute(6))
    second.close()
    assert read_minutes(kafka, source) == {ticker: [minute(index) for index in range(6)] for ticker in TICKERS}


RELAY_THAT_STOPS = """
import sys
from kafka import KafkaProducer
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.relay import Relay
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, minute

root, source, bootstrap, step = sys.argv[1:]
done = getattr(KafkaProducer, step)

def stop_after(*args, **named):
    done(*args, **named)
    print(step, flush=True)
    sys.stdin.readline()

setattr(KafkaProducer, step, stop_after)
Relay(source, TICKERS, MarketClock(), Kafka(bootstrap).outbox).send_due(Store(root, source, {}), minute(2))
"""


@pytest.mark.parametrize(
    "step", ["init_transactions", "begin_transaction", "flush", "send_offsets_to_transaction", "commit_transaction"]
)
@pytest.mark.parametrize("due", ["a correction", "a minute and a correction"])
def test_a_relay_that_is_killed_after_any_step_loses_nothing_and_repeats_nothing(
    kafka: Kafka, source: str, store: Store, step: str, due: str
) -> None:
    live(store, 0)
    with closing(relay(kafka, source)) as first:
        first.send_due(store, minute(1))
    expected = {ticker: ["0 1"] for ticker in TICKERS}
    revise(store, 0, made=2)
    expected["AAPL"].append("0 2")
    if "minute" in due:
        live(store, 1)
        for ticker in TICKERS:
            expected[ticker].append("1 1")
    command = [sys.executable, "-c", RELAY_THAT_STOPS, store.root, source, kafka.bootstrap, step]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().strip() == step
        killed.send_signal(SIGKILL)
    with closing(relay(kafka, source)) as last:
        assert bool(last.send_due(store, minute(2))) == (step != "commit_transaction")
        revise(store, 0, made=3)
        assert last.send_due(store, minute(3)).corrections == 1
    expected["AAPL"].append("0 3")
    assert read_versions(kafka, source) == expected


def test_a_batch_that_kafka_does_not_take_leaves_nothing_behind(kafka: Kafka, source: str) -> None:
    name = f"stockpick.relay.{source}"
    outbox = kafka.outbox(name)
    too_large = Outgoing(topic_name(source, "AAPL"), "AAPL", "x" * 1_100_000)
    with pytest.raises(BrokerError, match="maximum request size"):
        outbox.send([*batch(source, "one"), too_large], Position(1, ""))
    with closing(kafka.outbox(name)) as again:
        assert again.position is None
        again.send(batch(source, "two"), Position(1, ""))
    assert Counter(read(kafka, topic_prefix(source))) == Counter(f"{ticker} two" for ticker in TICKERS)


def test_hostile_text_arrives_as_the_text_it_was(kafka: Kafka, source: str, store: Store) -> None:
    hostile = '<b>\n{{x}}"; \x00\x1b[31m\u202e' + "x" * 10_000
    rows = [pick(minute(0), ticker, abstain=hostile, source=source) for ticker in TICKERS]
    store.append("picks", table(rows), {})
    with closing(relay(kafka, source)) as sending:
        sending.send_due(store, minute(1))
    assert {json.loads(text)["abstain"] for text in read(kafka, topic_prefix(source))} == {hostile}


def test_topics_are_made_as_the_settings_say_and_keep_the_order_of_each_ticker(
    services: Settings, source: str, store: Store
) -> None:
    kafka = Kafka(services.kafka_bootstrap, new_topic=NewTopic(partitions=3, replication=1, retention_hours=48))
    live(store, 0, 1)
    with closing(relay(kafka, source)) as sending:
        sending.send_due(store, minute(1))
        revise(store, 0, made=2)
        sending.send_due(store, minute(2))
    topics = [topic_name(source, ticker) for ticker in TICKERS]
    with closing(KafkaAdminClient(**kafka.client())) as admin:
        described = admin.describe_topics([*topics, f"stockpick.relay.{source}"])
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": None}) for topic in topics]
        told = admin.describe_configs(asked)["topic"]
    assert {topic["name"]: len(topic["partitions"]) for topic in described} == {
        **dict.fromkeys(topics, 3),
        f"stockpick.relay.{source}": 1,
    }
    assert {told[topic]["retention.ms"]["value"] for topic in topics} == {str(48 * 3_600_000)}
    assert read_versions(kafka, source) == {
        "AAPL": ["0 1", "0 2", "1 1"],
        "AMD": ["0 1", "1 1"],
        "NVDA": ["0 1", "1 1"],
    }


def test_more_copies_of_a_topic_than_there_are_brokers_are_refused_with_the_reason(
    services: Settings, source: str
) -> None:
    kafka = Kafka(services.kafka_bootstrap, new_topic=NewTopic(replication=3))
    with pytest.raises(BrokerError, match=f"topic stockpick.relay.{source}: .*replication factor"):
        kafka.outbox(f"stockpick.relay.{source}")


def test_the_partitions_of_all_new_topics_are_asked_for_at_one_time(
    kafka: Kafka, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they would wait 0.1 s each: the barrier lets none pass before all have come."""
    messages = [Outgoing(topic_name(source, ticker), ticker, "first") for ticker in NASDAQ_100]
    with closing(kafka.outbox(f"stockpick.relay.{source}")) as outbox:
        together, ask = Barrier(len(messages), timeout=20), KafkaProducer.partitions_for

        def partitions_for(producer: KafkaProducer, topic: str) -> set[int]:
            together.wait()
            return ask(producer, topic)

        monkeypatch.setattr(KafkaProducer, "partitions_for", partitions_for)
        outbox.prepare([message.topic for message in messages])
        outbox.send(messages, Position(1, ""))
    assert len(read(kafka, topic_prefix(source))) == len(NASDAQ_100)


def test_a_broker_that_is_not_there_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKPICK_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    said = r"Kafka at 127\.0\.0\.1:1 did not answer while .* Is it up \(`stockpick status`\)\? A wrong user"
    with pytest.raises(BrokerError, match=said):
        Kafka("127.0.0.1:1").outbox("stockpick.relay.none")
    assert re.search(said, str(CliRunner().invoke(leaders).exception))


def test_topics_that_are_made_while_it_reads_are_read_from_their_first_message(kafka: Kafka, source: str) -> None:
    with closing(kafka.outbox(f"stockpick.relay.{source}")) as outbox:
        one, two = batch(source, "early")[:2]
        outbox.send([one], Position(1, ""))
        with closing(TopicReader(kafka, topic_prefix(source), "latest")) as reader:
            assert reader.topics == {one.topic}
            outbox.send([two], Position(2, ""))
            texts: list[str] = []
            end = time.monotonic() + 30
            while not texts and time.monotonic() < end:
                texts += [text.decode() for text in reader.poll(0.2)]
            assert texts == [two.text]
