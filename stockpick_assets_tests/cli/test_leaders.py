"""What `stockpick leaders` prints, from messages that a reader in memory hands over."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from stockpick_assets.cli.leaders import Watch, beginning, leaders, to_json, to_text
from stockpick_assets.cli.listening import Alarm
from stockpick_assets.core.alerts import Delivery
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.leaders import Leader, Leaders
from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.core.messages import parse_message, topic_name
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.topic_reader import Record
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.webhook import listening as webhook_listening


def text(index: int, ticker: str, **values: Any) -> bytes:
    return table([pick(minute(index), ticker, 1, **values)])["message"][0].as_py().encode()


def interval(start: int, **values: Any) -> list[bytes]:
    return [text(index, ticker, **values) for index in range(start, start + 5) for ticker in TICKERS]


def corrected(index: int, ticker: str, version: int = 2, **values: Any) -> bytes:
    fields = json.loads(text(index, ticker, **values))
    return json.dumps({**fields, "version": version, "supersedes": version - 1}).encode()


def leader(texts: list[bytes], now: datetime = SESSION.close) -> Leader:
    gathered = Leaders("simulated")
    for each in texts:
        gathered.add(parse_message(each))
    [named] = gathered.named(now, TICKERS)
    return named


class FakeReader:
    """Hands over one list of messages a poll, or raises it; its topics are those of TICKERS.

    Each topic's offsets count from 0. begins: what the reader before had kept, as `kept` has it. ends: what is said
    first of whether all is read; then it is. keeps: what comes of keeping the position at first; then it is kept.
    """

    def __init__(
        self,
        *polls: list[bytes] | BrokerError,
        begins: tuple[dict[str, int], dict[str, int], str] = ({}, {}, ""),
        ends: tuple[bool | BrokerError, ...] = (),
        keeps: tuple[BrokerError, ...] = (),
    ) -> None:
        self.topics = frozenset(topic_name("simulated", ticker) for ticker in TICKERS)
        self.kept: list[tuple[dict[str, int], dict[str, int], str]] = []  # needed, read, note
        self.needed, self.read, self.note = begins
        self.polled = 0
        self._at = dict(self.needed)
        self._polls = polls
        self._ends = list(ends)
        self._keeps = list(keeps)

    def records(self, seconds: float) -> list[Record]:
        """The next list; ends the test's patience when there is none."""
        if self.polled == len(self._polls):
            raise EOFError
        answer = self._polls[self.polled]
        self.polled += 1
        if isinstance(answer, BrokerError):
            raise answer
        return [self._record(each) for each in answer]

    def _record(self, text: bytes) -> Record:
        topic = next((ticker for ticker in TICKERS if ticker.encode() in text), "none")
        offset = self._at.get(topic, 0)
        self._at[topic] = offset + 1
        return Record(text, topic, offset, offset < self.read.get(topic, 0))  # pyright: ignore[reportArgumentType]

    def at_end(self) -> bool:
        """Whether what came is all there is."""
        answer = self._ends.pop(0) if self._ends else True
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    def keep(self, needed: Mapping[Any, int], note: str) -> None:
        """Keep it for the next reader."""
        if self._keeps:
            raise self._keeps.pop(0)
        self.kept.append(({**self._at, **needed}, dict(self._at), note))


def watched(
    reader: FakeReader,
    *market: datetime,
    speed: float = 1.0,
    after: datetime | None = None,
    count: int | None = None,
    once: bool = False,
    alarm: Alarm | None = None,
) -> list[Any]:
    """What is said until the reader has no more. market: market time at the start and after each poll."""
    clock = MarketClock(datetime(2026, 12, 1, tzinfo=UTC), SESSION.open, speed)
    said: list[Leader | str] = []
    with suppress(EOFError):
        watch = Watch(reader, "simulated", clock, lambda: clock.wall_at(market[reader.polled]), after, alarm)
        for event in watch.events(count, once):
            said.append(event)
    return said


