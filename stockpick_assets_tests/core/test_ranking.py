"""The picks of a minute, against a slow computation of the same."""

from collections.abc import Sequence
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.ranking import NOT_MADE, RANKED, NothingToRank, picks
from stockpick_assets.core.schemas import PICKS
from stockpick_assets_tests.core.grids import TICKERS, Prices, bars, matrices, predictions, previous_bars, prices
from stockpick_assets_tests.rows import SESSION

Scores = Sequence[Sequence[float | None]]
score = st.none() | st.sampled_from([-0.25, 0.0, 0.125, 0.5])
NEVER_CLOSED = (None, None, None)
COST_BP = 2.0


def picked(asked: Scores, closes: Prices, previous: Sequence[Fraction | None] = NEVER_CLOSED) -> list[list[dict]]:
    """Picks as minutes × tickers."""
    width = len(asked[0])
    known = pa.concat_tables([previous_bars(previous[:width]), bars([line[:width] for line in closes])])
    last = SESSION.open + (len(asked) - 1) * MINUTE
    made = picks(predictions(asked), known, SESSION, SESSION.open, last, TICKERS[:width], TICKERS[:width], COST_BP)
    rows = made.to_pylist()
    return [rows[start : start + width] for start in range(0, len(rows), width)]


@given(matrices(score))
def test_the_highest_score_of_a_minute_is_first_and_equal_ones_stand_in_the_order_of_tickers(asked: Scores) -> None:
    for scores, rows in zip(asked, picked(asked, []), strict=True):
        better = sorted((-value, ticker) for value, ticker in zip(scores, TICKERS, strict=False) if value is not None)
        expected = {ticker: rank for rank, (_, ticker) in enumerate(better, 1)}
        assert {row["ticker"]: row["rank"] for row in rows} == {
            ticker: expected.get(ticker) for ticker in TICKERS[: len(scores)]
        }


@given(matrices(prices), st.tuples(prices, prices, prices))
def test_changes_are_of_the_newest_price_of_the_session(closes: Prices, previous: Sequence[Fraction | None]) -> None:
    def newest(column: int, minute: int) -> Fraction | None:
        known = [line[column] for line in closes[: max(minute + 1, 0)] if line[column] is not None]
        return known[-1] if known else None

    def change(now: Fraction | None, then: Fraction | None) -> object:
        return None if now is None or then is None else pytest.approx(float(now / then - 1), abs=1e-12)

    for minute, rows in enumerate(picked([[0.0] * len(line) for line in closes], closes, previous)):
        for column, row in enumerate(rows):
            price = newest(column, minute)
            assert row["price"] == (None if price is None else float(price))
            assert row["change_day"] == change(price, previous[column])
            assert row["change_5m"] == change(price, newest(column, minute - 5))


def test_a_pick_carries_its_forecast() -> None:
    row = picked([[0.125, None]], [])[0][0]
    assert (row["p_profit"], row["expected_excess_return"], row["model_version"]) == (0.5, 0.125, "m1")


def test_a_price_that_is_carried_forward_is_no_record_for_pop_window() -> None:
    closes = [[Fraction(100)], [Fraction(101)], [None]]
    rows = [rows[0] for rows in picked([[0.0]] * 3, closes, [Fraction(99)])]
    assert [row["pop_window"] for row in rows] == [None, 1.0, None]
    assert rows[2]["price"] == 101.0


def test_one_ticker_is_ranked_among_all_and_answered_alone() -> None:
    asked = predictions([[0.1, 0.3, 0.2]])
    made = picks(asked, bars([]), SESSION, SESSION.open, SESSION.open, TICKERS, TICKERS[2:], COST_BP)
    assert made.select(["ticker", "rank"]).to_pylist() == [{"ticker": TICKERS[2], "rank": 2}]
    assert made.schema.equals(PICKS.empty().select(RANKED).schema)


def test_an_expected_ticker_without_a_prediction_is_answered_with_a_reason() -> None:
    made = minute_of(predictions([[0.1]]), bars([[Fraction(100)] * 3]))
    assert made["abstain"].to_pylist() == [None, NOT_MADE, NOT_MADE]
    assert made["source"].to_pylist() == ["recorded"] * 3


