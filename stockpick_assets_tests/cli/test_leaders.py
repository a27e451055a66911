"""What `stockpick leaders` prints, from messages that a reader in memory hands over."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from stockpick_assets.cli.leaders import leaders, to_json, to_text, watch
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.leaders import Leader, Leaders
from stockpick_assets.core.messages import parse_message, topic_name
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION


def text(index: int, ticker: str, **values: Any) -> bytes:
    return table([pick(minute(index), ticker, 1, **values)])["message"][0].as_py().encode()


def interval(start: int, **values: Any) -> list[bytes]:
    return [text(index, ticker, **values) for index in range(start, start + 5) for ticker in TICKERS]


def leader(texts: list[bytes], now: datetime = SESSION.close) -> Leader:
    gathered = Leaders("simulated")
    for each in texts:
        gathered.add(parse_message(each))
    [named] = gathered.named(now, TICKERS)
    return named


class FakeReader:
    """Hands over one list of messages a poll, or raises it; its topics are those of TICKERS."""

    def __init__(self, *polls: list[bytes] | BrokerError, unread: int = 0) -> None:
        self.topics = frozenset(topic_name("simulated", ticker) for ticker in TICKERS)
        self._polls = list(polls)
        self._unread = unread

    def poll(self, seconds: float) -> list[bytes]:
        """The next list; ends the test's patience when there is none."""
        if not self._polls:
            raise EOFError
        answer = self._polls.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    def at_end(self) -> bool:
        """Whether what came is all there is."""
        self._unread -= 1
        return self._unread < 0


def watched(reader: FakeReader, *market: datetime, speed: float = 1.0, after: datetime | None = None) -> list[Any]:
    """What `watch` says until the reader has no more. market: market time at the start and after each poll."""
    clock = MarketClock(datetime(2026, 12, 1, tzinfo=UTC), SESSION.open, speed)
    times = iter(market)
    said: list[Leader | str] = []
    with suppress(EOFError):
        for event in watch(reader, "simulated", clock, lambda: clock.wall_at(next(times)), after, once=False):
            said.append(event)
    return said


def test_an_interval_is_one_line_with_its_source_its_best_ticker_and_its_numbers() -> None:
    best = text(3, "NVDA", p_profit=0.61)
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
    line = to_text(leader([*interval(0), text(3, "NVDA", p_profit=0.61, abstain="no skill")]))
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
    said = json.loads(to_json(leader([*interval(0), text(3, "NVDA", p_profit=0.61)])))
    assert [(best["ticker"], best["id"]) for best in said["best"]] == [("NVDA", "simulated/2026-11-20T14:33:00Z/NVDA")]
    assert (said["source"], said["messages"], said["expected"], said["silent"]) == ("simulated", 15, 15, [])


def test_intervals_are_named_as_they_complete() -> None:
    said = watched(FakeReader(interval(0), interval(5)), minute(0), minute(5), minute(10))
    assert [each.start for each in said] == [minute(0), minute(5)]


def test_nothing_is_named_while_topics_are_still_behind() -> None:
    """Topics are read one after the other: what came of the first would otherwise close the intervals of the second."""
    behind = FakeReader(interval(5), interval(0), unread=1)
    said = watched(behind, minute(0), minute(10), minute(10))
    assert [(each.start, each.messages) for each in said] == [(minute(0), 15), (minute(5), 15)]


def test_messages_before_the_asked_time_are_passed_over() -> None:
    said = watched(FakeReader([*interval(0), *interval(5)]), minute(0), minute(10), after=minute(5))
    assert [each.start for each in said] == [minute(5)]


def test_what_is_no_message_is_said_and_passed_over() -> None:
    said = watched(FakeReader([b"{}", *interval(0)]), minute(0), minute(5))
    assert said[0].startswith("SIMULATED passed over: no stockpick message (KeyError: 'id'): {}")
    assert said[1].start == minute(0)


def test_late_messages_are_counted_and_change_nothing() -> None:
    said = watched(FakeReader(interval(0), [text(2, "AMD", p_profit=0.99)]), minute(0), minute(5), minute(6))
    assert said[1:] == ["SIMULATED 1 messages came after their interval was named"]


def test_silence_in_market_hours_is_said_once_and_again_when_it_returns() -> None:
    polls = FakeReader(interval(0), [], [], interval(5), [])
    said = watched(polls, minute(0), minute(5), minute(9), minute(10), minute(11), minute(20))
    spoken = [each for each in said if isinstance(each, str)]
    assert spoken == [
        "SIMULATED the topics have been silent for 0:04:00 of market time; it is 2026-11-20 09:39 in New York and the "
        "market is open",
        "SIMULATED the topics have been silent for 0:10:00 of market time; it is 2026-11-20 09:50 in New York and the "
        "market is open",
    ]


def test_a_broker_that_goes_away_is_said_once_and_reading_goes_on() -> None:
    away = BrokerError("Kafka at 127.0.0.1:9092 did not answer")
    said = watched(FakeReader(away, away, interval(0)), minute(0), minute(5))
    assert said[0] == "SIMULATED Kafka at 127.0.0.1:9092 did not answer; trying again"
    assert [each.start for each in said[1:]] == [minute(0)]


@pytest.mark.parametrize("start", ["soon", "2026-11-23", "2026-11-23T10:30:00", "09:30"])
def test_a_time_that_is_none_is_refused_with_what_it_may_be(start: str) -> None:
    said = CliRunner().invoke(leaders, ["--from", start])
    assert said.exit_code == 2
    assert f"'{start}' is none of earliest, latest, a New York time such as '2026-11-23 10:30'" in said.stderr