def test_an_interval_is_one_line_with_its_source_its_best_ticker_and_its_numbers() -> None:
    best = corrected(3, "NVDA", p_profit=0.61)
    assert to_text(leader([*interval(0), best])) == (
        "SIMULATED 2026-11-20 09:30-09:34  NVDA   p_profit 61.0%  at 09:33  rank 1  expected +0.6 bp before cost  "
        "today +1.23%  5 min -0.04%  pop_window 0.60"
    )


def test_ties_have_a_line_each_and_the_many_are_counted() -> None:
    lines = to_text(leader([text(0, f"T{index}", p_profit=0.5) for index in range(15)])).splitlines()
    assert all(line.startswith("SIMULATED 2026-11-20 09:30-09:34  ") for line in lines)
    assert [line.split()[3] for line in lines[1:]] == ["tie:"] * 5
    assert lines[-1].endswith("tie: 10 more")


def test_the_mark_of_a_forecast_that_abstains_stands_beside_it() -> None:
    line = to_text(leader([*interval(0), corrected(3, "NVDA", p_profit=0.61, abstain="no skill")]))
    assert line.endswith("[ABSTAINS: no skill]")
    assert "NVDA" in line


def test_an_interval_without_a_forecast_says_why() -> None:
    line = to_text(leader(interval(0, p_profit=None, abstain="no model yet")))
    assert line == "SIMULATED 2026-11-20 09:30-09:34  no ticker has a probability of profit  [ABSTAINS: no model yet]"


def test_what_is_missing_from_an_interval_is_said() -> None:
    line = to_text(leader([each for each in interval(0) if b"NVDA" not in each]))
    assert line.splitlines()[0].endswith("[10 of 15 messages; silent: NVDA]")


def test_hostile_text_reaches_the_terminal_as_printable_characters_of_one_line() -> None:
    hostile = "\x1b[2J\n\u202eA" + "x" * 10_000
    line = to_text(leader([text(0, hostile, p_profit=0.9, abstain=hostile)]))
    assert line.isprintable()
    assert len(line) < 400


def test_the_json_of_an_interval_is_one_line_with_the_ids_of_its_best_messages() -> None:
    said = json.loads(to_json(leader([*interval(0), corrected(3, "NVDA", p_profit=0.61)])))
    [best] = said["best"]
    assert (best["ticker"], best["id"], best["version"]) == ("NVDA", "simulated/2026-11-20T14:33:00Z/NVDA", 2)
    assert said["revised"] is False
    assert (said["source"], said["messages"], said["expected"], said["silent"]) == ("simulated", 15, 15, [])


def test_intervals_are_named_as_they_complete() -> None:
    said = watched(FakeReader(interval(0), interval(5)), minute(0), minute(5), minute(10))
    assert [each.start for each in said] == [minute(0), minute(5)]


def test_nothing_is_named_while_topics_are_still_behind() -> None:
    """Topics are read one after the other: what came of the first would otherwise close the intervals of the second."""
    behind = FakeReader(interval(5), interval(0), ends=(False,))
    said = watched(behind, minute(0), minute(10), minute(10))
    assert [(each.start, each.messages) for each in said] == [(minute(0), 15), (minute(5), 15)]


def test_messages_before_the_asked_time_are_passed_over() -> None:
    said = watched(FakeReader([*interval(0), *interval(5)]), minute(0), minute(10), after=minute(5))
    assert [each.start for each in said] == [minute(5)]


def test_what_is_no_message_is_said_and_passed_over() -> None:
    said = watched(FakeReader([b"{}", *interval(0)]), minute(0), minute(5))
    assert said[0].startswith("SIMULATED passed over: no stockpick message (KeyError: 'id'): {}")
    assert said[1].start == minute(0)


def test_late_messages_that_leave_the_leader_are_counted() -> None:
    said = watched(FakeReader(interval(0), [corrected(2, "AMD", p_profit=0.2)]), minute(0), minute(5), minute(6))
    assert said[1:] == ["SIMULATED 1 messages came after their interval was named"]


