"""Naming the best ticker of every five minutes, from messages in any order."""

import random
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


def named(messages: list[Message], now: datetime = BEFORE, tickers: tuple[str, ...] = TICKERS) -> list[Leader]:
    gathered = Leaders("simulated")
    for each in messages:
        gathered.add(each)
    return gathered.named(now, tickers)


FULL = [message(index, ticker) for index in range(5) for ticker in TICKERS]


def test_the_highest_probability_of_the_five_minutes_wins() -> None:
    [leader] = named([*FULL, message(3, "AMD", 0.61)])
    assert [(best.ticker, best.minute) for best in leader.best] == [("AMD", minute(3))]
    assert (leader.start, leader.last_minute, leader.source) == (minute(0), minute(4), "simulated")


def test_a_complete_interval_is_named_at_once() -> None:
    [leader] = named(FULL)
    assert (leader.messages, leader.expected, leader.silent) == (15, 15, ())


def test_an_interval_that_is_not_complete_waits() -> None:
    assert named(FULL[:-1]) == []


def test_an_interval_is_named_when_a_later_one_has_begun() -> None:
    [leader] = named([*FULL[:-1], message(5, "AAPL")])
    assert (leader.start, leader.messages) == (minute(0), 14)


def test_an_interval_that_nothing_follows_is_named_after_its_grace() -> None:
    assert named(FULL[:-1], minute(5) + timedelta(seconds=119)) == []
    assert len(named(FULL[:-1], minute(5) + timedelta(seconds=120))) == 1


def test_ties_are_all_named_in_alphabetical_order() -> None:
    [leader] = named([*FULL, message(4, "NVDA", 0.7), message(1, "AAPL", 0.7)])
    assert [(best.ticker, best.minute) for best in leader.best] == [("AAPL", minute(1)), ("NVDA", minute(4))]


def test_a_ticker_that_ties_with_itself_is_named_once_with_its_newest_minute() -> None:
    [leader] = named([*FULL, message(1, "AMD", 0.7), message(3, "AMD", 0.7)])
    assert [(best.ticker, best.minute) for best in leader.best] == [("AMD", minute(3))]


def test_of_two_messages_with_one_id_the_later_counts() -> None:
    [leader] = named([message(2, "AMD", 0.9), *FULL])
    assert [best.ticker for best in leader.best] == list(TICKERS)
    assert leader.messages == 15


def test_the_best_is_named_though_it_abstains_and_its_reason_with_it() -> None:
    [leader] = named([*FULL, message(0, "AMD", 0.8, "the model has shown no skill"), message(0, "AAPL", 0.1, "other")])
    assert leader.best[0].ticker == "AMD"
    assert leader.abstain == "the model has shown no skill"


def test_an_interval_without_any_probability_gives_the_reason_most_messages_give() -> None:
    none = [message(index, ticker, None, "no model") for index in range(5) for ticker in TICKERS]
    [leader] = named([*none, message(0, "AMD", None, "no bar")])
    assert (leader.best, leader.abstain) == ((), "no model")


def test_a_ticker_that_nothing_comes_from_is_named_as_silent() -> None:
    [leader] = named([each for each in FULL if each.ticker != "AMD"], minute(60))
    assert (leader.silent, leader.messages, leader.expected) == (("AMD",), 10, 15)


def test_a_late_message_changes_nothing_and_is_counted() -> None:
    gathered = Leaders("simulated")
    for each in FULL:
        gathered.add(each)
    assert len(gathered.named(BEFORE, TICKERS)) == 1
    gathered.add(message(2, "AMD", 0.99))
    assert gathered.named(minute(60), TICKERS) == []
    assert gathered.late == 1


@given(st.randoms(use_true_random=False), st.integers(1, 17))
def test_the_order_in_which_topics_are_read_does_not_matter(shuffle: random.Random, minutes: int) -> None:
    messages = [
        message(index, ticker, (index * 7 + len(ticker)) % 10 / 10) for index in range(minutes) for ticker in TICKERS
    ]
    shuffled = list(messages)
    shuffle.shuffle(shuffled)
    assert named(shuffled, minute(60)) == named(messages, minute(60))
    assert sum(leader.messages for leader in named(messages, minute(60))) == minutes * len(TICKERS)


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
