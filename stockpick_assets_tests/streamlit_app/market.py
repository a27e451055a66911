"""A made-up market in the tables of a local folder, for the tests of the app.

Prices, forecasts and outcomes come from a seed and mean nothing; what the app reads is the declared tables alone.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from stockpick_assets.core.market_hours import MINUTE, Session, session_before, session_on
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.store import Store

HORIZON = 5 * MINUTE
TICKERS = ("AAPL", "AMD", "AMZN", "AVGO", "COST", "GOOG", "INTC", "META", "MSFT", "NFLX", "NVDA", "TSLA")


@dataclass
class Market:
    """Writes minutes of one session to the store below `root`.

    halted: tickers without a bar, for the reason `halted`, from a minute on. abstain: why no ticker has a forecast.
    doubt: why those that there are, are not to be relied on.
    models: versions that take turns among the tickers.
    """

    root: Path
    day: date
    source: str = "simulated"
    tickers: tuple[str, ...] = TICKERS
    halted: dict[str, datetime] = field(default_factory=dict)
    abstain: str | None = None
    doubt: str | None = None
    models: tuple[str, ...] = ("2026-11-20.1",)
    seed: int = 7

    @property
    def store(self) -> Store:
        """The store that the app is pointed to."""
        return Store(str(self.root), self.source, {})

    @cached_property
    def session(self) -> Session:
        """The session that is written."""
        return session_on(self.day)

    def at(self, clock: str) -> datetime:
        """The minute of the session at a New York time such as `10:30`."""
        hours, minutes = map(int, clock.split(":"))
        return self.session.open + timedelta(hours=hours, minutes=minutes) - timedelta(hours=9, minutes=30)

    @cached_property
    def closes(self) -> np.ndarray:
        """Closes in dollars, float64 of shape (minutes, tickers)."""
        random = np.random.default_rng([self.seed, self.day.toordinal(), 0])
        start = random.uniform(60, 400, len(self.tickers))
        return start * np.exp(np.cumsum(random.normal(0, 6e-4, (self.session.length, len(self.tickers))), axis=0))

    @cached_property
    def p_profit(self) -> np.ndarray:
        """Probabilities, float64 of shape (minutes, tickers), that drift about 46 % with a deviation of 2 points."""
        random = np.random.default_rng([self.seed, self.day.toordinal(), 1])
        drift = random.normal(0, 0.02, self.closes.shape)
        for minute in range(1, len(drift)):
            drift[minute] = 0.95 * drift[minute - 1] + (1 - 0.95**2) ** 0.5 * drift[minute]
        return 0.46 + drift

    @cached_property
    def profitable(self) -> np.ndarray:
        """Whether the forecast of that minute came true, bool of shape (minutes, tickers)."""
        return np.random.default_rng([self.seed, self.day.toordinal(), 2]).random(self.closes.shape) < self.p_profit

    def write(self, first: datetime, last: datetime, *tables: str) -> None:
        """Append the minutes from `first` to `last` to `tables`: all five of the flow when none is named."""
        for table in tables or ("raw_prices", "features", "predictions", "picks", "scores"):
            rows = []
            minute = first
            while minute <= last:
                rows += getattr(self, f"_{table}")(minute)
                minute += MINUTE
            common = {"session": self.day, "source": self.source}
            columns = TABLES[table].columns
            filled = [{**dict.fromkeys(columns.names), **common, **row} for row in rows]
            self.store.append(table, pa.Table.from_pylist(filled, schema=columns), {})

    def write_scores_before(self, sessions: int) -> None:
        """Append the scores of as many sessions before this one."""
        session = self.session
        for _ in range(sessions):
            session = session_before(session)
            before = Market(self.root, session.date, self.source, self.tickers, seed=self.seed)
            before.write(session.open, session.last_minute, "scores")

    def ranks(self, minute: datetime) -> dict[str, int]:
        """Ticker to rank at that minute."""
        have = [ticker for ticker in self.tickers if not self._is_halted(ticker, minute)]
        at = self._index(minute)
        have.sort(key=lambda ticker: -self.p_profit[at, self.tickers.index(ticker)])
        return {ticker: rank for rank, ticker in enumerate(have, 1)} if self.abstain is None else {}

    def _index(self, minute: datetime) -> int:
        return int((minute - self.session.open) / MINUTE)

    def _is_halted(self, ticker: str, minute: datetime) -> bool:
        return ticker in self.halted and minute >= self.halted[ticker]

    def _raw_prices(self, minute: datetime) -> list[dict]:
        rows = []
        for column, ticker in enumerate(self.tickers):
            row = {"minute": minute, "ticker": ticker, "fetched_at": minute + MINUTE, "known_at": minute + MINUTE}
            close = self.closes[self._index(minute), column]
            halted = self._is_halted(ticker, minute)
            prices = {} if halted else {"open": close, "high": close, "low": close, "close": close, "volume": 1000.0}
            rows.append({**row, **prices, "reason": "halted" if halted else "present", "backfilled": False})
        return rows

    def _features(self, minute: datetime) -> list[dict]:
        return [{"minute": minute, "ticker": ticker} for ticker in self.tickers]

    _predictions = _features

    def _picks(self, minute: datetime) -> list[dict]:
        at, ranks = self._index(minute), self.ranks(minute)
        rows = []
        for column, ticker in enumerate(self.tickers):
            row = {
                "minute": minute,
                "ticker": ticker,
                "price": self.closes[at, column],
                "change_day": self.closes[at, column] / self.closes[0, column] - 1,
                "change_5m": self.closes[at, column] / self.closes[at - 5, column] - 1 if at >= 5 else None,
                "pop_window": (at + column) % 5 / 5 + 0.2 if at else None,
                "made_at": minute + MINUTE,
                "published": True,
            }
            if ticker in ranks:
                row |= {
                    "rank": ranks[ticker],
                    "p_profit": self.p_profit[at, column],
                    "expected_excess_return": (self.p_profit[at, column] - 0.46) / 50,
                    "expected_obtainable_return": (self.p_profit[at, column] - 0.46) / 200,
                    "abstain": self.doubt,
                    "model_version": self.models[column % len(self.models)],
                }
            else:
                row["abstain"] = self.abstain or "no bar at this minute"
            rows.append(row)
        return rows

    def _scores(self, minute: datetime) -> list[dict]:
        made = minute - HORIZON
        if made < self.session.open or self.abstain is not None:
            return []
        at, ranks = self._index(made), self.ranks(made)
        return [
            {
                "minute": minute,
                "ticker": ticker,
                "forecast_minute": made,
                "rank": ranks[ticker],
                "p_profit": self.p_profit[at, column],
                "obtainable_return": 0.0008 if self.profitable[at, column] else -0.0006,
                "close_return": 0.0009 if self.profitable[at, column] else -0.0005,
                "profitable": self.profitable[at, column],
            }
            for column, ticker in enumerate(self.tickers)
            if ticker in ranks
        ]
