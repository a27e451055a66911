"""Minutes put together from messages as they come."""

import json
from collections.abc import Callable, Iterator

from stockpick_assets.published import MOST_WAITING, PublishedMinute, published_minutes
from stockpick_assets_tests.picks import TICKERS, minute, picks


def texts(minutes: int, start: int = 0) -> list[bytes]:
    return [text.encode() for text in picks(minutes, start=start)["message"].to_pylist()]


def corrected(text: bytes, version: int, price: float) -> bytes:
    fields = {**json.loads(text), "version": version, "supersedes": version - 1, "price": price}
    return json.dumps(fields).encode()


def at(text: bytes, index: int) -> bytes:
    return json.dumps({**json.loads(text), "minute": f"{minute(index):%Y-%m-%dT%H:%M:00Z}"}).encode()


def not_told(line: str) -> None:
    raise AssertionError(line)


def read(
    polls: list[list[bytes]], begins: int = 0, tell: Callable[[str], None] = not_told
) -> list[PublishedMinute | None]:
    """What comes of a topic that delivers `polls` one after the other."""
    delivered = iter(polls)
    minutes: Iterator[PublishedMinute | None] = published_minutes(
        lambda seconds: next(delivered), tell, TICKERS, minute(begins)
    )
    came: list[PublishedMinute | None] = []
    try:
        for published in minutes:
            came.append(published)
    except (StopIteration, RuntimeError):
        return came
    return came


def test_a_minute_is_told_once_every_ticker_has_spoken() -> None:
    first = texts(1)
    came = read([first[:2], first[2:]])
    assert came[0] is None
    assert came[1] is not None
    assert (came[1].minute, len(came[1].messages)) == (minute(0), len(TICKERS))
    assert len(came) == 2


def test_several_minutes_of_one_poll_come_in_order() -> None:
    came = read([texts(3)[::-1]])
    assert [published and published.minute for published in came] == [minute(0), minute(1), minute(2)]


def test_of_each_message_the_newest_version_is_told() -> None:
    first = texts(1)
    newest, older = corrected(first[0], 3, 99.5), corrected(first[0], 2, 88.5)
    [published] = read([[first[0], newest, older, *first[1:]]])
    assert published is not None
    assert [(message.version, message.price) for message in published.messages] == [(3, 99.5), (1, 101.25), (1, 101.25)]


def test_corrections_of_a_minute_that_was_told_neither_repeat_it_nor_wait_for_others() -> None:
    first = texts(1)
    told = read([first, [corrected(text, 2, 99.5) for text in first], texts(1, start=1)])
    assert [published and published.minute for published in told] == [minute(0), None, minute(1)]


def test_minutes_before_the_beginning_are_passed_over() -> None:
    came = read([texts(3)], begins=2)
    assert [published and published.minute for published in came] == [minute(2)]


def test_a_text_that_is_no_message_is_told_and_passed_over() -> None:
    first, told = texts(1), list[str]()
    [published] = read([[first[0], b"\x1b[2J", *first[1:]]], tell=told.append)
    assert published is not None
    assert published.minute == minute(0)
    [line] = told
    assert line.startswith("passed over: no stockpick message (JSONDecodeError")
    assert line.isprintable()


def test_of_minutes_that_never_complete_the_newest_are_waited_for() -> None:
    """Each minute lacks a ticker, which speaks of the two oldest at the end. They run on over the close."""
    first, *others = texts(1)
    lacking = [at(text, index) for index in range(MOST_WAITING + 1) for text in others]
    came = read([lacking, [at(first, 0), at(first, 1)]])
    assert [published and published.minute for published in came] == [None, minute(1)]


def test_the_best_is_the_message_of_rank_one() -> None:
    (published,) = read([texts(1)])
    assert published is not None
    best = published.best()
    assert best is not None
    assert (best.ticker, best.rank) == (TICKERS[0], 1)


def test_a_minute_in_which_nobody_is_ranked_has_no_best() -> None:
    published = PublishedMinute(minute(0), ())
    assert published.best() is None
