"""A seeded market for tests of Spark: bars of a few tickers with gaps, and on request an effect to be found."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import FACTORS, RAW_PRICES

PRICES = ["open", "high", "low", "close"]


def market(
    day: date, *, tickers: int = 8, minutes: int = 120, seed: int = 1, reverting: float = 0.0, gaps: float = 0.03
) -> pa.Table:
    """RAW_PRICES of the session's first minutes.

    reverting: standard deviation of the part of a minute's log return of which the following ones take back a fifth
    each. gaps: share of minutes without a trade.
    """
    random = np.random.default_rng([seed, day.toordinal()])
    shape = (minutes, tickers)
    walk = np.cumsum(random.normal(0, 2e-4, (minutes, 1)) + random.normal(0, 6e-4, shape), axis=0)
    decay = 0.8 ** np.maximum(np.subtract.outer(np.arange(minutes), np.arange(minutes)), 0)
    away = np.tril(decay) @ random.normal(0, reverting, shape)
    value = 50 * np.exp(walk + away + np.linspace(0, 2, tickers))
    close = np.round(value, 2)
    open_ = np.round(np.vstack([value[:1], value[:-1]]) * (1 + random.normal(0, 1e-4, shape)), 2)
    high = np.round(np.maximum(open_, close) + random.exponential(0.03, shape), 2)
    low = np.round(np.minimum(open_, close) - random.exponential(0.03, shape), 2)
    volume = np.floor(np.exp(random.normal(7, 1.5, shape)))
    return table(
        day, {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, random.random(shape) < gaps
    )


def table(day: date, columns: Mapping[str, np.ndarray], gone: np.ndarray) -> pa.Table:
    """RAW_PRICES from matrices of minutes × tickers; `gone` marks minutes without a trade."""
    minutes, tickers = gone.shape
    session = session_on(day)
    values = {name: np.where(gone, np.nan, matrix).ravel() for name, matrix in columns.items()}
    given = {
        "session": [day] * gone.size,
        "minute": np.repeat(session.minutes()[:minutes].to_numpy(), tickers),
        "ticker": [f"T{number:02d}" for number in range(tickers)] * minutes,
        "source": ["simulated"] * gone.size,
        "reason": np.where(gone.ravel(), "no_trade", "present"),
        **values,
    }
    arrays = [
        pa.array(given[field.name], field.type, from_pandas=True)
        if field.name in given
        else pa.nulls(gone.size, field.type)
        for field in RAW_PRICES.columns
    ]
    return pa.table(arrays, schema=RAW_PRICES.columns)


def flat(day: date, *, tickers: int = 3, minutes: int = 30, price: float = 20.0, volume: float = 0.0) -> pa.Table:
    """RAW_PRICES of tickers that trade every minute at one price."""
    shape = (minutes, tickers)
    columns = {name: np.full(shape, price) for name in PRICES} | {"volume": np.full(shape, volume)}
    return table(day, columns, np.zeros(shape, bool))


def up_to(bars: pa.Table, minutes: int) -> pa.Table:
    """The bars of each session's first minutes, without what followed."""
    frame = bars.to_pandas()
    opening = frame.groupby("session")["minute"].transform("min")
    return bars.filter(pa.array(frame["minute"] < opening + pd.Timedelta(minutes=minutes)))


def joined(bars: Sequence[pa.Table]) -> pa.Table:
    """Several sessions in one table."""
    return pa.concat_tables(bars)


def daily(day: date, tickers: Sequence[str], *, seed: int = 1, strangers: Sequence[str] = ()) -> pa.Table:
    """FACTORS of a session as core/factors.py aligns them: seeded numbers, and of `strangers` what an unknown has."""
    random = np.random.default_rng([seed, day.toordinal()])
    names = sorted(tickers)
    known = np.array([name not in strangers for name in names])
    # Of a few tickers there are fewer factors than 8.
    found = max(0, min(8, int(known.sum()) - 1))
    basis = np.zeros((len(names), 8))
    columns = np.column_stack([np.ones(known.sum()), random.normal(size=(known.sum(), 8))])
    basis[known, :found] = np.linalg.qr(columns)[0][:, 1 : found + 1]
    half = basis[:, : found // 2]
    projection = np.eye(len(names)) - 1 / len(names) - half @ half.T
    rows = [
        {
            "session": day,
            "source": "simulated",
            "ticker": name,
            "sessions": 12 if known[place] else 0,
            "sig_before": float(random.uniform(4e-4, 1e-3)) if known[place] else None,
            "spread": 1e-3,
            "basis": basis[place].tolist(),
            "label_basis": basis[place].tolist(),
            "projection": projection[place].tolist(),
            **{
                name: float(random.normal() * known[place])
                for name in ("slope_e1", "slope_cmid", "slope_es5", "drift", "dollar_volume")
            },
            "volume_at": random.normal(7, 1, 390).tolist() if known[place] else [None] * 390,
            "return_at": random.normal(0, 1, 390).tolist() if known[place] else [None] * 390,
        }
        for place, name in enumerate(names)
    ]
    return pa.Table.from_pylist(rows, FACTORS.columns)