def test_minutes_without_any_prediction_are_refused() -> None:
    with pytest.raises(NothingToRank, match=r"2026-11-20 09:30 .* materialize predictions first"):
        minute_of(predictions([]), bars([]))


def test_bars_of_another_session_do_not_reach_a_price_of_this_one() -> None:
    rows = picked([[0.0]], [[None]], [Fraction(100)])[0]
    assert (rows[0]["price"], rows[0]["change_day"]) == (None, None)


def minute_of(asked: pa.Table, known: pa.Table) -> pa.Table:
    """The picks of the session's first minute."""
    return picks(asked, known, SESSION, SESSION.open, SESSION.open, TICKERS, TICKERS, COST_BP)


EVERY_BAR = [[Fraction(100)] * 3]
NUMBERS = ("rank", "p_profit", "expected_excess_return", "expected_obtainable_return")


def test_where_no_ticker_is_expected_to_beat_the_cost_every_pick_says_so() -> None:
    made = minute_of(predictions([[0.3, 0.2, 0.1]], obtainable=0.00006), bars(EVERY_BAR))
    assert (
        made["abstain"].to_pylist() == ["no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp"] * 3
    )


def test_one_ticker_that_beats_the_cost_leaves_the_minute_unmarked() -> None:
    asked = predictions([[0.3, 0.2, 0.1]], obtainable=0.00006)
    better = asked.set_column(
        asked.column_names.index("expected_obtainable_return"),
        "expected_obtainable_return",
        pa.array([0.00006, 0.00021, None]),
    )
    assert minute_of(better, bars(EVERY_BAR))["abstain"].to_pylist() == [None] * 3


def test_an_expected_return_that_nobody_knows_is_no_missing_edge() -> None:
    assert minute_of(predictions([[0.3, 0.2, 0.1]]), bars(EVERY_BAR))["abstain"].to_pylist() == [None] * 3


def test_a_minute_in_which_too_many_listed_tickers_have_no_bar_says_so_before_its_cost() -> None:
    lacking = bars([[Fraction(100), None, None]])
    asked = predictions([[0.3, 0.2, None]], obtainable=0.00006)
    why = "2 of 3 tickers have no bar in this minute"
    assert minute_of(asked, lacking)["abstain"].to_pylist() == [why, why, "no bar"]


def test_a_ticker_that_is_not_listed_is_not_missing() -> None:
    known = bars([[Fraction(100), None, None]])
    unlisted = known.set_column(
        known.column_names.index("reason"), "reason", pa.array(["present", "not_listed", "delisted"])
    )
    assert minute_of(predictions([[0.3]]), unlisted)["abstain"][0].as_py() is None


def test_the_models_own_reason_stands_before_the_minutes() -> None:
    asked = predictions([[0.3, 0.2, 0.1]], obtainable=0.00006)
    doubted = asked.set_column(asked.column_names.index("abstain"), "abstain", pa.array(["no skill"] * 3))
    assert minute_of(doubted, bars([[None] * 3]))["abstain"].to_pylist() == ["no skill"] * 3


@given(matrices(score), st.none() | st.floats(-0.01, 0.01), st.floats(0, 50))
def test_a_mark_never_takes_a_number_away(asked: Scores, obtainable: float | None, cost_bp: float) -> None:
    width = len(asked[0])
    last = SESSION.open + (len(asked) - 1) * MINUTE

    def made(known: float | None, cost: float) -> list[dict]:
        told = predictions(asked, known)
        return picks(told, bars([]), SESSION, SESSION.open, last, TICKERS[:width], TICKERS[:width], cost).to_pylist()

    marked, plain = made(obtainable, cost_bp), made(obtainable, 0.0)
    assert [[row[name] for name in NUMBERS] for row in marked] == [[row[name] for name in NUMBERS] for row in plain]
    assert all(row["rank"] is not None or row["abstain"] is not None for row in marked)
