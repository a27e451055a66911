"""Which answers become versions, what they touch, and which pick stays the published one."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.due import DueMinutes
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import BARS_FETCHED_AT, PICKS, RAW_PRICES, SCORES
from stockpick_assets.core.versions import affected_minutes, known, new_versions, picks_kept, stamped
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import SESSION, bars, scores

LATER = SESSION.close + timedelta(hours=3)
WALL = LATER + timedelta(days=10)
BAR = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
FETCHED = SESSION.open + timedelta(minutes=1)


def answer(reason: str, index: int = 0, fetched_at: datetime = FETCHED, **values: Any) -> dict[str, Any]:
    bar = BAR if reason == Reason.PRESENT else {}
    return {
        "session": SESSION.date,
        "minute": minute(index),
        "ticker": "AAPL",
        "source": "simulated",
        "reason": reason,
        "fetched_at": fetched_at,
        "known_at": fetched_at,
        "backfilled": False,
        **bar,
        **values,
    }


def rows(*answers: Mapping[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict(one) for one in answers], schema=RAW_PRICES.columns)


def kept(new: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    return bool(new_versions(rows(new), rows(stored), LATER, WALL).num_rows)


def test_a_minute_that_has_no_row_yet_is_kept_whatever_its_answer() -> None:
    every = rows(*(answer(reason, index) for index, reason in enumerate(Reason)))
    assert new_versions(every, RAW_PRICES.empty(), LATER, WALL).equals(every)


@pytest.mark.parametrize("column", [*BAR, "split"])
def test_a_bar_that_differs_in_anything_is_a_new_version(column: str) -> None:
    assert kept(answer("present", **{column: 10.25}), answer("present"))
    assert kept(answer("present"), answer("present", **{column: 10.25}))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.PRESENT])
def test_a_row_without_a_bar_never_replaces_a_bar_and_a_bar_replaces_it(reason: Reason) -> None:
    assert not kept(answer(reason), answer("present"))
    assert kept(answer("present"), answer(reason))


@given(st.sampled_from(list(Reason)), st.sampled_from(list(Reason)))
def test_a_final_reason_is_never_replaced_by_one_that_is_not(new: Reason, stored: Reason) -> None:
    if stored.final and not new.final:
        assert not kept(answer(new), answer(stored))
    if new is stored:
        assert not kept(answer(new, detail="said otherwise"), answer(stored))
    if new.final and not stored.final:
        assert kept(answer(new), answer(stored))


def test_a_version_that_replaces_another_was_known_when_it_was_answered_and_a_first_one_as_it_says() -> None:
    both = rows(answer("present", 0, close=10.25), answer("present", 1))
    new = new_versions(both, rows(answer("present")), LATER, WALL)
    assert new["known_at"].to_pylist() == [LATER, FETCHED]
    assert new["fetched_at"].to_pylist() == [WALL, FETCHED]


def test_a_volume_that_was_withheld_is_not_released_by_the_same_answer_and_is_by_another() -> None:
    stored = answer("present", volume=None, detail="session volume: volume 100")
    assert not kept(answer("present"), stored)
    assert kept(answer("present", volume=101.0), stored)
    assert kept(answer("present", close=10.25), stored)
    assert kept(answer("present"), answer("present", volume=None))


def test_a_row_is_as_new_as_the_newest_bar_of_any_ticker_up_to_its_minute() -> None:
    both = pa.concat_tables(
        [
            bars(3, fetched_at=FETCHED),
            bars(1, start=1, tickers=("AMD",), fetched_at=LATER),
        ]
    )
    made = stamped(scores(3).drop_columns([BARS_FETCHED_AT]), both)
    assert made.schema.equals(SCORES.columns)
    assert made[BARS_FETCHED_AT].to_pylist() == [FETCHED, LATER, LATER]


def test_a_row_before_every_bar_has_no_stamp() -> None:
    made = stamped(scores(2).drop_columns([BARS_FETCHED_AT]), bars(1, start=1))
    assert made[BARS_FETCHED_AT].null_count == 1


@given(st.integers(0, 389), st.integers(1, 390))
def test_a_revision_touches_its_minute_and_every_later_one_that_was_made(revised: int, made: int) -> None:
    before = bars(made)
    rows_made = stamped(scores(made).drop_columns([BARS_FETCHED_AT]), before)
    assert affected_minutes(before, rows_made) is None
    after = pa.concat_tables([before, bars(1, start=revised, tickers=("AMD",), fetched_at=LATER)])
    expected = DueMinutes(minute(revised), minute(made - 1)) if revised < made else None
    assert affected_minutes(after, rows_made) == expected


def test_what_turned_out_to_have_no_bar_touches_nothing() -> None:
    made = stamped(scores(3).drop_columns([BARS_FETCHED_AT]), bars(3))
    answers = rows(answer("pending", 1), answer("no_trade", 2, fetched_at=LATER))
    assert affected_minutes(pa.concat_tables([bars(3), answers]), made) is None


def test_the_first_bar_of_a_session_touches_what_was_made_without_one() -> None:
    made = stamped(scores(3).drop_columns([BARS_FETCHED_AT]), rows(answer("pending")))
    assert affected_minutes(bars(1, start=1, fetched_at=LATER), made) == DueMinutes(minute(1), minute(2))


def test_nothing_is_touched_where_nothing_was_made() -> None:
    assert affected_minutes(bars(3), SCORES.empty()) is None


def test_a_pick_made_in_time_stays_the_published_one_and_what_is_found_later_stands_beside_it() -> None:
    went_out = table([pick(minute(0), "AAPL", 1)], minute(1))
    healed = table([pick(minute(0), "AAPL", 2)], LATER)
    both = picks_kept(healed, went_out)
    assert [(row["rank"], row["published"], row["made_at"]) for row in both.to_pylist()] == [
        (1, True, minute(1)),
        (2, False, LATER),
    ]
    again = table([pick(minute(0), "AAPL", 2)], LATER + MINUTE)
    assert picks_kept(again, both).num_rows == 2
    third = table([pick(minute(0), "AAPL", 3)], LATER + MINUTE)
    assert [row["rank"] for row in picks_kept(third, both).to_pylist() if row["published"]] == [1]
    assert picks_kept(third, both).num_rows == 3


def said_again(*picks_made: tuple[int, float | None, int | None]) -> list[tuple[int | None, int | None]]:
    """Version and superseded version of each message, of picks of the first minute made one after the other.

    picks_made: the minute at which each was made, its price and its rank.
    """
    kept = PICKS.empty()
    for index, price, rank in picks_made:
        kept = picks_kept(table([pick(minute(0), "AAPL", rank, price=price)], minute(index)), kept)
    messages = [text and json.loads(text) for text in kept["message"].to_pylist()]
    assert kept["message_version"].to_pylist() == [message and message["version"] for message in messages]
    return [(message["version"], message["supersedes"]) if message else (None, None) for message in messages]


def test_a_pick_is_corrected_when_its_price_moved_by_more_than_a_basis_point_or_its_rank_is_another() -> None:
    first = (1, 100.0, 1)
    assert said_again(first, (2, 100.0, 2)) == [(1, None), (2, 1)]
    assert said_again(first, (2, 100.0, None)) == [(1, None), (2, 1)]
    assert said_again(first, (2, 100.011, 1)) == [(1, None), (2, 1)]
    assert said_again(first, (2, 100.009, 1)) == [(1, None), (None, None)]
    assert said_again((1, None, 1), (2, 100.0, 1)) == [(1, None), (2, 1)]
    assert said_again((1, None, 1), (2, None, 2)) == [(1, None), (2, 1)]


def test_a_correction_is_told_from_what_was_said_last_and_not_from_what_was_found_last() -> None:
    drifting = [(1, 100.0, 1), (2, 100.009, 1), (3, 100.018, 1), (4, 100.025, 1)]
    assert said_again(*drifting) == [(1, None), (None, None), (2, 1), (None, None)]
    assert said_again((1, 100.0, 1), (2, 101.0, 1), (3, 100.0, 1)) == [(1, None), (2, 1), (3, 2)]


def test_a_pick_is_not_corrected_once_its_horizon_is_over() -> None:
    assert said_again((1, 100.0, 1), (5, 101.0, 1)) == [(1, None), (2, 1)]
    assert said_again((1, 100.0, 1), (6, 101.0, 1)) == [(1, None), (None, None)]


def test_a_correction_says_the_same_as_a_first_message_but_for_its_version() -> None:
    first = table([pick(minute(0), "AAPL", 1)], minute(1))
    again = table([pick(minute(0), "AAPL", 2)], minute(2))
    corrected = json.loads(picks_kept(again, first)["message"].to_pylist()[1])
    assert corrected == json.loads(again["message"][0].as_py()) | {"version": 2, "supersedes": 1}
    assert list(corrected) == list(json.loads(again["message"][0].as_py()))


def test_a_pick_made_after_its_horizon_is_replaced() -> None:
    late = table([pick(minute(0), "AAPL", 1)], minute(6))
    assert picks_kept(table([pick(minute(0), "AAPL", 2)], LATER), late)["rank"].to_pylist() == [2]


def test_picks_of_other_minutes_and_tickers_are_made_as_ever() -> None:
    went_out = table([pick(minute(0), "AAPL", 1)], minute(1))
    made = table([pick(minute(0), "AAPL", 1), pick(minute(0), "AMD", 2), pick(minute(1), "AAPL", 1)], LATER)
    both = picks_kept(made, went_out)
    assert sorted((row["minute"], row["ticker"], row["made_at"], row["published"]) for row in both.to_pylist()) == [
        (minute(0), "AAPL", minute(1), True),
        (minute(0), "AMD", LATER, True),
        (minute(1), "AAPL", LATER, True),
    ]


def test_of_a_bar_the_newest_version_is_known_that_had_come_by_then() -> None:
    first = answer(Reason.PRESENT)
    second = answer(Reason.PRESENT, fetched_at=LATER, close=10.6)
    other = answer(Reason.PRESENT, index=1, fetched_at=LATER)
    versions = rows(second, other, first)
    assert known(versions, FETCHED)["close"].to_pylist() == [10.5]
    assert known(versions, LATER)["close"].to_pylist() == [10.6, 10.5]
    assert known(versions, FETCHED - MINUTE).num_rows == 0
