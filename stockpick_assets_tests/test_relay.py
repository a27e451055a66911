"""Which messages the relay sends and when, over a store on disk and a broker in memory."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from threading import Barrier, BrokenBarrierError, Event
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.relay import MESSAGES_AT_ONCE, SLOW_OPENING_SECONDS, Relay, StillSending, complete_minutes
from stockpick_assets.resources.kafka import BrokerError, OutboxTaken, Outgoing, Position
from stockpick_assets.store import Store, StoreError
from stockpick_assets_tests.fake_outbox import FakeBroker, FakeOutbox
from stockpick_assets_tests.picks import TICKERS, commit_again, live, minute, pick, picks, revise, table
from stockpick_assets_tests.rows import SESSION

LIVE = MarketClock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def relay(broker: FakeBroker, clock: MarketClock = LIVE) -> Relay:
    return Relay("simulated", TICKERS, clock, broker.connect)


def sent(broker: FakeBroker) -> list[tuple[datetime, str]]:
    said = [json.loads(message.text) for message in broker.committed]
    return [(datetime.fromisoformat(each["minute"]), each["ticker"]) for each in said]


def said(broker: FakeBroker) -> list[str]:
    """Of each message its minute, counted from the open, its ticker and its version."""
    told = [json.loads(message.text) for message in broker.committed]
    opening = minute(0)
    return [
        f"{(datetime.fromisoformat(each['minute']) - opening) // MINUTE} {each['ticker']} {each['version']}"
        for each in told
    ]


def every(first: int, last: int) -> list[tuple[datetime, str]]:
    return [(minute(index), ticker) for index in range(first, last + 1) for ticker in TICKERS]


def test_the_minutes_of_the_session_under_way_are_sent_in_order_to_the_topic_of_their_ticker(store: Store) -> None:
    store.append("picks", picks(3), {})
    broker = FakeBroker()
    done = relay(broker).send_due(store, minute(3))
    assert sent(broker) == every(0, 2)
    assert {message.key: message.topic for message in broker.committed} == {
        ticker: f"stockpick.simulated.{ticker}" for ticker in TICKERS
    }
    assert str(done) == "9 messages of 3 minutes, 2026-11-20 09:30 to 2026-11-20 09:32 New York"


def test_a_minute_is_sent_once(store: Store) -> None:
    store.append("picks", picks(2), {})
    broker, now = FakeBroker(), minute(5)
    once = relay(broker)
    once.send_due(store, now)
    assert str(once.send_due(store, now)) == "There are no picks of 2026-11-20 09:32 New York or later yet."
    assert str(relay(broker).send_due(store, now)) == "There are no picks of 2026-11-20 09:32 New York or later yet."
    assert sent(broker) == every(0, 1)


def test_a_minute_waits_until_every_ticker_has_its_pick(store: Store) -> None:
    store.append("picks", picks(1, tickers=TICKERS[:2]), {})
    broker = FakeBroker()
    waiting = relay(broker)
    done = waiting.send_due(store, minute(1))
    assert str(done) == "2026-11-20 09:30 New York has picks of 2 of 3 tickers and is sent when it has all."
    store.append("picks", table([pick(minute(0), TICKERS[2])]), {})
    assert waiting.send_due(store, minute(1)).messages == 3


def test_a_minute_that_completes_after_a_later_one_was_sent_is_not_sent(store: Store) -> None:
    store.append("picks", picks(1, tickers=TICKERS[:2]), {})
    store.append("picks", picks(1, start=1), {})
    broker = FakeBroker()
    once = relay(broker)
    once.send_due(store, minute(2))
    store.append("picks", table([pick(minute(0), TICKERS[2])]), {})
    once.send_due(store, minute(2))
    assert sent(broker) == every(1, 1)


def test_picks_of_tickers_outside_the_universe_are_not_sent(store: Store) -> None:
    store.append("picks", picks(1, tickers=(*TICKERS, "TSLA")), {})
    broker = FakeBroker()
    assert relay(broker).send_due(store, minute(1)).messages == 3
    assert sent(broker) == every(0, 0)


def test_backfilled_sessions_are_not_sent(store: Store) -> None:
    store.append("picks", picks(390), {})
    broker, monday = FakeBroker(), session_after(SESSION)
    done = relay(broker).send_due(store, monday.open + 5 * MINUTE)
    assert broker.committed == []
    assert str(done) == "There are no picks of 2026-11-23 09:30 New York or later yet."


def test_after_the_close_the_relay_begins_with_the_next_session(store: Store) -> None:
    store.append("picks", picks(390), {})
    broker = FakeBroker()
    done = relay(broker).send_due(store, SESSION.close)
    assert str(done) == "Everything before 2026-11-23 09:30 New York has been sent."
    assert broker.committed == []


def test_a_broker_that_is_away_all_day_loses_nothing_once_the_relay_has_begun(store: Store) -> None:
    broker = FakeBroker()
    relay(broker).send_due(store, minute(1))
    store.append("picks", picks(390), {})
    late = relay(broker)
    while late.send_due(store, session_after(SESSION).open).minutes:
        pass
    assert sent(broker) == every(0, 389)


def test_a_minute_that_the_market_clock_has_not_reached_is_not_sent(store: Store) -> None:
    store.append("picks", picks(10), {})
    broker = FakeBroker()
    relay(broker).send_due(store, minute(4))
    assert sent(broker) == every(0, 3)


def test_a_replay_that_is_stopped_and_goes_on_repeats_nothing(store: Store) -> None:
    store.append("picks", picks(5), {})
    broker = FakeBroker()
    for started, market in ((datetime(2026, 12, 1, tzinfo=UTC), 3), (datetime(2026, 12, 2, tzinfo=UTC), 5)):
        relay(broker, MarketClock(started, minute(market))).send_due(store, minute(market))
    assert sent(broker) == every(0, 4)


def test_a_replay_of_an_earlier_session_begins_at_its_open(store: Store) -> None:
    store.append("picks", picks(3), {})
    broker = FakeBroker()
    later = session_after(SESSION).open
    for market in (later, minute(3)):
        relay(broker, MarketClock(datetime(2026, 12, 1, tzinfo=UTC), market)).send_due(store, market)
    assert sent(broker) == every(0, 2)


def test_one_call_sends_a_bounded_number_of_messages(store: Store) -> None:
    tickers = [f"T{index}" for index in range(MESSAGES_AT_ONCE // 2)]
    store.append("picks", picks(3, tickers=tickers), {})
    broker = FakeBroker()
    bounded = Relay("simulated", tickers, LIVE, broker.connect)
    counts = []
    while (done := bounded.send_due(store, minute(3))).minutes:
        counts.append(done.messages)
    assert counts == [MESSAGES_AT_ONCE, MESSAGES_AT_ONCE // 2]


@dataclass(frozen=True)
class Counting(Store):
    """A store that counts the rows of each read."""

    rows: list[int] = field(default_factory=list)

    def read(self, name: str, **ends: Any) -> pa.Table:
        rows = super().read(name, **ends)
        self.rows.append(rows.num_rows)
        return rows


def test_of_a_backlog_each_row_is_read_for_its_own_session_alone(store: Store) -> None:
    session, opens, each = SESSION, list[datetime](), 5
    for _ in range(4):
        rows = [pick(session.open + index * MINUTE, ticker) for index in range(each) for ticker in TICKERS]
        store.append("picks", table(rows, session.open + each * MINUTE), {})
        opens.append(session.open)
        session = session_after(session)
    broker, counting = FakeBroker(), Counting(store.root, store.source, {})
    late = relay(broker)
    late.send_due(store, SESSION.open)
    while late.send_due(counting, opens[-1] + each * MINUTE):
        pass
    assert sent(broker) == [
        (opening + index * MINUTE, ticker) for opening in opens for index in range(each) for ticker in TICKERS
    ]
    assert max(counting.rows) == each * len(TICKERS)
    assert sum(counting.rows) <= 3 * len(broker.committed)


def test_a_session_without_complete_minutes_is_passed_over_once_a_later_one_has_some(store: Store) -> None:
    monday = session_after(SESSION)
    tuesday = session_after(monday)
    store.append("picks", picks(1, tickers=TICKERS[:2]), {})
    broker = FakeBroker()
    late = relay(broker)
    late.send_due(store, SESSION.open)
    assert str(late.send_due(store, SESSION.close + MINUTE)).startswith("2026-11-20 09:30 New York has picks of 2 of 3")
    done = late.send_due(store, tuesday.open + MINUTE)
    assert str(done) == "There are no picks of 2026-11-24 09:30 New York or later yet."
    store.append("picks", table([pick(tuesday.open, ticker) for ticker in TICKERS]), {})
    assert late.send_due(store, tuesday.open + MINUTE).minutes == (tuesday.open,)
    assert sent(broker) == [(tuesday.open, ticker) for ticker in TICKERS]


def test_a_correction_of_the_last_minute_is_sent_after_the_close(store: Store) -> None:
    last = SESSION.length - 1
    live(store, last)
    broker = FakeBroker()
    once = relay(broker)
    once.send_due(store, SESSION.close - MINUTE)
    once.send_due(store, SESSION.close)
    revise(store, last, made=last + 2)
    assert once.send_due(store, SESSION.close + 2 * MINUTE).corrections == 1


@pytest.mark.parametrize("fails", ["to open", "before the commit", "after the commit"])
def test_whatever_the_broker_does_each_message_is_sent_once_and_in_order(store: Store, fails: str) -> None:
    store.append("picks", picks(3), {})
    broker = FakeBroker()
    shaken = relay(broker)
    shaken.send_due(store, minute(1))
    broker.fails = fails
    if fails == "to open":
        shaken.close()
    with pytest.raises(BrokerError):
        shaken.send_due(store, minute(2))
    broker.fails = ""
    shaken.send_due(store, minute(3))
    assert sent(broker) == every(0, 2)


def test_of_two_relays_the_one_that_was_overtaken_goes_on_from_what_was_committed(store: Store) -> None:
    store.append("picks", picks(4), {})
    broker = FakeBroker()
    first, second = relay(broker), relay(broker)
    first.send_due(store, minute(1))
    second.send_due(store, minute(2))
    with pytest.raises(OutboxTaken):
        first.send_due(store, minute(3))
    first.send_due(store, minute(4))
    assert sent(broker) == every(0, 3)


def test_of_two_calls_at_one_time_the_second_begins_where_the_first_has_come_to(store: Store) -> None:
    """The barrier lets two pass that send at one time; alone in it, a call goes on after a moment."""
    store.append("picks", picks(2), {})
    broker, together = FakeBroker(), Barrier(2, timeout=0.5)
    shared = relay(broker)
    shared.send_due(store, minute(1))

    class Slow(FakeOutbox):
        def send(self, messages: Sequence[Outgoing], position: Position) -> None:
            with suppress(BrokenBarrierError):
                together.wait()
            super().send(messages, position)

    shared._outlet = Slow(broker, "stockpick.relay.simulated", broker.opened)
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda now: shared.send_due(store, now).messages, [minute(2)] * 2))
    assert sent(broker) == every(0, 1)
    assert sorted(done) == [0, len(TICKERS)]


def test_a_call_that_finds_another_stuck_says_so_and_leaves_it_its_connection(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stockpick_assets.relay.WAIT_SECONDS", 0.05)
    store.append("picks", picks(1), {})
    broker, stuck, free = FakeBroker(), Event(), Event()

    class Stuck(FakeOutbox):
        def send(self, messages: Sequence[Outgoing], position: Position) -> None:
            stuck.set()
            assert free.wait(20)
            super().send(messages, position)

    shared = Relay("simulated", TICKERS, LIVE, lambda name: Stuck(broker, name, broker.opened))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(shared.send_due, store, minute(1))
        try:
            assert stuck.wait(20)
            with pytest.raises(StillSending, match="another tick of the relay of simulated is still sending"):
                shared.send_due(store, minute(1))
        finally:
            free.set()
        assert first.result().messages == len(TICKERS)


def test_a_call_that_was_slow_to_open_the_connection_leaves_sending_to_the_next(store: Store) -> None:
    store.append("picks", picks(1), {})
    broker, times = FakeBroker(), iter([100.0, 100.5 + SLOW_OPENING_SECONDS, 200.0, 200.0])
    slow = Relay("simulated", TICKERS, LIVE, broker.connect, lambda: next(times))
    done = slow.send_due(store, minute(1))
    assert str(done) == "Opening the connection to Kafka took 10 s; what is due follows at the next tick."
    assert (broker.committed, done.until) == ([], minute(0))
    assert slow.send_due(store, minute(1)).messages == len(TICKERS)


def test_a_store_that_cannot_be_read_is_an_error_and_not_an_empty_table(tmp_path: Path, store: Store) -> None:
    store.append("picks", picks(2), {})
    for part in tmp_path.rglob("*.parquet"):
        part.write_bytes(b"no longer Parquet")
    broker = FakeBroker()
    with pytest.raises(StoreError, match="could not read table picks"):
        relay(broker).send_due(store, minute(2))
    assert broker.committed == []


def test_without_any_picks_it_says_which_it_waits_for(store: Store) -> None:
    done = relay(FakeBroker()).send_due(store, minute(2))
    assert str(done) == "There are no picks yet; the first to be sent are of 2026-11-20 09:30 New York."


def test_a_correction_is_sent_once_after_the_message_that_it_takes_the_place_of(store: Store) -> None:
    live(store, 0, 1)
    broker = FakeBroker()
    once = relay(broker)
    once.send_due(store, minute(2))
    revise(store, 0, made=2)
    done = once.send_due(store, minute(3))
    assert str(done) == "1 correction"
    assert said(broker)[6:] == ["0 AAPL 2"]
    assert str(once.send_due(store, minute(3))) == "There are no picks of 2026-11-20 09:32 New York or later yet."
    live(store, 2)
    revise(store, 0, made=3)
    revise(store, 1, made=3, ticker="AMD")
    assert str(relay(broker).send_due(store, minute(3))) == (
        "3 messages of 2026-11-20 09:32 New York and 2 corrections"
    )
    assert said(broker)[7:] == ["0 AAPL 3", "1 AMD 2", "2 AAPL 1", "2 AMD 1", "2 NVDA 1"]


def test_a_minute_that_was_corrected_before_it_was_sent_is_sent_with_its_corrections_in_order(store: Store) -> None:
    live(store, 0, 1)
    revise(store, 0, made=2)
    revise(store, 0, made=3)
    broker = FakeBroker()
    relay(broker).send_due(store, minute(3))
    assert said(broker)[:5] == ["0 AAPL 1", "0 AAPL 2", "0 AAPL 3", "0 AMD 1", "0 NVDA 1"]
    assert said(broker)[5:] == ["1 AAPL 1", "1 AMD 1", "1 NVDA 1"]


def test_a_correction_that_comes_after_its_horizon_is_not_sent(store: Store) -> None:
    live(store, 0, 1)
    broker = FakeBroker()
    once = relay(broker)
    once.send_due(store, minute(2))
    revise(store, 0, made=5)
    revise(store, 1, made=5)
    assert once.send_due(store, minute(6)).corrections == 1
    assert said(broker)[6:] == ["1 AAPL 2"]


def test_a_backlog_is_sent_without_the_corrections_whose_horizon_is_over(store: Store) -> None:
    live(store, 0)
    revise(store, 0, made=2)
    broker = FakeBroker()
    relay(broker).send_due(store, minute(60))
    assert sent(broker) == every(0, 0)


def test_the_topics_of_all_tickers_are_there_before_the_first_message(store: Store) -> None:
    broker = FakeBroker()
    relay(broker).send_due(store, minute(0))
    assert (broker.committed, broker.topics) == ([], {f"stockpick.simulated.{ticker}" for ticker in TICKERS})


def test_a_position_that_says_nothing_of_corrections_is_taken_up(store: Store) -> None:
    """As relays left it that did not send any."""
    live(store, 0, 1)
    revise(store, 0, made=2)
    broker = FakeBroker(positions={"stockpick.relay.simulated": Position(int(minute(1).timestamp()) // 60, "")})
    relay(broker).send_due(store, minute(2))
    assert said(broker) == ["0 AAPL 2", "1 AAPL 1", "1 AMD 1", "1 NVDA 1"]


def test_a_table_that_was_begun_anew_repeats_no_correction_and_holds_up_no_first_message(store: Store) -> None:
    live(store, 0, 1)
    revise(store, 0, made=2)
    broker = FakeBroker()
    once = relay(broker)
    once.send_due(store, minute(2))
    rmtree(store.uri("picks"))
    rows = [pick(minute(index), ticker, rank) for index in range(3) for rank, ticker in enumerate(TICKERS, 1)]
    store.append("picks", table(rows, minute(3)), {})
    revise(store, 0, made=3)
    once.send_due(store, minute(3))
    revise(store, 2, made=4)
    once.send_due(store, minute(4))
    assert said(broker) == [
        *("0 AAPL 1", "0 AAPL 2", "0 AMD 1", "0 NVDA 1", "1 AAPL 1", "1 AMD 1", "1 NVDA 1"),
        *("2 AAPL 1", "2 AMD 1", "2 NVDA 1", "2 AAPL 2"),
    ]


@dataclass(frozen=True)
class Overtaken(Store):
    """A store in which others commit between a run's look at picks and its commit."""

    others: list[Callable[[], object]] = field(default_factory=list)

    def read(self, name: str, **ends: Any) -> pa.Table:
        rows = super().read(name, **ends)
        if self.others:
            self.others.pop()()
        return rows


