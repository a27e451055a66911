"""`stockpick leaders` on a real Kafka: new topics, restarts, and two readers of one group."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from click.testing import CliRunner

from stockpick_assets.cli.leaders import Watch, leaders
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.leaders import Leader
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.messages import topic_name, topic_prefix
from stockpick_assets.relay import Relay
from stockpick_assets.resources import topic_reader
from stockpick_assets.resources.kafka import Kafka, Outgoing, Position
from stockpick_assets.resources.topic_reader import TopicReader
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """New topics are looked for at once, so that no test waits for that."""
    monkeypatch.setattr(topic_reader, "REFRESH_SECONDS", 0.1)


Send = Callable[..., None]


@pytest.fixture
def send(kafka: Kafka, source: str) -> Iterator[Send]:
    """Sends the messages of whole minutes in one transaction: `send(0, 1, tickers=..., version=...)`.

    The fields are what they say, other than a pick of rank 1.
    """
    positions = count(1)

    def sent(*minutes: int, tickers: tuple[str, ...] = TICKERS, **fields: Any) -> None:
        batch = [
            Outgoing(topic_name(source, ticker), ticker, json.dumps({**_message(source, index, ticker), **fields}))
            for index in minutes
            for ticker in tickers
        ]
        outbox.send(batch, Position(next(positions), ""))

    with closing(kafka.outbox(f"stockpick.relay.{source}")) as outbox:
        yield sent


def _message(source: str, index: int, ticker: str) -> dict[str, Any]:
    return json.loads(table([pick(minute(index), ticker, 1, source=source)])["message"][0].as_py())


def clock_at(index: int) -> MarketClock:
    """A clock that shows the session's minute of that number now."""
    return MarketClock(datetime.now(UTC), minute(index), 1.0)


@contextmanager
def opened(kafka: Kafka, source: str) -> Iterator[TopicReader]:
    with closing(TopicReader(kafka, topic_prefix(source), "latest", f"stockpick.leaders.{source}")) as reader:
        yield reader


def said(kafka: Kafka, source: str, at: int) -> list[tuple[int, int, bool]]:
    """What a reader of the group says once, at that minute: each interval's first minute, messages, and if revised."""
    with opened(kafka, source) as reader:
        watch = Watch(reader, source, clock_at(at), lambda: datetime.now(UTC))
        events = [event for event in watch.events(once=True) if isinstance(event, Leader)]
    return [(int((each.start - SESSION.open) / MINUTE), each.messages, each.revised) for each in events]


def test_a_restart_goes_on_where_the_group_was(kafka: Kafka, source: str, send: Send) -> None:
    send(0, 1)
    assert said(kafka, source, 2) == []
    send(*range(2, 8))
    assert said(kafka, source, 8) == [(0, 9, False)]
    assert said(kafka, source, 8) == []
    send(3, tickers=("AMD",), p_profit=0.9, version=2, supersedes=1)
    send(*range(8, 12))
    assert said(kafka, source, 12) == [(0, 9, True), (5, 15, False)]
    assert said(kafka, source, 17) == [(10, 6, False)]


LEADERS_THAT_STOP = """
import sys
from datetime import UTC, datetime

from stockpick_assets.cli.leaders import Watch
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.messages import topic_prefix
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.resources.topic_reader import TopicReader

bootstrap, source, market = sys.argv[1:]

class Stopping(TopicReader):
    def keep(self, needed, note):
        sys.stdin.read()

reader = Stopping(Kafka(bootstrap), topic_prefix(source), "latest", f"stockpick.leaders.{source}")
clock = MarketClock(datetime.now(UTC), datetime.fromisoformat(market), 1.0)
for leader in Watch(reader, source, clock, lambda: datetime.now(UTC)).events():
    print(leader.start.isoformat(), flush=True)
"""


