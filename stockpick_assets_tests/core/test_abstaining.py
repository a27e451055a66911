"""When a forecast is not to be relied on, and the words that say so."""

import numpy as np
import pytest

from stockpick_assets.core.abstaining import missing, no_edge


@pytest.mark.parametrize(
    ("present", "expected", "why"),
    [
        (100, 100, None),
        (67, 100, None),
        (66, 100, "34 of 100 tickers have no bar in this minute"),
        (3, 4, None),
        (2, 4, "2 of 4 tickers have no bar in this minute"),
        (1, 1, None),
        (0, 0, None),
    ],
)
def test_a_minute_that_lacks_more_than_a_third_of_its_bars_is_not_to_be_relied_on(
    present: int, expected: int, why: str | None
) -> None:
    assert missing(present, expected) == why


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        ([0.00006, -0.001], "no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp"),
        ([-0.0001], "no edge after cost: the best expected return is -1.0 bp, the cost 2.0 bp"),
        ([0.00006, 0.00021], None),
        ([], None),
    ],
)
def test_there_is_an_edge_where_one_expected_return_exceeds_the_cost(returns: list[float], why: str | None) -> None:
    assert no_edge(np.array(returns), 2.0) == why
