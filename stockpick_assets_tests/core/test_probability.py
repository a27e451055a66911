"""pop_window against its definition, computed in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from stockpick_assets.core.probability import pop_window
from stockpick_assets_tests.core.grids import Prices, matrices, prices

PREVIOUS_CLOSE = Fraction(10001, 100)


def by_definition(closes: list[Fraction | None], now: int) -> float | None:
    """The records of the five minutes before, the place of the closest one (the later on a tie), over their number."""
    current = closes[now]
    window = [close for close in closes[max(0, now - 5) : now] if close is not None]
    if current is None or not window:
        return None
    change = current / PREVIOUS_CLOSE - 1
    distances = [abs(close / PREVIOUS_CLOSE - 1 - change) for close in window]
    place = max(place for place, distance in enumerate(distances, 1) if distance == min(distances))
    return place / len(window)


def changes(closes: Prices) -> np.ndarray:
    previous = float(PREVIOUS_CLOSE)
    return np.array([[np.nan if close is None else float(close) / previous - 1 for close in line] for line in closes])


@given(matrices(prices))
def test_pop_window_is_the_place_of_the_closest_earlier_record(closes: Prices) -> None:
    answers = pop_window(changes(closes))
    for column in range(len(closes[0])):
        for now in range(len(closes)):
            expected = by_definition([line[column] for line in closes], now)
            answer = answers[now, column]
            assert np.isnan(answer) if expected is None else answer == expected


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        pytest.param([100, 101, 102, 103, 104, 100], 1 / 5, id="the oldest of five is closest"),
        pytest.param([99, 101, 99, 101, 99, 100], 5 / 5, id="all are as close, so the latest counts"),
        pytest.param([100, None, None, 104, None, 101], 1 / 2, id="minutes without a bar are no records"),
        pytest.param([100, 90, 91, 92, 93, 94, 100], 5 / 5, id="six minutes before is outside the window"),
    ],
)
def test_pop_window_of_a_case_worked_by_hand(closes: list[float | None], expected: float) -> None:
    column = np.array([[np.nan if close is None else close / 100 - 1] for close in closes])
    assert pop_window(column)[-1, 0] == expected


def test_the_first_record_of_a_session_has_no_pop_window() -> None:
    assert np.isnan(pop_window(np.array([[0.01]]))[0, 0])