def test_who_is_killed_between_printing_and_committing_repeats_the_last_interval_and_no_more(
    kafka: Kafka, source: str, send: Send
) -> None:
    send(0)
    assert said(kafka, source, 1) == []
    send(*range(1, 10))
    assert said(kafka, source, 10) == [(0, 12, False), (5, 15, False)]
    send(*range(10, 17))
    command = [sys.executable, "-c", LEADERS_THAT_STOP, kafka.bootstrap, source, minute(17).isoformat()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().strip() == minute(10).isoformat()
        killed.send_signal(SIGKILL)
    assert said(kafka, source, 17) == [(10, 15, False)]
    send(*range(17, 20))
    assert said(kafka, source, 20) == [(15, 15, False)]


def until(reader: TopicReader, reads: int) -> int:
    """How many messages the reader has got when it has got so many; at most 20 s."""
    got, end = 0, time.monotonic() + 20
    while got < reads and time.monotonic() < end:
        got += len(reader.records(0.1))
    return got


def test_a_topic_that_is_made_while_it_reads_is_read_from_its_first_message(
    kafka: Kafka, source: str, send: Send
) -> None:
    send(0, tickers=("AAPL",))
    with opened(kafka, source) as reader:
        send(1, 2)
        assert until(reader, reads=6) == 6
        assert reader.topics == {topic_name(source, ticker) for ticker in TICKERS}


def test_a_topic_that_is_made_while_nobody_reads_is_read_from_its_first_message(
    kafka: Kafka, source: str, send: Send
) -> None:
    send(0, tickers=("AAPL",))
    assert said(kafka, source, 1) == []
    send(*range(1, 5))
    assert said(kafka, source, 7) == [(0, 12, False)]


def test_a_restart_after_the_first_topics_were_made_has_missed_nothing_of_them(
    kafka: Kafka, source: str, send: Send
) -> None:
    with opened(kafka, source) as reader:
        send(0, 1)
        assert until(reader, reads=6) == 6
    send(*range(2, 5))
    assert said(kafka, source, 5) == [(0, 15, False)]


def test_two_readers_of_one_group_each_read_everything_and_the_next_begins_where_the_last_to_commit_was(
    kafka: Kafka, source: str, send: Send
) -> None:
    """Of a topic that one of them did not know, the position is the other's; what that one noted is passed over."""
    send(0, tickers=("AAPL",))
    with opened(kafka, source) as behind:
        send(1)
        with opened(kafka, source) as ahead:
            assert ahead.topics > behind.topics
            ahead.keep({}, "2")
            behind.keep({}, "1")
            with opened(kafka, source) as third:
                assert third.note == "1"
            assert [until(ahead, reads=3), until(behind, reads=3)] == [3, 3]
            ahead.keep({}, "2")
    with opened(kafka, source) as fourth:
        assert (fourth.note, fourth.records(0.1)) == ("2", [])


@pytest.fixture
def replay(services: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The services, for a market replayed from the session's open, whose tenth minute has just closed."""
    began = datetime.now(UTC) - 10 * MINUTE
    replayed = services.model_copy(update={"source": "yahoo", "replay_started_at": began, "replay_from": SESSION.open})
    for name, value in replayed.environment().items():
        monkeypatch.setenv(name, value)
    return replayed


def test_the_command_names_the_best_of_every_five_minutes(replay: Settings, tmp_path: Path) -> None:
    store, kafka = Store(str(tmp_path), "yahoo", {}), Kafka(replay.kafka_bootstrap)
    rows = [
        pick(minute(index), ticker, rank, source="yahoo", p_profit=0.5 + (index == 3 and ticker == "NVDA") / 10)
        for index in range(10)
        for rank, ticker in enumerate(TICKERS, 1)
    ]
    store.append("picks", table(rows), {})
    with closing(Relay("yahoo", TICKERS, replay.clock, kafka.outbox)) as sending:
        sending.send_due(store, minute(10))
    said = CliRunner().invoke(leaders, ["--from", "2026-11-20 09:35", "--json", "--once"])
    assert said.exit_code == 0, said.output
    [second] = [json.loads(line) for line in said.stdout.splitlines()]
    assert (second["start"], second["messages"], len(second["best"])) == (minute(5).isoformat(), 15, 3)
    text = CliRunner().invoke(leaders, ["--from", "earliest", "--count", "1"])
    assert text.stdout.startswith("YAHOO 2026-11-20 09:30-09:34  NVDA   p_profit 60.0%  at 09:33  rank 3")
    group = CliRunner().invoke(leaders, ["--group", "stockpick.leaders.mine", "--once"])
    assert (group.exit_code, group.stdout) == (0, ""), group.output
    assert group.stderr == (
        f"YAHOO reading stockpick.yahoo.* at {replay.kafka_bootstrap} as the group stockpick.leaders.mine\n"
    )
