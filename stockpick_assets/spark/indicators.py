"""The indicators of every bar from the bars of the session up to it: one plan, live and backfilled.

What belongs here: how the table of core/indicators.py is computed. What does not: the features (features.py).

A recursive mean, y = (1 − a)·y + a·x, is a running sum of growing weights: at bar n it is (1 − a)^n · Σ a·x·(1 − a)^−k
over the bars k up to n, its seed being the first terms. Terms of prices have one sign, so nothing cancels, and a bar
comes out the same to the last bit however much of the session follows it. Over 502 bars it stays within 1e-15 of the
price of what the recursion gives; the weights would leave a double's range after some 3,000, and a session has 390.
"""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stockpick_assets.core.indicators import INDICATORS

_KEY = ("session", "minute", "ticker", "source")
_OF_TICKER = "PARTITION BY session, ticker ORDER BY minute"
_SO_FAR = f"({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
_NEWEST_20 = f"({_OF_TICKER} ROWS BETWEEN 19 PRECEDING AND CURRENT ROW)"


def indicators(bars: DataFrame, first: datetime) -> DataFrame:
    """One row a bar of `bars` from the minute `first` on: `session minute ticker source` and the indicators.

    bars: columns `session minute ticker source high low close volume` of RAW_PRICES, of one or more whole sessions so
    far, one row a (ticker, minute). A row without a close is no bar: it has no row here and is not counted. An
    indicator is null until the bars it needs are there, and where its convention says so.
    """
    return (
        bars.where("close IS NOT NULL")
        .selectExpr(
            *(*_KEY, "high", "low", "close", "volume", "(high + low + close) / 3 AS price"),
            f"count(*) OVER {_SO_FAR} AS n",
            f"lag(close) OVER ({_OF_TICKER}) AS close_before",
        )
        .selectExpr(
            *(*_KEY, "n"),
            f"{_wilder('greatest(close - close_before, 0)')} AS rise",
            f"{_wilder('greatest(close_before - close, 0)')} AS fall",
            f"{_wilder('greatest(high, close_before) - least(low, close_before)')} AS atr_14",
            f"{_exponential('close', 12)} - {_exponential('close', 26)} AS macd",
            f"{_exponential('close', 20)} AS ema_20",
            f"avg(close) OVER {_NEWEST_20} AS sma_20",
            f"2 * stddev_pop(close) OVER {_NEWEST_20} AS half_width",
            f"try_divide(sum(price * volume) OVER {_SO_FAR}, sum(volume) OVER {_SO_FAR}) AS vwap",
            f"sum(volume * coalesce(signum(close - close_before), 0)) OVER {_SO_FAR} AS obv",
        )
        .selectExpr("*", f"{_exponential('macd', 9, since=26)} AS macd_signal")
        .where(F.col("minute") >= F.lit(first))
        .selectExpr(
            *(*_KEY, "n", "macd", "macd_signal", "atr_14", "vwap", "obv", "ema_20", "sma_20"),
            "100 * try_divide(rise, rise + fall) AS rsi_14",
            "macd - macd_signal AS macd_histogram",
            "sma_20 AS bollinger_middle",
            "sma_20 + half_width AS bollinger_upper",
            "sma_20 - half_width AS bollinger_lower",
        )
        .selectExpr(*_KEY, *(f"IF(n >= {item.needs}, {item.name}, NULL) AS {item.name}" for item in INDICATORS))
    )


def with_indicators(features: DataFrame, bars: DataFrame, first: datetime) -> DataFrame:
    """`features` from the minute `first` on, with the indicators beside them: nulls in a minute without a bar."""
    return features.join(indicators(bars, first), list(_KEY), "left")


def _recursive(value: str, since: int, length: int, weight: float) -> str:
    """The recursive mean of `value`, which exists from bar `since` on, seeded with the mean of its first `length`."""
    seeded, kept = since + length - 1, 1 - weight
    return (
        f"power({kept!r}D, n - {seeded}) * sum(({value}) * CASE WHEN n > {seeded} THEN {weight!r}D * power({kept!r}D, "
        f"{seeded} - n) WHEN n >= {since} THEN {1 / length!r}D END) OVER {_SO_FAR}"
    )


def _wilder(value: str) -> str:
    """Wilder's smoothing over 14 bars of what compares a bar with the one before."""
    return _recursive(value, since=2, length=14, weight=1 / 14)


def _exponential(value: str, length: int, since: int = 1) -> str:
    return _recursive(value, since, length, weight=2 / (length + 1))
