"""Naming the best ticker of every five minutes, from messages in any order."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.leaders import Leader, Leaders, interval_of, silence
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.messages import Message, parse_message
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION

BEFORE = SESSION.open


def message(index: int, ticker: str, p_profit: float | None = 0.5, abstain: str | None = None) -> Message:
    row = pick(minute(index), ticker, 1, p_profit=p_profit, abstain=abstain)
    return parse_message(table([row])["message"][0].as_py())


def corrected(first: Message, p_profit: float | None, version: int = 2) -> Message:
    return replace(first, p_profit=p_profit, version=version, supersedes=version - 1)


def named(messages: list[Message], now: datetime = BEFORE, tickers: tuple[str, ...] = TICKERS) -> list[Leader]:
    gathered = Leaders("simulated")
    for each in messages:
        gathered.add(each)
    return list(gathered.named(now, tickers))


def interval(start: int, tickers: tuple[str, ...] = TICKERS) -> list[Message]:
    return [message(index, ticker) for index in range(start, start + 5) for ticker in tickers]


def but(messages: list[Message], *others: Message) -> list[Message]:
    """The messages, those of the given ids replaced."""
    changed = {each.id: each for each in others}
    return [changed.get(each.id, each) for each in messages]


FULL = interval(0)


def test_the_highest_probability_of_the_five_minutes_wins() -> None:
    [leader] = named(but(FULL, message(3, "AMD", 0.61)))
    assert [(best.ticker, best.minute) for best in leader.best] == [("AMD", minute(3))]
    assert (leader.start, leader.last_minute, leader.source) == (minute(0), minute(4), "simulated")


def test_a_complete_interval_is_named_at_once() -> None:
    [leader] = named(FULL)
    assert (leader.messages, leader.expected, leader.silent) == (15, 15, ())


def test_an_interval_that_is_not_complete_waits() -> None:
    assert named(FULL[:-1]) == []


def test_an_interval_waits_for_its_grace_though_a_later_one_has_begun() -> None:
    assert named([*FULL[:-1], message(6, "AAPL")]) == []
    [leader] = named([*FULL[:-1], message(7, "AAPL")])
    assert (leader.start, leader.messages) == (minute(0), 14)


def test_an_interval_that_nothing_follows_is_named_after_its_grace() -> None:
    assert named(FULL[:-1], minute(5) + timedelta(seconds=119)) == []
    assert len(named(FULL[:-1], minute(5) + timedelta(seconds=120))) == 1


def test_the_grace_is_wall_time_however_fast_the_market_is_replayed() -> None:
    gathered = Leaders("simulated")
    for each in FULL[:-1]:
        gathered.add(each)
    assert list(gathered.named(minute(24), TICKERS, speed=10.0)) == []
    assert len(list(gathered.named(minute(25), TICKERS, speed=10.0))) == 1


def test_an_interval_is_never_named_before_an_earlier_one() -> None:
    assert named([*FULL[:-1], message(5, "AAPL"), message(5, "AMD"), message(5, "NVDA")], minute(6)) == []
    both = named([*FULL[:-1], *interval(5)], minute(10))
    assert [leader.start for leader in both] == [minute(0), minute(5)]


def test_a_ticker_that_fell_idle_is_waited_for_once() -> None:
    """A topic whose ticker has left the universe stays, and would delay every interval by the grace."""
    spoke = ("AAPL", "NVDA")
    gathered = Leaders("simulated")
    for each in interval(0, spoke):
        gathered.add(each)
    assert list(gathered.named(minute(5), TICKERS)) == []
    [first] = gathered.named(minute(7), TICKERS)
    for each in interval(5, spoke):
        gathered.add(each)
    [second] = gathered.named(minute(10), TICKERS)
    assert (first.silent, second.silent, second.expected) == (("AMD",), ("AMD",), 15)


def test_ties_are_all_named_in_alphabetical_order() -> None:
    [leader] = named(but(FULL, message(4, "NVDA", 0.7), message(1, "AAPL", 0.7)))
    assert [(best.ticker, best.minute) for best in leader.best] == [("AAPL", minute(1)), ("NVDA", minute(4))]


def test_a_ticker_that_ties_with_itself_is_named_once_with_its_newest_minute() -> None:
    [leader] = named(but(FULL, message(1, "AMD", 0.7), message(3, "AMD", 0.7)))
    assert [(best.ticker, best.minute) for best in leader.best] == [("AMD", minute(3))]


def test_of_the_messages_with_one_id_the_highest_version_counts_and_not_the_last_that_came() -> None:
    first = message(2, "AMD", 0.9)
    [leader] = named([corrected(first, 0.6, 3), corrected(first, 0.8, 2), *but(FULL, first)])
    assert [(best.ticker, best.p_profit, best.version) for best in leader.best] == [("AMD", 0.6, 3)]
    assert leader.messages == 15


def test_the_best_is_named_though_it_abstains_and_its_reason_with_it() -> None:
    doubted = message(0, "AMD", 0.8, "the model has shown no skill")
    [leader] = named(but(FULL, doubted, message(0, "AAPL", 0.1, "other")))
    assert leader.best[0].ticker == "AMD"
    assert leader.abstain == "the model has shown no skill"


def test_an_interval_without_any_probability_gives_the_reason_most_messages_give() -> None:
    none = [message(index, ticker, None, "no model") for index in range(5) for ticker in TICKERS]
    [leader] = named(but(none, message(0, "AMD", None, "no bar")))
    assert (leader.best, leader.abstain) == ((), "no model")


def test_a_ticker_that_nothing_comes_from_is_named_as_silent() -> None:
    [leader] = named([each for each in FULL if each.ticker != "AMD"], minute(60))
    assert (leader.silent, leader.messages, leader.expected) == (("AMD",), 10, 15)


def after_naming(*messages: Message) -> tuple[Leaders, list[Leader]]:
    """What is said of FULL after it was named once and the messages have come."""
    gathered = Leaders("simulated")
    for each in FULL:
        gathered.add(each)
    assert len(list(gathered.named(minute(5), TICKERS))) == 1
    for each in messages:
        gathered.add(each)
    return gathered, list(gathered.named(minute(5), TICKERS))


def test_a_correction_that_changes_the_leader_of_a_named_interval_revises_it_once() -> None:
    gathered, [revised] = after_naming(corrected(message(2, "AMD"), 0.9))
    assert (revised.revised, revised.start, [best.ticker for best in revised.best]) == (True, minute(0), ["AMD"])
    assert (gathered.late, list(gathered.named(minute(60), TICKERS))) == (1, [])


def test_a_correction_that_takes_the_lead_away_revises_the_interval() -> None:
    gathered, _ = after_naming(corrected(message(2, "AMD"), 0.9))
    gathered.add(corrected(message(2, "AMD"), None, 3))
    [revised] = gathered.named(minute(5), TICKERS)
    assert [(best.ticker, best.minute) for best in revised.best] == [(ticker, minute(4)) for ticker in TICKERS]


def test_a_late_message_that_leaves_the_leader_is_counted_and_no_more() -> None:
    gathered, said = after_naming(corrected(message(2, "AMD"), 0.2), message(1, "TSLA", 0.3))
    assert (gathered.late, said) == (2, [])


def test_a_repetition_is_not_even_counted() -> None:
    gathered, said = after_naming(*FULL)
    assert (gathered.late, said) == (0, [])


def test_what_comes_long_after_its_interval_was_named_is_counted_and_changes_nothing() -> None:
    gathered, [_] = after_naming(*interval(15))
    gathered.add(corrected(message(2, "AMD"), 0.9))
    assert (gathered.late, list(gathered.named(minute(20), TICKERS))) == (1, [])


def test_a_long_run_keeps_no_more_than_the_intervals_that_may_still_change() -> None:
    gathered = Leaders("simulated")
    offsets = dict.fromkeys(TICKERS, 0)
    kept: list[int] = []
    for index in range(390):
        for ticker in TICKERS:
            gathered.add(message(index, ticker), ticker, offsets[ticker])
            offsets[ticker] += 1
        list(gathered.named(minute(index + 1), TICKERS))
        kept.append(index - min(gathered.needed().values()))
    assert max(kept) < 20


@given(st.data())
def test_whatever_the_order_within_the_grace_the_same_leaders_are_named(data: st.DataObject) -> None:
    """Messages come up to two minutes after another that was made later, some twice, and corrections before what they
    correct; the intervals are named in between. The last word on each is what it would be had all come in order."""
    messages = [
        message(index, ticker, data.draw(st.sampled_from([None, 0.1, 0.2, 0.3])))
        for index in range(data.draw(st.integers(5, 17)))
        for ticker in TICKERS
    ]
    corrections = [corrected(each, 0.25) for each in data.draw(st.lists(st.sampled_from(messages), max_size=6))]
    repeated = data.draw(st.lists(st.sampled_from([*messages, *corrections]), max_size=6))
    sent = [*messages, *corrections, *repeated]
    delays = data.draw(st.lists(st.integers(0, 119), min_size=len(sent), max_size=len(sent)))
    arrivals = sorted(
        ((each.minute + MINUTE + timedelta(seconds=delay), each) for each, delay in zip(sent, delays, strict=True)),
        key=lambda arrival: arrival[0],
    )
    gathered, last = Leaders("simulated"), dict[datetime, Leader]()
    for now, each in arrivals:
        gathered.add(each)
        last |= {leader.start: leader for leader in gathered.named(now, TICKERS)}
    last |= {leader.start: leader for leader in gathered.named(minute(60), TICKERS)}
    in_order = {leader.start: leader.best for leader in named(sent, minute(60))}
    assert {start: leader.best for start, leader in last.items()} == in_order


@given(st.data())
def test_a_restart_anywhere_says_what_a_run_without_one_says(data: st.DataObject) -> None:
    """Each ticker's topic is read again from what was needed, its messages marked, and then on."""
    log = {
        ticker: [message(index, ticker, data.draw(st.sampled_from([None, 0.1, 0.2]))) for index in range(22)]
        for ticker in TICKERS
    }
    for topic in log.values():
        for index in data.draw(st.lists(st.integers(0, 21), max_size=2)):
            topic.insert(min(len(topic), index + data.draw(st.integers(1, 12))), corrected(topic[index], 0.3))
    stops = data.draw(st.sets(st.integers(0, 22), max_size=4))

    def run(stops: set[int]) -> tuple[list[Leader], int]:
        gathered, said, late, read = Leaders("simulated"), list[Leader](), 0, dict.fromkeys(TICKERS, 0)
        for ends in range(1, 28):
            if ends in stops:
                late += gathered.late
                needed = gathered.needed()
                gathered = Leaders("simulated", gathered.through)
                for ticker in TICKERS:
                    for offset in range(needed.get(ticker, read[ticker]), read[ticker]):
                        gathered.add(log[ticker][offset], ticker, offset, again=True)
            for ticker in TICKERS:
                for offset in range(read[ticker], min(ends, len(log[ticker]))):
                    gathered.add(log[ticker][offset], ticker, offset)
                    read[ticker] = offset + 1
            said += gathered.named(minute(ends), TICKERS)
        return said, late + gathered.late

    assert run(stops) == run(set())


