"""The two returns a forecast is measured by."""

import numpy as np
from hypothesis import given

from stockpick_assets.core.labels import forward_returns
from stockpick_assets_tests.core.grids import Prices, matrices, prices


def numbers(closes: Prices) -> np.ndarray:
    return np.array([[np.nan if close is None else float(close) for close in line] for line in closes])


@given(matrices(prices), matrices(prices))
def test_returns_are_of_clock_minutes_and_need_a_bar_at_both_ends(closes: Prices, opens: Prices) -> None:
    rows, columns = min(len(closes), len(opens)), min(len(closes[0]), len(opens[0]))
    entry, exit_ = numbers(opens)[:rows, :columns], numbers(closes)[:rows, :columns]
    obtainable, close = forward_returns(entry, exit_)
    for minute in range(rows):
        for ticker in range(columns):
            if minute + 5 < rows:
                expected = (
                    exit_[minute + 5, ticker] / entry[minute + 1, ticker] - 1,
                    exit_[minute + 5, ticker] / exit_[minute, ticker] - 1,
                )
            else:
                expected = (np.nan, np.nan)
            np.testing.assert_equal((obtainable[minute, ticker], close[minute, ticker]), expected)


def test_the_obtainable_return_never_sees_the_forecast_minutes_own_close() -> None:
    opens, closes = np.full((6, 1), 100.0), np.full((6, 1), 100.0)
    closes[0] = 50.0
    obtainable, close = forward_returns(opens, closes)
    assert obtainable[0, 0] == 0.0
    assert close[0, 0] == 1.0