def test_of_two_runs_of_a_minute_at_one_time_the_later_corrects_what_the_earlier_published(store: Store) -> None:
    live(store, 0)
    broker = FakeBroker()
    once = relay(broker)

    def other() -> None:
        live(store, 1)
        once.send_due(store, minute(2))

    again = pick(minute(1), "AAPL", 1, price=90.0)
    commit_again(Overtaken(store.root, store.source, {}, [other]), table([again], minute(2)))
    once.send_due(store, minute(2))
    assert said(broker)[3:] == ["1 AAPL 1", "1 AMD 1", "1 NVDA 1", "1 AAPL 2"]


class Look(NamedTuple):
    """A relay looks; it may be a new one, and the broker may fail."""

    again: bool
    fails: str


class Revision(NamedTuple):
    """A pick is made again, a number of minutes before the newest."""

    back: int
    ticker: str


@given(
    steps=st.lists(
        st.just("minute")
        | st.builds(Look, st.booleans(), st.sampled_from(["", "", "before the commit", "after the commit"]))
        | st.builds(Revision, st.integers(0, 5), st.sampled_from(TICKERS)),
        max_size=14,
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_each_ticker_gets_every_version_once_and_in_order(
    steps: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(str(tmp_path_factory.mktemp("store")), "simulated", {})
    broker, now, revised = FakeBroker(), 0, Counter[tuple[int, str]]()
    sending = relay(broker)
    for step in [*steps, Look(True, "")]:
        match step:
            case "minute":
                live(store, now)
                now += 1
            case Revision(back, ticker) if back < now:
                revised[now - 1 - back, ticker] += 1
                times = sum(revised.values())
                again = table([pick(minute(now - 1 - back), ticker, 1, price=50.0 + times)], minute(now))
                commit_again(store, again)
            case Look(again, fails):
                sending = relay(broker) if again else sending
                broker.fails = fails
                with suppress(BrokerError):
                    sending.send_due(store, minute(now))
                broker.fails = ""
    for ticker in TICKERS:
        of_ticker = [text for text in said(broker) if f" {ticker} " in text]
        by_id = defaultdict(list)
        for text in of_ticker:
            index, _, version = text.split()
            by_id[int(index)].append(int(version))
        assert list(by_id) == list(range(now))
        for index, versions in by_id.items():
            assert versions == list(range(1, len(versions) + 1))
            if now < index + 6:
                assert len(versions) == 1 + revised[index, ticker]


@given(st.sets(st.tuples(st.integers(0, 9), st.sampled_from((*TICKERS, "TSLA")))))
def test_a_minute_is_complete_when_every_ticker_of_the_universe_has_a_row(there: set[tuple[int, str]]) -> None:
    rows = table([pick(minute(index), ticker) for index, ticker in there]).select(["minute", "ticker"])
    expected = [minute(index) for index in range(10) if {(index, ticker) for ticker in TICKERS} <= there]
    assert complete_minutes(rows, TICKERS) == expected
