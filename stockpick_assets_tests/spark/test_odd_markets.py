"""A walk through markets as they are not supposed to be: forecasts or a reason for every row, and no NaN anywhere."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.walk_forward import Market, Terms, Walk, Walked
from stockpick_assets_tests.spark.market import market

DAYS = (date(2026, 11, 18), date(2026, 11, 19))
Bars = Callable[[date], pa.Table]
KINDS = ("linear", "reversal", "average")
FLAT, MUTE, LISTED_LATE, SPLIT, IN_HALVES = "T00", "T01", "T02", "T03", 20  # the last: from this minute on


def odd(day: date) -> pa.Table:
    """Eight tickers: one never moves, one has no volume, on the last day one is new and one is split in the session."""
    bars = market(day, tickers=8, minutes=40).to_pandas()
    prices = ["open", "high", "low", "close"]
    bars.loc[bars["ticker"] == FLAT, prices] = 20.0
    bars.loc[bars["ticker"] == MUTE, "volume"] = np.nan
    if day < DAYS[-1]:
        unlisted = bars["ticker"] == LISTED_LATE
        bars.loc[unlisted, [*prices, "volume"]] = np.nan
        bars.loc[unlisted, "reason"] = "not_listed"
    else:
        later = (bars["ticker"] == SPLIT) & (bars["minute"] >= session_on(day).minutes()[IN_HALVES])
        bars.loc[later, prices] /= 2
        bars.loc[later & ~later.shift(fill_value=False).cummax(), "split"] = 2.0
    return known(day, bars)


def alone(day: date) -> pa.Table:
    """One ticker, in a session of half an hour."""
    return known(day, market(day, tickers=1, minutes=30).to_pandas())


def still(day: date) -> pa.Table:
    """Nobody moves and nothing is traded."""
    bars = market(day, tickers=3, minutes=40).to_pandas()
    return known(day, bars.assign(open=50.0, high=50.0, low=50.0, close=50.0, volume=np.nan))


def known(day: date, bars: pd.DataFrame) -> pa.Table:
    """The bars as they were known when each minute had closed."""
    closed = bars["minute"] + pd.Timedelta(minutes=1)
    answered = bars.assign(known_at=closed, fetched_at=closed, session=day, backfilled=False)
    return pa.Table.from_pandas(answered, RAW_PRICES.columns, preserve_index=False)


def walked(spark: SparkSession, bars: Bars) -> Sequence[Walked]:
    tickers = tuple(sorted(set[Any](bars(DAYS[0])["ticker"].to_pylist())))
    whole = Market("simulated", tuple(map(session_on, DAYS)), tickers, lambda session: bars(session.date))
    return list(Walk(spark, whole, Terms(KINDS, cost_bp=2.0, seed=7)).sessions())


def holes(table: pa.Table) -> list[str]:
    """The columns that have a number that is none."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return [name for name in floats if np.isnan(table[name].drop_null().to_numpy()).any()]


@pytest.fixture(scope="module")
def odd_walk(spark: SparkSession) -> Sequence[Walked]:
    return walked(spark, odd)


def said(session: Walked) -> None:
    """Every bar has a forecast or a reason why there is none, and no number is NaN."""
    made = session.predictions
    assert made.num_rows == session.bars.num_rows
    assert all(row["score"] is not None or row["abstain"] for row in made.to_pylist())
    tables = (session.features, made, session.training, session.performance, session.factors)
    assert [holes(table) for table in tables] == [[]] * len(tables)


def test_odd_tickers_have_a_forecast_or_a_reason(odd_walk: Sequence[Walked]) -> None:
    for session in odd_walk:
        said(session)


def test_the_tickers_that_trade_are_forecast_beside_the_odd_ones(odd_walk: Sequence[Walked]) -> None:
    made = odd_walk[-1].predictions.to_pandas()
    newest = made[made["minute"] == made["minute"].max()].set_index("ticker")
    assert newest["score"].notna().sum() >= len(newest) / 2


@pytest.mark.parametrize("bars", [alone, still])
def test_one_ticker_or_a_market_that_stands_still_gives_a_forecast_or_a_reason(spark: SparkSession, bars: Bars) -> None:
    for session in walked(spark, bars):
        said(session)
