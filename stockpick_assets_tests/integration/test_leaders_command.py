"""`stockpick leaders` on a real Kafka: new topics, restarts, and the group whose members stand in for each other."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stockpick_assets.cli.leaders import AnotherMember, Watch, leaders
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.leaders import Leader
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.messages import topic_name, topic_prefix
from stockpick_assets.relay import Relay
from stockpick_assets.resources.group_reader import GroupReader
from stockpick_assets.resources.kafka import Kafka, Outgoing, Position
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION

GROUP = "stockpick.leaders.test"
_numbers = count(1)
_positions = count(1)


@pytest.fixture
def kafka(services: Settings) -> Kafka:
    return Kafka(services.kafka_bootstrap)


@pytest.fixture
def source() -> str:
    """A source of its own for each test, so that none sees another's topics or position."""
    return f"led{next(_numbers)}"


def send(kafka: Kafka, source: str, *minutes: int, tickers: tuple[str, ...] = TICKERS, **fields: Any) -> None:
    """The messages of whole minutes, in one transaction. fields: what they say, other than a pick of rank 1."""
    batch = [
        Outgoing(topic_name(source, ticker), ticker, json.dumps({**_message(source, index, ticker), **fields}))
        for index in minutes
        for ticker in tickers
    ]
    with closing(kafka.outbox(f"stockpick.relay.{source}")) as outbox:
        outbox.send(batch, Position(next(_positions), ""))


def _message(source: str, index: int, ticker: str) -> dict[str, Any]:
    return json.loads(table([pick(minute(index), ticker, 1, source=source)])["message"][0].as_py())


def clock_at(index: int) -> MarketClock:
    """A clock that shows the session's minute of that number now."""
    return MarketClock(datetime.now(UTC), minute(index), 1.0)


def said(kafka: Kafka, source: str, at: int) -> list[tuple[int, int, bool]]:
    """What a member of the group says once, at that minute: each interval's first minute, messages, and if revised."""
    with closing(GroupReader(kafka, topic_prefix(source), f"{GROUP}.{source}")) as reader:
        watch = Watch(reader, source, clock_at(at), lambda: datetime.now(UTC))
        events = [event for event in watch.events(once=True) if isinstance(event, Leader)]
    return [(int((each.start - SESSION.open) / MINUTE), each.messages, each.revised) for each in events]


def test_a_restart_goes_on_where_the_group_was(kafka: Kafka, source: str) -> None:
    send(kafka, source, 0, 1)
    assert said(kafka, source, 2) == []
    send(kafka, source, *range(2, 8))
    assert said(kafka, source, 8) == [(0, 9, False)]
    assert said(kafka, source, 8) == []
    send(kafka, source, 3, tickers=("AMD",), p_profit=0.9, version=2, supersedes=1)
    send(kafka, source, *range(8, 12))
    assert said(kafka, source, 12) == [(0, 9, True), (5, 15, False)]
    assert said(kafka, source, 17) == [(10, 6, False)]


@contextmanager
def member(kafka: Kafka, source: str) -> Iterator[GroupReader]:
    with closing(GroupReader(kafka, topic_prefix(source), f"{GROUP}.{source}")) as reader:
        yield reader


def until(*readers: GroupReader, reads: int) -> list[int]:
    """How many messages each reader has got when all have got so many together; at most 20 s."""
    got = [0 for _ in readers]
    end = time.monotonic() + 20
    while sum(got) < reads and time.monotonic() < end:
        got = [before + len(reader.records(0.1)) for before, reader in zip(got, readers, strict=True)]
    return got


def test_a_topic_that_is_made_while_it_reads_is_read_from_its_first_message(kafka: Kafka, source: str) -> None:
    send(kafka, source, 0, tickers=("AAPL",))
    with member(kafka, source) as reader:
        while not reader.at_end():
            reader.records(0.1)
        send(kafka, source, 1, 2)
        assert until(reader, reads=6) == [6]
        assert reader.topics == {topic_name(source, ticker) for ticker in TICKERS}


def test_one_member_of_a_group_reads_and_another_takes_over_when_it_ends(kafka: Kafka, source: str) -> None:
    send(kafka, source, 0)
    with member(kafka, source) as second:
        with member(kafka, source) as first:
            while not first.at_end():
                first.records(0.1)
            while not second.standby:
                first.records(0.1)
                second.records(0.1)
            send(kafka, source, 1)
            assert until(first, second, reads=3) == [3, 0]
            with pytest.raises(AnotherMember):
                list(Watch(second, source, clock_at(2), lambda: datetime.now(UTC)).events(once=True))
            assert first.keep({}, "what the next is to know")
        send(kafka, source, 2)
        assert until(second, reads=3) == [3]
        assert (second.note, second.standby) == ("what the next is to know", False)


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