def test_intervals_begin_at_the_open_and_every_five_minutes() -> None:
    starts = {interval_of(stamp.to_pydatetime()) for stamp in SESSION.minutes()}
    assert sorted(starts) == [SESSION.open + 5 * MINUTE * index for index in range(78)]


@pytest.mark.parametrize(
    ("newest", "since", "now", "speed", "quiet"),
    [
        (minute(10), minute(0), minute(14), 1.0, None),
        (minute(10), minute(0), minute(15), 1.0, timedelta(minutes=4)),
        (minute(10), minute(0), minute(15), 10.0, None),
        (minute(10), minute(0), minute(42), 10.0, timedelta(minutes=31)),
        (None, minute(10), minute(13), 1.0, None),
        (None, minute(10), minute(14), 1.0, timedelta(minutes=4)),
        (minute(-1000), minute(-1000), minute(4), 1.0, timedelta(minutes=4)),
        (minute(380), minute(0), SESSION.close, 1.0, None),
        (minute(380), minute(0), SESSION.open - MINUTE, 1.0, None),
    ],
)
def test_silence_is_what_lasts_longer_than_three_minutes_in_market_hours(
    newest: datetime | None, since: datetime, now: datetime, speed: float, quiet: timedelta | None
) -> None:
    assert silence(newest, since, now, speed) == quiet
