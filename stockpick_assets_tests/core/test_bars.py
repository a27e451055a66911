"""Rows as a source returned them: their order, their repetitions, and prices from before a split."""

from dataclasses import replace

import numpy as np

from stockpick_assets.core.bars import Bars, as_traded, no_bars

MINUTES = np.datetime64("2026-11-20T14:30", "us") + np.arange(4) * np.timedelta64(1, "m")


def rising(**about: object) -> Bars:
    price = np.arange(100.0, 104.0)
    return Bars(MINUTES, price, price + 1, price - 1, price, price * 10, MINUTES[:0], **about)  # pyright: ignore[reportArgumentType]


def test_rows_are_ordered_by_minute_and_a_repeated_one_is_there_once() -> None:
    bars = rising().take(np.array([3, 0, 2, 0, 1]))
    assert bars.ordered().minutes.tolist() == MINUTES.tolist()
    nulls = replace(bars, close=np.full(5, np.nan))
    assert len(nulls.ordered()) == 4
    assert len(no_bars().ordered()) == 0


def test_two_rows_of_a_minute_that_differ_come_in_one_order_whatever_it_was() -> None:
    bars = replace(rising(), minutes=MINUTES[[0, 0, 0, 1]], open=np.array([2.0, 0.0, -0.0, 1.0]))
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        assert str(bars.take(np.array(order)).ordered().values()) == str(bars.ordered().values())


def test_prices_of_before_a_split_are_brought_back_to_what_was_traded() -> None:
    bars = as_traded(rising(splits={MINUTES[2]: 4.0}, previous_close=99.0))
    assert bars.close.tolist() == [400.0, 404.0, 102.0, 103.0]
    assert bars.volume.tolist() == [250.0, 252.5, 1020.0, 1030.0]
    assert (bars.open.tolist(), bars.high[0], bars.low[0]) == (bars.close.tolist(), 404.0, 396.0)
    assert bars.previous_close == 396.0


def test_splits_multiply_and_one_at_the_first_bar_changes_none() -> None:
    later = MINUTES[3] + np.timedelta64(3, "D")
    bars = as_traded(rising(splits={later: 2.0, MINUTES[3]: 0.1, MINUTES[0]: 7.0}, previous_close=99.0))
    assert np.allclose(bars.close, [20.0, 20.2, 20.4, 206.0])
    assert bars.previous_close is not None
    assert np.isclose(bars.previous_close, 19.8)
    assert as_traded(rising()).close.tolist() == rising().close.tolist()
