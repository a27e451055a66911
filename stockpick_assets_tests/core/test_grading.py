"""What a forecast turned out to be worth, or why that cannot be said."""

from fractions import Fraction

import pyarrow as pa
import pytest

from stockpick_assets.core.grading import NothingToGrade, Ungraded, never_graded, scores
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import BARS_FETCHED_AT, SCORES
from stockpick_assets_tests.core.grids import TICKERS, Prices, bars, picks
from stockpick_assets_tests.rows import SESSION

COST_BP = 2.0
FLAT = [[Fraction(100)]] * 6


def graded(minute: int, ranks: list[list[int | None]], closes: Prices, opens: Prices | None = None) -> dict:
    """The first ticker's grade at that minute."""
    at = SESSION.open + minute * MINUTE
    made = scores(picks(ranks), bars(closes, opens), SESSION, at, at, TICKERS[:1], COST_BP)
    assert made.schema.equals(SCORES.without(BARS_FETCHED_AT).columns)
    return made.to_pylist()[0]


@pytest.mark.parametrize(
    ("exit_", "profitable"), [pytest.param("100.03", True), pytest.param("100.01", False), pytest.param("99", False)]
)
def test_a_forecast_is_profitable_when_the_obtainable_return_exceeds_the_cost(exit_: str, profitable: bool) -> None:
    opens = [[Fraction(50)], [Fraction(100)], *[[Fraction(70)]] * 4]
    closes = [[Fraction(80)], *[[Fraction(60)]] * 4, [Fraction(exit_)]]
    row = graded(5, [[1]], closes, opens)
    assert row["minute"] - row["forecast_minute"] == 5 * MINUTE
    assert row["obtainable_return"] == pytest.approx(float(Fraction(exit_) / 100 - 1))
    assert row["close_return"] == pytest.approx(float(Fraction(exit_) / 80 - 1))
    assert row["obtainable_after_cost"] == pytest.approx(float(Fraction(exit_) / 100 - 1) - 0.0002)
    assert row["close_after_cost"] == pytest.approx(float(Fraction(exit_) / 80 - 1) - 0.0002)
    assert (row["rank"], row["p_profit"], row["profitable"], row["ungraded"]) == (1, 0.5, profitable, None)


def test_the_first_five_minutes_of_a_session_grade_no_forecast() -> None:
    row = graded(4, [[1]], FLAT)
    assert row["ungraded"] == Ungraded.TOO_EARLY
    assert (row["forecast_minute"], row["rank"], row["obtainable_return"]) == (None, None, None)


def test_a_forecast_that_abstained_is_ungraded_and_its_returns_are_stated() -> None:
    row = graded(5, [[None]], FLAT)
    assert row["ungraded"] == f"{Ungraded.ABSTAINED} (no model)"
    assert (row["profitable"], row["obtainable_return"], row["close_return"]) == (None, 0.0, 0.0)
    assert (row["obtainable_after_cost"], row["close_after_cost"]) == (-0.0002, -0.0002)


def test_a_forecast_that_abstains_and_has_a_rank_is_graded() -> None:
    made = picks([[1]])
    marked = made.set_column(made.column_names.index("abstain"), "abstain", pa.array(["no edge after cost"]))
    at = SESSION.open + 5 * MINUTE
    row = scores(marked, bars(FLAT), SESSION, at, at, TICKERS[:1], COST_BP).to_pylist()[0]
    assert (row["rank"], row["profitable"], row["ungraded"]) == (1, False, None)


def test_a_minute_without_picks_is_ungraded() -> None:
    assert graded(5, [], FLAT)["ungraded"] == Ungraded.NO_PICK


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        pytest.param(1, f"{Ungraded.NO_ENTRY} (no_trade)"),
        pytest.param(5, f"{Ungraded.NO_EXIT} (no_trade)"),
    ],
)
def test_a_missing_bar_leaves_a_forecast_ungraded_and_is_named(missing: int, why: str) -> None:
    row = graded(5, [[1]], [[None] if minute == missing else [Fraction(100)] for minute in range(6)])
    assert (row["ungraded"], row["profitable"], row["obtainable_return"]) == (why, None, None)
    assert (row["rank"], row["obtainable_after_cost"]) == (1, None)


@pytest.mark.parametrize("reason", [Reason.HALTED, Reason.CLOSED, Reason.QUARANTINED, Reason.PENDING])
def test_an_exit_bar_that_is_missing_is_named_by_its_reason(reason: Reason) -> None:
    known = bars([*FLAT[:5], [None]])
    told = known.set_column(known.column_names.index("reason"), "reason", pa.array(["present"] * 5 + [reason.value]))
    at = SESSION.open + 5 * MINUTE
    row = scores(picks([[1]]), told, SESSION, at, at, TICKERS[:1], COST_BP).to_pylist()[0]
    assert row["ungraded"] == f"{Ungraded.NO_EXIT} ({reason})"


def test_the_last_five_forecasts_of_a_session_are_never_graded_and_those_before_can_be() -> None:
    assert never_graded(SESSION.last_minute - 5 * MINUTE, SESSION) is None
    assert never_graded(SESSION.last_minute - 4 * MINUTE, SESSION) == Ungraded.CLOSED


def test_an_entry_bar_that_was_never_asked_for_is_named_as_such() -> None:
    known = bars(FLAT)
    without_entry = known.filter([minute != SESSION.open + MINUTE for minute in known["minute"].to_pylist()])
    at = SESSION.open + 5 * MINUTE
    row = scores(picks([[1]]), without_entry, SESSION, at, at, TICKERS[:1], COST_BP).to_pylist()[0]
    assert row["ungraded"] == f"{Ungraded.NO_ENTRY} (raw_prices has no row)"


def test_every_minute_and_ticker_that_was_asked_for_gets_a_row_in_key_order() -> None:
    made = scores(picks([]), bars(FLAT), SESSION, SESSION.open, SESSION.open + 2 * MINUTE, TICKERS[::-1], COST_BP)
    keys = list(zip(made["minute"].to_pylist(), made["ticker"].to_pylist(), strict=True))
    assert keys == [(SESSION.open + minute * MINUTE, ticker) for minute in range(3) for ticker in TICKERS]


def test_minutes_without_any_bar_are_refused() -> None:
    with pytest.raises(NothingToGrade, match="materialize raw_prices first"):
        scores(picks([[1]]), bars([]), SESSION, SESSION.open, SESSION.open, TICKERS, COST_BP)
