"""Picks made by hand, for tests of what is done with them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from stockpick_assets.core.market_hours import MINUTE, session_of
from stockpick_assets.core.messages import Origin, with_messages
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.io_managers import Bounds, replace_picks
from stockpick_assets.store import Store
from stockpick_assets_tests.rows import SESSION

TICKERS = ("AAPL", "AMD", "NVDA")


def minute(index: int) -> datetime:
    """The session's minute of that number, from 0."""
    return SESSION.open + index * MINUTE


def pick(at: datetime, ticker: str, rank: int | None = None, **values: Any) -> dict[str, Any]:
    """A row of the table picks, all but its message."""
    return {
        "session": session_of(at).date,
        "minute": at,
        "ticker": ticker,
        "source": "simulated",
        "rank": rank,
        "price": 101.25,
        "change_day": 0.0123,
        "change_5m": -0.0004,
        "pop_window": 0.6,
        "p_profit": None if rank is None else 0.6 - rank / 100,
        "expected_excess_return": None if rank is None else 0.0002 / rank,
        "expected_obtainable_return": None if rank is None else 0.00006 / rank,
        "model_version": None if rank is None else "2026-11-19-1",
        "abstain": "no bar at this minute" if rank is None else None,
        **values,
    }


def table(rows: Sequence[Mapping[str, Any]], made_at: datetime = SESSION.close) -> pa.Table:
    """The rows as a table in the schema PICKS, with their messages, made at that market time."""
    picked = pa.Table.from_pylist([dict(row) for row in rows], schema=PICKS.columns)
    return with_messages(picked, Origin({"raw_prices": 3}, "s3://stockpick/simulated/", "run", made_at), made_at)


def picks(minutes: int, *, start: int = 0, tickers: Sequence[str] = TICKERS) -> pa.Table:
    """Picks of `minutes` minutes from the session's `start`-th on, every ticker ranked in the given order."""
    return table(
        [
            pick(minute(index), ticker, rank)
            for index in range(start, start + minutes)
            for rank, ticker in enumerate(tickers, 1)
        ]
    )


def live(store: Store, *indexes: int) -> None:
    """Commit the picks of those minutes, each made when it had closed."""
    for index in indexes:
        rows = [pick(minute(index), ticker, rank, source=store.source) for rank, ticker in enumerate(TICKERS, 1)]
        store.append(PICKS.name, table(rows, minute(index + 1)), {})


def revise(store: Store, index: int, *, made: int, ticker: str = "AAPL") -> None:
    """Make the pick of that minute again at the market time of minute `made`, at another price."""
    again = pick(minute(index), ticker, 1, source=store.source, price=90 + made / 10)
    commit_again(store, table([again], minute(made)))


def commit_again(store: Store, again: pa.Table) -> None:
    """Commit one pick that was made again, as the IO manager does."""
    at, ticker = again["minute"][0].as_py(), again["ticker"][0].as_py()
    bounds = Bounds((session_of(at).date, session_of(at).date), (at, at), (ticker, ticker))
    replace_picks(store, again, bounds, bounds.sql(), {})
