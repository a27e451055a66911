"""What scores turn out to be worth: found again where it was planted, and learnt only from what was known."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.calibration import held_out, measured, worth
from stockpick_assets.core.labels import HORIZON_MINUTES
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets_tests.rows import SESSION

DAYS = [date(2026, 11, day) for day in (17, 18, 19)]
COST_BP = 2.0
TICKERS, MINUTES = 20, 100


def forecasts(days: list[date] = DAYS, *, effect: float = 0.3, market: float = 1e-3) -> pd.DataFrame:
    """Of each session: scores, and returns of so many spreads of a minute per score, with the market's own moves."""
    parts: list[pd.DataFrame] = []
    for day in days:
        random = np.random.default_rng(day.toordinal())
        score, noise = random.normal(size=(2, MINUTES, TICKERS))
        sig = np.exp(random.normal(-7.5, 0.7, (1, TICKERS))) * np.ones((MINUTES, 1))
        excess = sig * (effect * score + noise * np.sqrt(HORIZON_MINUTES))
        moved = excess + market * random.normal(size=(MINUTES, 1))
        columns = {
            "session": [day] * moved.size,
            "minute": np.repeat(session_on(day).minutes()[:MINUTES].to_numpy(), TICKERS),
            "score": score.ravel(),
            "sig": sig.ravel(),
            "obtainable_return": moved.ravel() / 2,
            "close_return": moved.ravel(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def test_returns_per_score_and_spread_are_found_whatever_the_market_does() -> None:
    found = worth(forecasts(), COST_BP)
    assert found is not None
    # 6,000 rows of which the ones with the largest sig count: a standard error of about 0.05.
    assert found.return_per_score == pytest.approx(0.3, abs=0.15)
    assert found.obtainable_per_score == pytest.approx(0.15, abs=0.08)


def test_a_score_that_was_wrong_promises_nothing_of_the_tickers_it_puts_last() -> None:
    found = worth(forecasts(effect=-0.3), COST_BP)
    assert found is not None and found.return_per_score is not None
    assert found.return_per_score < 0
    assert found.obtainable_per_score == 0.0


def test_probabilities_that_know_the_score_beat_volatility_and_this_beats_the_base_rate() -> None:
    quiet = measured(forecasts(effect=1.5, market=0.0), COST_BP)
    assert quiet is not None and quiet.sessions == tuple(DAYS)
    assert quiet.brier is not None and quiet.brier_volatility is not None and quiet.brier_base_rate is not None
    assert quiet.brier < quiet.brier_volatility < quiet.brier_base_rate
    assert all(ic is not None and ic > 0.3 for ic in (*quiet.ic_close, *quiet.ic_obtainable))


def test_where_the_score_tells_nothing_nothing_is_found() -> None:
    found = measured(forecasts(effect=0.0), COST_BP)
    assert found is not None and found.brier is not None and found.brier_volatility is not None
    assert found.brier == pytest.approx(found.brier_volatility, abs=2e-3)
    # 100 minutes of 20 tickers: a standard error of 0.023.
    assert all(ic is not None and abs(ic) < 0.1 for ic in found.ic_close)


def test_what_measures_a_probability_is_learnt_before_the_session_it_is_measured_on() -> None:
    """With other outcomes in the newest session, as many of them profits, its Brier score is of the same forecasts."""
    rows = forecasts(effect=1.5, market=0.0)
    newest = (rows["session"] == DAYS[-1]).to_numpy()
    paid = rows["obtainable_return"].to_numpy() > COST_BP / 1e4
    turned = np.where(newest, np.where(paid, -1.0, 1.0), rows["obtainable_return"].to_numpy())
    first, second = measured(rows, COST_BP), measured(rows.assign(obtainable_return=turned), COST_BP)
    assert first is not None and second is not None and first.brier is not None and second.brier is not None
    # Of a probability p that stays, (p - 1)² and p² change places: their sum is at least 1/2, and 1/2 at p = 1/2 alone.
    # One that had learnt from the turned outcomes would say less, and both would be smaller.
    assert first.brier + second.brier > 0.5
    assert second.brier > 0.25 > first.brier


@pytest.mark.parametrize("outcome", [-1.0, 1.0, 0.0])
def test_without_both_profits_and_losses_no_probability_is_known(outcome: float) -> None:
    rows = forecasts([DAYS[0]])
    same = rows.assign(obtainable_return=outcome)
    found, how = worth(same, COST_BP), measured(same, COST_BP)
    assert found is not None and found.coefficients is None
    assert found.obtainable_per_score == 0.0
    assert how is not None and how.brier is None and how.ic_obtainable == (None,)


def test_forecasts_that_cannot_be_graded_are_worth_nothing_that_is_known() -> None:
    rows = forecasts([DAYS[0]])
    found = worth(rows.assign(obtainable_return=np.nan), COST_BP)
    assert found is not None and found.coefficients is None and found.obtainable_per_score is None
    assert found.return_per_score is not None
    assert worth(rows.head(0), COST_BP) is None and measured(rows.head(0), COST_BP) is None


@pytest.mark.parametrize("cost_bp", [0.0, 2.0])
@pytest.mark.parametrize("column", ["score", "sig"])
def test_a_score_or_a_spread_that_never_varies_gives_numbers_all_the_same(column: str, cost_bp: float) -> None:
    rows = forecasts()
    same = rows.assign(**{column: 1e-3})
    found, how = worth(same, cost_bp), measured(same, cost_bp)
    assert found is not None and found.coefficients is not None and how is not None and how.brier is not None
    assert np.isfinite([*found.coefficients, found.return_per_score, found.obtainable_per_score, how.brier]).all()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60, unique=True))
def test_what_is_learnt_from_was_known_before_the_first_forecast_it_is_tried_on(minutes: list[int]) -> None:
    at = pd.Series([SESSION.open + minute * MINUTE for minute in sorted(minutes)])
    learnt, held = held_out(pd.DataFrame({"session": SESSION.date, "minute": at}))
    assert held.any()
    assert all(minute + HORIZON_MINUTES * MINUTE <= at[held].min() for minute in at[learnt])


@given(st.integers(2, 5))
def test_the_last_of_several_sessions_is_held_out_whole(count: int) -> None:
    days = pd.Series([date(2026, 11, 2 + number) for number in range(count) for _ in range(3)])
    learnt, held = held_out(pd.DataFrame({"session": days, "minute": days}))
    assert set(days[held]) == {days.max()}
    assert set(days[learnt]) == set(days[:-3])
