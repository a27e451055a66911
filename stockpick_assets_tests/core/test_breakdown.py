"""Figures by time of day and by score, against what can be told by looking."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from stockpick_assets.core.breakdown import HALF_HOUR, Breakdown, by_group, by_half_hour, groups_of, over_rows
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import PREDICTIONS, TRAINING_SET

GRID = Grid(session_on(date(2026, 11, 20)), tuple(f"T{number:02d}" for number in range(20)))
RISING = np.tile(np.arange(20.0), (GRID.session.length, 1))


def test_a_half_hour_is_told_apart_from_the_next() -> None:
    outcomes = RISING.copy()
    outcomes[HALF_HOUR : 2 * HALF_HOUR] *= -1
    found = by_half_hour(RISING, outcomes)
    assert len(found) == 13
    assert found[1] == pytest.approx(-1)
    np.testing.assert_allclose(np.delete(found, 1), 1)


def test_a_half_hour_without_outcomes_has_no_ic() -> None:
    outcomes = RISING.copy()
    outcomes[-HALF_HOUR:] = np.nan
    assert np.isnan(by_half_hour(RISING, outcomes)).tolist() == [False] * 12 + [True]


def test_a_group_has_its_mean_return_over_that_of_the_minute() -> None:
    outcomes = RISING * 1e-4 + 0.05
    np.testing.assert_allclose(by_group(RISING, outcomes, 10), np.arange(10) * 2 + 0.5 - 9.5, atol=1e-9)


def test_a_ticker_without_an_outcome_is_in_no_group() -> None:
    outcomes = RISING * 1e-4
    outcomes[:, 10:] = np.nan
    np.testing.assert_allclose(by_group(RISING, outcomes, 10), np.arange(10) - 4.5, atol=1e-9)


@pytest.mark.parametrize(("tickers", "groups"), [(1, 2), (3, 2), (4, 2), (6, 3), (20, 10), (100, 10)])
def test_tickers_are_in_ten_groups_or_in_fewer_of_two_each(tickers: int, groups: int) -> None:
    assert groups_of(tickers) == groups


def test_few_tickers_fill_every_group() -> None:
    outcomes = RISING[:, :6] * 1e-4
    np.testing.assert_allclose(by_group(RISING[:, :6], outcomes, groups_of(6)), [-2, 0, 2], atol=1e-9)


def test_sessions_are_averaged_with_the_error_of_their_mean() -> None:
    mean, error = over_rows([np.array([1.0, 5.0, np.nan]), np.array([3.0, 5.0])])
    np.testing.assert_allclose(mean, [2.0, 5.0, np.nan])
    np.testing.assert_allclose(error, [1.0, 0.0, np.nan])


def test_a_session_without_forecasts_adds_nothing() -> None:
    breakdown = Breakdown()
    breakdown.add(GRID, PREDICTIONS.empty(), TRAINING_SET.empty())
    assert (breakdown.half_hours(), breakdown.groups()) == ([], [])


def test_champion_and_naive_stand_beside_each_other_for_both_labels() -> None:
    cells = GRID.cells(GRID.session.open, GRID.session.last_minute, GRID.tickers)
    values = {"score": RISING, "return_1": RISING, "close_return": RISING, "obtainable_return": -RISING}
    columns = {
        **GRID.keys(cells, "simulated"),
        **{name: pa.array(GRID.at(each, cells)) for name, each in values.items()},
    }
    breakdown = Breakdown()
    breakdown.add(GRID, pa.table(columns), pa.table(columns))
    first = {(row["model"], row["label"]): row["ic"] for row in breakdown.half_hours() if row["minute"] == 0}
    assert first == pytest.approx(
        {
            ("champion", "close"): 1,
            ("champion", "obtainable"): -1,
            ("naive", "close"): -1,
            ("naive", "obtainable"): 1,
        }
    )
    assert {row["group"] for row in breakdown.groups()} == set(range(1, 11))
