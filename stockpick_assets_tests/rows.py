"""Small tables made by hand, for tests of what is done with rows and not of where they come from."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pyarrow as pa

from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.schemas import RAW_PRICES, SCORES

SESSION = session_on(date(2026, 11, 20))
FETCHED_AT = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)


def bars(
    minutes: int,
    *,
    start: int = 0,
    tickers: Sequence[str] = ("AAPL",),
    close: float = 100.0,
    fetched_at: datetime = FETCHED_AT,
    source: str = "simulated",
) -> pa.Table:
    """Present bars of `minutes` minutes from the session's `start`-th on, all with the same close; key order."""
    rows = [
        {
            "session": SESSION.date,
            "minute": SESSION.open + index * MINUTE,
            "ticker": ticker,
            "source": source,
            "open": close,
            "high": close,
            "low": close,
            "close": close,
            "volume": 100.0,
            "reason": "present",
            "detail": None,
            "fetched_at": fetched_at,
            "known_at": fetched_at,
            "backfilled": True,
        }
        for index in range(start, start + minutes)
        for ticker in tickers
    ]
    return pa.Table.from_pylist(rows, schema=RAW_PRICES.columns)


def scores(minutes: int, *, tickers: Sequence[str] = ("AAPL",)) -> pa.Table:
    """Ungraded scores of the session's first `minutes` minutes; key order."""
    rows = [
        {
            "session": SESSION.date,
            "minute": SESSION.open + index * MINUTE,
            "ticker": ticker,
            "source": "simulated",
            "forecast_minute": SESSION.open + (index - 5) * MINUTE,
            "ungraded": "the session is younger than a forecast's horizon",
        }
        for index in range(minutes)
        for ticker in tickers
    ]
    return pa.Table.from_pylist(rows, schema=SCORES.columns)