def test_a_correction_after_the_interval_was_named_revises_it() -> None:
    reader = FakeReader(interval(0), [corrected(2, "AMD", p_profit=0.99)])
    _, revised, counted = watched(reader, minute(0), minute(5), minute(6))
    assert to_text(revised).startswith("SIMULATED 2026-11-20 09:30-09:34  revised:  AMD    p_profit 99.0%  at 09:32")
    assert json.loads(to_json(revised))["revised"] is True
    assert counted == "SIMULATED 1 messages came after their interval was named"


def test_messages_of_minutes_that_are_still_to_come_are_passed_over() -> None:
    """What a replay of a later session left in the topics would otherwise end every interval of this one at once."""
    [said] = watched(FakeReader([*interval(0)[:-1], text(60, "AMD")]), minute(0), minute(5))
    assert said == (
        "SIMULATED passed over: 1 messages of minutes up to 2026-11-20 10:30, though it is 2026-11-20 09:35 in New "
        "York; they are another replay's, or this machine's clock is wrong"
    )


def test_the_position_is_kept_after_an_interval_was_said_and_from_what_may_still_change() -> None:
    reader = FakeReader([*interval(0), text(5, "AMD")], [], [])
    watched(reader, minute(0), minute(6), minute(6), minute(6))
    needed = {"AAPL": 0, "AMD": 0, "NVDA": 0}
    assert reader.kept == [(needed, {"AAPL": 5, "AMD": 6, "NVDA": 5}, minute(0).isoformat())]


def test_a_restart_says_no_interval_twice_and_goes_on_with_the_one_that_was_open() -> None:
    first = FakeReader([*interval(0), *interval(5)[:7]], [])
    assert [each.start for each in watched(first, minute(0), minute(8), minute(8))] == [minute(0)]
    again = FakeReader([*interval(0), *interval(5)[:7]], interval(5)[7:], [], begins=first.kept[-1])
    said = watched(again, minute(8), minute(9), minute(10), minute(10))
    assert [(each.start, each.messages) for each in said] == [(minute(5), 15)]


def test_a_correction_that_came_while_nobody_read_revises_the_interval_after_the_restart() -> None:
    first = FakeReader(interval(0), [])
    watched(first, minute(0), minute(5), minute(5))
    again = FakeReader([*interval(0), corrected(2, "AMD", p_profit=0.99)], [], begins=first.kept[-1])
    revised, counted = watched(again, minute(6), minute(6), minute(6))
    assert (revised.revised, revised.best[0].ticker) == (True, "AMD")
    assert counted == "SIMULATED 1 messages came after their interval was named"
    third = FakeReader([*interval(0), corrected(2, "AMD", p_profit=0.99)], [], begins=again.kept[-1])
    assert watched(third, minute(6), minute(6), minute(6)) == []


def test_who_dies_between_saying_an_interval_and_keeping_the_position_says_that_one_again() -> None:
    wall = datetime(2026, 12, 1, tzinfo=UTC)
    first = FakeReader([*interval(0), *interval(5), *interval(10)])
    events = Watch(first, "simulated", MarketClock(wall, minute(15), 1.0), lambda: wall).events()
    assert [each.start for each in (next(events), next(events)) if isinstance(each, Leader)] == [minute(0), minute(5)]
    again = FakeReader([*interval(0), *interval(5), *interval(10)], begins=first.kept[-1])
    assert [each.start for each in watched(again, minute(15), minute(15))] == [minute(5), minute(10)]


