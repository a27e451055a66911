"""That what counts lost, repeated and misplaced messages sees each of them."""

import json

import pytest

from stockpick_assets_tests.crashes import SHARES, STEPS, plan
from stockpick_assets_tests.delivery import Delivery, Key, delivery, key_of
from stockpick_assets_tests.picks import minute, picks

TEXTS: list[str] = picks(4, tickers=("AAPL",))["message"].to_pylist()
STORED = {key_of(text): text for text in TEXTS}
KEYS = list(STORED)


def read(*places: int) -> Delivery:
    return delivery(STORED, {"a": [TEXTS[place] for place in places]})


def version(number: int, place: int) -> str:
    return json.dumps({**json.loads(TEXTS[place]), "version": number})


def test_each_message_once_in_order_is_as_it_should_be() -> None:
    assert KEYS[2] == Key(minute(2), "AAPL", 1)
    assert not read(0, 1, 2, 3)


@pytest.mark.parametrize(
    ("places", "wrong"),
    [
        ((0, 1, 3), [("lost", KEYS[2])]),
        ((0, 1, 2, 3, 3), [("duplicated", KEYS[3])]),
        ((0, 2, 1, 3), [("out_of_order", KEYS[1])]),
        ((0, 1, 2, 1, 3), [("duplicated", KEYS[1]), ("out_of_order", KEYS[1])]),
    ],
)
def test_a_message_that_is_lost_repeated_or_misplaced_is_named(
    places: tuple[int, ...], wrong: list[tuple[str, Key]]
) -> None:
    assert sorted(read(*places).wrong()) == sorted(wrong)


def test_a_topic_that_was_never_made_has_lost_its_messages() -> None:
    assert delivery(STORED, {}).lost == KEYS


def test_a_text_that_the_table_does_not_have_is_named() -> None:
    other = TEXTS[3].replace("AAPL", "AMD")
    found = delivery(STORED, {"a": TEXTS, "b": [other]})
    assert list(found.wrong()) == [("altered", key_of(other))]
    assert delivery(STORED, {"a": [*TEXTS[:3], TEXTS[3].replace("101.25", "101.26")]}).altered == [KEYS[3]]


def test_a_correction_comes_after_what_it_corrects_whatever_minute_was_sent_meanwhile() -> None:
    correction = version(2, 1)
    stored = {**STORED, key_of(correction): correction}
    assert not delivery(stored, {"a": [*TEXTS, correction]})
    assert delivery(stored, {"a": [correction, *TEXTS]}).out_of_order == [key_of(correction)]
    assert delivery(stored, {"a": TEXTS}).lost == [key_of(correction)]


def test_two_hundred_rounds_kill_everyone_at_every_step_in_an_order_of_the_seed() -> None:
    rounds = plan(200, 7)
    assert [crash.number for crash in rounds] == list(range(200))
    assert {victim: sum(crash.victim == victim for crash in rounds) for victim in STEPS} == SHARES
    assert {(crash.victim, crash.step) for crash in rounds} == {
        (victim, step) for victim, steps in STEPS.items() for step in steps
    }
    assert plan(200, 7) == rounds != plan(200, 8)
