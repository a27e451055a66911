"""Small tables of one session, given as matrices of minutes × tickers, and hypothesis strategies for such prices."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE, Session, session_before
from stockpick_assets.core.schemas import PICKS, PREDICTIONS, RAW_PRICES
from stockpick_assets_tests.rows import SESSION

PREVIOUS = session_before(SESSION)
TICKERS = ("AAPL", "AMD", "NVDA")
Prices = Sequence[Sequence[Fraction | None]]


def _row(session: Session, minute: int, ticker: str, **values: Any) -> dict[str, Any]:
    return {
        "session": session.date,
        "minute": session.open + minute * MINUTE,
        "ticker": ticker,
        "source": "recorded",
    } | {name: float(value) if isinstance(value, Fraction) else value for name, value in values.items()}


def bars(closes: Prices, opens: Prices | None = None, *, session: Session = SESSION) -> pa.Table:
    """RAW_PRICES of the session's first minutes; None is a minute without trade."""
    rows = [
        _row(
            session,
            minute,
            ticker,
            open=(opens or closes)[minute][column],
            close=close,
            reason="no_trade" if close is None else "present",
        )
        for minute, line in enumerate(closes)
        for column, (ticker, close) in enumerate(zip(TICKERS, line, strict=False))
    ]
    return pa.Table.from_pylist(rows, RAW_PRICES.columns)


def previous_bars(closes: Sequence[Fraction | None]) -> pa.Table:
    """RAW_PRICES of the previous session's minute 300, and of a minute after it in which nothing traded."""
    return bars([*([[None] * len(closes)] * 300), closes, [None] * len(closes)], session=PREVIOUS)


def predictions(scores: Sequence[Sequence[float | None]], obtainable: float | None = None) -> pa.Table:
    """PREDICTIONS of the session's first minutes; None is a forecast that was not made.

    obtainable: the obtainable return that is expected of each.
    """
    rows = [
        _row(
            SESSION,
            minute,
            ticker,
            score=score,
            p_profit=None if score is None else 0.5,
            expected_excess_return=score,
            expected_obtainable_return=None if score is None else obtainable,
            model_version="m1",
            abstain="no bar" if score is None else None,
        )
        for minute, line in enumerate(scores)
        for ticker, score in zip(TICKERS, line, strict=False)
    ]
    return pa.Table.from_pylist(rows, PREDICTIONS.columns)


def picks(ranks: Sequence[Sequence[int | None]]) -> pa.Table:
    """PICKS of the session's first minutes; None is a forecast that abstained."""
    rows = [
        _row(
            SESSION,
            minute,
            ticker,
            rank=rank,
            p_profit=None if rank is None else 0.5,
            abstain="no model" if rank is None else None,
        )
        for minute, line in enumerate(ranks)
        for ticker, rank in zip(TICKERS, line, strict=False)
    ]
    return pa.Table.from_pylist(rows, PICKS.columns)


def matrices(cell: st.SearchStrategy[Any], most_minutes: int = 14) -> st.SearchStrategy[list[list[Any]]]:
    """Minutes × tickers of `cell`."""
    return st.integers(1, len(TICKERS)).flatmap(
        lambda tickers: st.lists(st.lists(cell, min_size=tickers, max_size=tickers), min_size=1, max_size=most_minutes)
    )


# Few different prices, a cent apart: ties are common. Exact, so that an oracle can tell a tie.
prices = st.none() | st.integers(9995, 10005).map(lambda cents: Fraction(cents, 100))
