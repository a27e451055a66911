"""Splits between two sessions: stated or seen, and what is none; and that a day's change is over them."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.grid import Grid
from stockpick_assets.core.market_hours import MINUTE, session_before, session_on
from stockpick_assets.core.ranking import picks
from stockpick_assets.core.schemas import PREDICTIONS, RAW_PRICES
from stockpick_assets.core.splits import RATIOS, Split, factors, in_stored_shares, splits
from stockpick_assets_tests import rows

SESSION = session_on(date(2024, 6, 10))
TICKER = "NVDA"
# NVDA closed at 1208.88 on Friday, and opened on the Monday of its 10:1 at 120.37.
CLOSED, OPENED = 1208.88, 120.37


def row(minute: int, price: float | None, split: float | None = None, *, session: Any = SESSION) -> dict[str, Any]:
    return {
        "session": session.date,
        "minute": session.open + minute * MINUTE,
        "ticker": TICKER,
        "source": "recorded",
        "open": price,
        "close": price,
        "split": split,
        "reason": "no_trade" if price is None else "present",
    }


def bars(closed: float | None, prices: Sequence[float | None], stated: dict[int, float] | None = None) -> pa.Table:
    """The last bar of the session before, and the first minutes of the session; None is a minute without a trade."""
    made = [row(389, closed, session=session_before(SESSION))]
    made += [row(minute, price, (stated or {}).get(minute)) for minute, price in enumerate(prices)]
    return pa.Table.from_pylist(made, RAW_PRICES.columns)


def found(closed: float | None, prices: Sequence[float | None], stated: dict[int, float] | None = None) -> list[str]:
    return [str(split) for split in splits(bars(closed, prices, stated), SESSION, (TICKER,))]


def picked(table: pa.Table, minutes: int) -> list[dict[str, Any]]:
    asked = [row(minute, None) for minute in range(minutes)]
    scored = [{name: one[name] for name in ("session", "minute", "ticker", "source")} | {"score": 0.0} for one in asked]
    predictions = pa.Table.from_pylist(scored, PREDICTIONS.columns)
    last = SESSION.open + (minutes - 1) * MINUTE
    return picks(predictions, table, SESSION, SESSION.open, last, (TICKER,), (TICKER,), 2.0).to_pylist()


@pytest.mark.parametrize(
    ("closed", "opened", "split"),
    [
        (CLOSED, OPENED, "NVDA 10:1"),
        (499.23, 127.58, "NVDA 4:1"),  # as AAPL opened on 2020-08-31, 2.2 % up
        (2447.0, 125.25, "NVDA 20:1"),  # as AMZN did on 2022-06-06, 2.4 % up
        (2.01, 20.3, "NVDA 1:10"),
        (0.5, 12.4, "NVDA 1:25"),
    ],
)
def test_a_split_that_nobody_stated_is_seen_in_the_jump_and_said_to_be(
    closed: float, opened: float, split: str
) -> None:
    assert found(closed, [opened]) == [f"{split} at 2024-06-10 09:30, seen in the prices alone"]


@pytest.mark.parametrize(
    ("closed", "opened"),
    [
        (100.0, 48.0),  # a crash by 52 %
        (100.0, 59.3),  # by 41 %, as DXCM fell in a day
        (100.0, 66.7),  # by a third: no 3:2 unless it is stated
        (100.0, 150.0),  # bought at half as much again: no 2:3
        (100.0, 100.0),
        (852.37, 837.37),  # 15 dollars paid out
        (CLOSED, 95.0),  # a 10:1 and a fall by a fifth are not told apart from anything else
    ],
)
def test_what_a_price_does_by_itself_is_no_split(closed: float, opened: float) -> None:
    assert found(closed, [opened]) == []


def test_a_stated_split_needs_no_jump_that_only_it_explains() -> None:
    assert found(90.0, [60.6], {0: 1.5}) == ["NVDA 3:2 at 2024-06-10 09:30"]
    assert found(CLOSED, [95.0], {0: 10.0}) == ["NVDA 10:1 at 2024-06-10 09:30"]
    assert found(3.0, [9.1], {0: 1 / 3}) == ["NVDA 1:3 at 2024-06-10 09:30"]


def test_a_stated_split_is_found_though_its_minute_had_no_trade() -> None:
    assert found(CLOSED, [None, None, OPENED], {0: 10.0}) == ["NVDA 10:1 at 2024-06-10 09:30"]
    assert found(CLOSED, [None, None, OPENED]) == ["NVDA 10:1 at 2024-06-10 09:32, seen in the prices alone"]


def test_a_stated_split_that_the_earlier_bars_have_been_adjusted_by_is_none() -> None:
    assert found(CLOSED / 10, [OPENED], {0: 10.0}) == []


def test_without_a_price_on_both_sides_there_is_nothing_to_compare() -> None:
    assert found(None, [OPENED]) == found(None, [OPENED], {0: 10.0}) == found(CLOSED, [None], {0: 10.0}) == []


@pytest.mark.parametrize("stated", [{}, {0: 10.0}])
def test_changes_are_over_the_split_and_the_price_is_as_traded(stated: dict[int, float]) -> None:
    prices = [OPENED, 121.0, 121.5, 121.2, 121.3, 121.4, 121.79]
    for minute, pick in enumerate(picked(bars(CLOSED, prices, stated), len(prices))):
        assert pick["price"] == prices[minute]
        assert pick["change_day"] == pytest.approx(prices[minute] * 10 / CLOSED - 1, abs=1e-12)
    assert pick["change_5m"] == pytest.approx(121.79 / 121.0 - 1, abs=1e-12)
    assert pick["pop_window"] == 2 / 5  # of 121.0, 121.5, 121.2, 121.3 and 121.4 the second is closest


def test_a_split_within_the_session_counts_from_its_minute() -> None:
    prices = [100.0, 100.0, 50.5, 50.5, 50.5, 50.5, 51.0]
    made = picked(bars(100.0, prices, {2: 2.0}), len(prices))
    assert [pick["change_day"] for pick in made] == pytest.approx([0, 0, 0.01, 0.01, 0.01, 0.01, 0.02])
    assert made[-1]["change_5m"] == pytest.approx(0.02)


def test_a_fall_by_half_within_the_session_is_a_fall() -> None:
    made = picked(bars(100.0, [100.0, 50.0]), 2)
    assert made[-1]["change_day"] == pytest.approx(-0.5)


def test_a_crash_is_shown_as_one() -> None:
    assert picked(bars(100.0, [48.0]), 1)[0]["change_day"] == pytest.approx(-0.52)


def test_a_dividend_is_part_of_the_change() -> None:
    assert picked(bars(852.37, [837.37]), 1)[0]["change_day"] == pytest.approx(-15 / 852.37)


@given(st.sampled_from([*RATIOS, *(1 / RATIOS)]), st.floats(-0.02, 0.02), st.floats(1, 5000))
def test_any_ratio_is_seen_whatever_the_price_was_and_leaves_the_news(ratio: float, news: float, closed: float) -> None:
    opened = closed / ratio * np.exp(news)
    (split,) = splits(bars(closed, [opened]), SESSION, (TICKER,))
    assert split.ratio == ratio and not split.stated
    change = picked(bars(closed, [opened]), 1)[0]["change_day"]
    assert change == pytest.approx(np.expm1(news), abs=1e-9)


prices = st.lists(st.none() | st.floats(5, 200), min_size=2, max_size=8)


@given(
    prices, st.dictionaries(st.integers(0, 7), st.sampled_from([0.1, 1.5, 2.0, 10.0]), max_size=2), st.integers(1, 7)
)
def test_a_minute_comes_out_the_same_when_more_of_the_session_is_known(
    closes: list[float | None], stated: dict[int, float], minutes: int
) -> None:
    whole = picked(bars(100.0, closes, stated), len(closes))
    so_far = picked(bars(100.0, closes[:minutes], stated), min(minutes, len(closes)))
    assert so_far == whole[: len(so_far)]


def test_without_a_split_a_share_stays_a_share() -> None:
    grid = Grid(SESSION, (TICKER,))
    assert (factors(grid, ()) == 1).all()
    shares = factors(grid, (Split(TICKER, SESSION.open + MINUTE, 2.0, True), Split(TICKER, SESSION.open, 3.0, True)))
    assert shares[:3, 0].tolist() == [3, 6, 6]


@pytest.mark.parametrize("ratio", [2.0, 10.0, 0.1, 1.5, 1.066])
def test_minutes_that_a_source_gives_in_shares_of_after_a_split_are_no_revisions(ratio: float) -> None:
    """But one that was not stored is brought back."""
    stored = rows.bars(8, close=120.0)
    answered = in_stored_shares(rows.bars(9, close=round(120.0 / ratio, 2)), stored)
    assert answered["minute"].to_pylist() == [rows.SESSION.open + 8 * MINUTE]
    assert answered["close"].to_pylist() == pytest.approx([120.0], rel=1e-3)
    assert answered["volume"].to_pylist() == pytest.approx([100.0 / ratio], rel=1e-3)
    assert answered.schema.equals(stored.schema)


@pytest.mark.parametrize(("count", "close"), [(4, 12.0), (8, 119.0)])
def test_few_bars_or_a_small_difference_are_revisions_and_no_split(count: int, close: float) -> None:
    answered = rows.bars(count, close=close)
    assert in_stored_shares(answered, rows.bars(count, close=120.0)) is answered


def test_a_bar_that_was_revised_beside_does_not_hide_a_split_and_is_not_told_from_it() -> None:
    answered = pa.concat_tables([rows.bars(29, close=12.0), rows.bars(1, start=29, close=11.0)])
    assert in_stored_shares(answered, rows.bars(30, close=120.0)).num_rows == 0


def test_bars_that_differ_each_in_its_own_way_are_revisions() -> None:
    answered = pa.concat_tables([rows.bars(1, start=at, close=60.0 + 5 * at) for at in range(8)])
    assert in_stored_shares(answered, rows.bars(8, close=120.0)) is answered
