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


def picked(asked: Scores, closes: Prices, previous: Sequence[Fraction | None] = NEVER_CLOSED) -> list[list[dict]]:
    """Picks as minutes × tickers."""
    width = len(asked[0])
    known = pa.concat_tables([previous_bars(previous[:width]), bars([line[:width] for line in closes])])
    last = SESSION.open + (len(asked) - 1) * MINUTE
    made = picks(predictions(asked), known, SESSION, SESSION.open, last, TICKERS[:width], TICKERS[:width])
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
    assert picked([[0.125, None]], [])[0][1]["abstain"] == "no bar"


def test_a_price_that_is_carried_forward_is_no_record_for_pop_window() -> None:
    closes = [[Fraction(100)], [Fraction(101)], [None]]
    rows = [rows[0] for rows in picked([[0.0]] * 3, closes, [Fraction(99)])]
    assert [row["pop_window"] for row in rows] == [None, 1.0, None]
    assert rows[2]["price"] == 101.0


def test_one_ticker_is_ranked_among_all_and_answered_alone() -> None:
    asked = predictions([[0.1, 0.3, 0.2]])
    made = picks(asked, bars([]), SESSION, SESSION.open, SESSION.open, TICKERS, TICKERS[2:])
    assert made.select(["ticker", "rank"]).to_pylist() == [{"ticker": TICKERS[2], "rank": 2}]
    assert made.schema.equals(PICKS.empty().select(RANKED).schema)


def test_an_expected_ticker_without_a_prediction_is_answered_with_a_reason() -> None:
    made = picks(predictions([[0.1]]), bars([]), SESSION, SESSION.open, SESSION.open, TICKERS, TICKERS)
    assert made["abstain"].to_pylist() == [None, NOT_MADE, NOT_MADE]
    assert made["source"].to_pylist() == ["recorded"] * 3


def test_minutes_without_any_prediction_are_refused() -> None:
    with pytest.raises(NothingToRank, match=r"2026-11-20 09:30 .* materialize predictions first"):
        picks(predictions([]), bars([]), SESSION, SESSION.open, SESSION.open, TICKERS, TICKERS)


def test_bars_of_another_session_do_not_reach_a_price_of_this_one() -> None:
    rows = picked([[0.0]], [[None]], [Fraction(100)])[0]
    assert (rows[0]["price"], rows[0]["change_day"]) == (None, None)