def test_no_position_is_kept_before_all_revisions_were_said() -> None:
    """Of the messages before the position a restart says no more."""
    corrections = [corrected(2, "AMD", p_profit=0.99), corrected(7, "AMD", p_profit=0.98)]
    reader = FakeReader([*interval(0), *interval(5)], [*corrections, *interval(10)])
    said = watched(reader, minute(0), minute(10), minute(15), count=3)
    assert [(each.start, each.revised) for each in said[2:5]] == [
        (minute(0), True),
        (minute(5), True),
        (minute(10), False),
    ]
    assert [note for _, _, note in reader.kept] == [minute(index).isoformat() for index in (0, 5, 10, 10)]


def test_of_several_intervals_no_more_than_were_asked_for_are_kept_as_named() -> None:
    reader = FakeReader([*interval(0), *interval(5)])
    assert [each.start for each in watched(reader, minute(0), minute(10), count=1)] == [minute(0)]
    assert [note for _, _, note in reader.kept] == [minute(0).isoformat()]


def test_what_a_replay_that_was_further_on_had_named_does_not_count() -> None:
    reader = FakeReader(interval(0), begins=({}, {}, minute(30).isoformat()))
    assert [each.start for each in watched(reader, minute(5), minute(5))] == [minute(0)]


def test_silence_in_market_hours_is_said_once_and_when_it_is_over() -> None:
    polls = FakeReader(interval(0), [], [], interval(5), [])
    said = watched(polls, minute(0), minute(5), minute(9), minute(10), minute(11), minute(20))
    assert [each for each in said if isinstance(each, str)] == [
        "SIMULATED the topics have been silent for 0:04:00 of market time; it is 2026-11-20 09:39 in New York and the "
        "market is open; the last minute that came is 2026-11-20 09:34",
        "SIMULATED messages come again, of 2026-11-20 09:39 New York",
        "SIMULATED the topics have been silent for 0:10:00 of market time; it is 2026-11-20 09:50 in New York and the "
        "market is open; the last minute that came is 2026-11-20 09:39",
    ]


class FakeChannels:
    """Takes what is delivered, except the attempts counted from 1 that it is to refuse."""

    def __init__(self, *refuses: int) -> None:
        self.attempts: list[str] = []
        self.taken: list[str] = []
        self._refuses = refuses

    def deliver(self, title: str, body: str) -> Delivery:
        """One attempt."""
        self.attempts.append(title)
        if len(self.attempts) in self._refuses:
            return Delivery(refused=("channel 1 (Slack)",))
        self.taken.append(f"{title}\n{body}")
        return Delivery(accepted=("channel 1 (Slack)",))


def test_an_alert_is_sent_once_a_silence_and_once_when_it_is_over() -> None:
    channels = FakeChannels()
    polls = FakeReader(interval(0), [], [], [], interval(5), [])
    watched(polls, *map(minute, (0, 5, 9, 10, 11, 12, 13)), alarm=Alarm(channels.deliver))
    assert channels.taken == [
        "SIMULATED: the topics have been silent for 0:04:00 of market time\n"
        "it is 2026-11-20 09:39 in New York and the market is open; the last minute that came is 2026-11-20 09:34. "
        "Look at `stockpick status`.",
        "SIMULATED: messages come again, of 2026-11-20 09:39 New York\nThe topics had been silent.",
    ]


def test_an_alert_that_no_channel_took_is_said_and_tried_again_every_minute() -> None:
    channels = FakeChannels(1, 2)
    times = [minute(0), minute(4)] + [minute(4) + timedelta(seconds=20 * index) for index in range(1, 9)]
    said = watched(FakeReader(*[[]] * 9), *times, alarm=Alarm(channels.deliver))
    assert said[1:] == 2 * ["SIMULATED no channel took the alert (channel 1 (Slack)); trying again in 0:01:00"]
    assert (len(channels.attempts), len(channels.taken)) == (3, 1)


def test_a_silence_that_no_channel_heard_of_is_not_said_to_be_over() -> None:
    channels = FakeChannels(1)
    watched(FakeReader([], interval(0)), minute(0), minute(4), minute(5), alarm=Alarm(channels.deliver))
    assert (len(channels.attempts), channels.taken) == (1, [])


def test_an_alert_goes_to_every_channel_of_the_setting() -> None:
    with webhook_listening() as webhook:
        delivery = Notifier(f"{webhook.url} nonsense").tell("the topics have been silent", "look")
    assert (delivery.accepted, delivery.refused) == (
        ("channel 1 (JSON)",),
        ("channel 2 (no address that Apprise knows)",),
    )
    [received] = webhook.received
    assert (received["title"], received["message"]) == ("the topics have been silent", "look")


def test_each_session_has_a_silence_of_its_own() -> None:
    """The first was said before the weekend; who reads on Monday is to know that it lasts."""
    monday = session_after(SESSION).open + timedelta(minutes=4)
    channels = FakeChannels()
    watched(
        FakeReader([], [], [], []),
        minute(0),
        minute(4),
        SESSION.close,
        monday,
        monday + 9 * MINUTE,
        alarm=Alarm(channels.deliver),
    )
    assert len(channels.taken) == 2


AWAY = BrokerError("Kafka at 127.0.0.1:9092 did not answer")


def test_a_broker_that_goes_away_is_said_once_and_reading_goes_on() -> None:
    said = watched(FakeReader(AWAY, AWAY, interval(0)), minute(0), minute(1), minute(2), minute(5))
    assert said[0] == "SIMULATED Kafka at 127.0.0.1:9092 did not answer; trying again"
    assert [each.start for each in said[1:]] == [minute(0)]


def test_the_silence_of_a_broker_that_stays_away_is_said_too() -> None:
    said = watched(FakeReader(AWAY, AWAY), minute(0), minute(1), minute(4))
    assert said[1].startswith("SIMULATED the topics have been silent for 0:04:00 of market time")


def test_what_came_before_the_broker_went_away_is_not_lost() -> None:
    said = watched(FakeReader(interval(0), [], ends=(AWAY,)), minute(0), minute(5), minute(5))
    assert [(each.start, each.messages) for each in said[1:]] == [(minute(0), 15)]


def test_a_position_that_could_not_be_kept_is_kept_later_and_reading_goes_on() -> None:
    reader = FakeReader(interval(0), interval(5), keeps=(AWAY,))
    said = watched(reader, minute(0), minute(5), minute(10))
    assert said[1] == "SIMULATED Kafka at 127.0.0.1:9092 did not answer; trying again"
    assert [each.start for each in said[::2]] == [minute(0), minute(5)]
    assert [note for _, _, note in reader.kept] == [minute(5).isoformat()]


@pytest.mark.parametrize("end", [{"once": True}, {"count": 1}])
def test_a_position_that_cannot_be_kept_at_the_end_is_an_error(end: dict[str, Any]) -> None:
    with pytest.raises(BrokerError):
        watched(FakeReader(interval(0), [], keeps=(AWAY,)), minute(0), minute(5), minute(5), **end)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--from", "latest", "--group", "mine"], "--from reads outside any group: give it or --group, not both"),
        (["--alert"], "--alert needs a channel: set STOCKPICK_ALERT_URLS"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments: list[str], refusal: str) -> None:
    said = CliRunner().invoke(leaders, arguments)
    assert said.exit_code == 2
    assert refusal in said.stderr


@pytest.mark.parametrize("start", ["soon", "2026-11-23", "2026-11-23T10:30:00", "09:30"])
def test_a_time_that_is_none_is_refused_with_what_it_may_be(start: str) -> None:
    said = CliRunner().invoke(leaders, ["--from", start])
    assert said.exit_code == 2
    assert f"'{start}' is none of earliest, latest, a New York time such as '2026-11-23 10:30'" in said.stderr


def test_a_replay_is_read_from_its_beginning_as_it_may_have_been_started_anew_since() -> None:
    live, replayed = MarketClock(), MarketClock(minute(400), minute(0))
    assert beginning(live, minute(5)) == minute(5)
    assert beginning(replayed, minute(5)) == "earliest"
