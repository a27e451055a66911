"""The features of every (ticker, minute) from the bars of the session so far: one plan, live and backfilled.

What belongs here: the steps that the feature table (core/feature_set.py) presupposes, and the score `reversal`. What
does not: what a feature is, or any row later than the minute. Every window is a session's, looks back or across the
minute only, and has an order, so that a minute comes out the same to the last bit however much of the session follows
it. Long windows are running sums, because Spark computes a sliding frame anew for each row. A session is shuffled four
times: by ticker, by minute, by ticker again for what adds up over neutral returns, and by minute again. The steps are
expressions on frames and not one statement: `spark.sql` of Spark Connect analyses it at once, and once more when it
runs, which is 0.6 s of a live minute.

`reversal` is z(core) + z(late) / 2 + z(usual) / 5 across the tickers with a bar, where z is not clipped:
- core: minus the exponential mean (half-life 2 minutes) of the return's residual, times exp(-v - q / 2). The residual
  is the row `projection` of FACTORS times all tickers' excess returns of the minute, clipped to ±8 sig, 0 where there
  is none; v the five-minute mean of log volume minus `volume_at`, demeaned, within ±2; q is `dollar_volume`;
- late: from minute 355 on, the sum of the residuals since the open, in the minute's sig;
- usual: `return_at` of the minute.
A scale that all tickers share is left out, as z takes no notice of it: of the mean its weights' sum, of the late sum
√(m + 1). A projection of a sum is the sum of projections, so that only the minutes asked for are projected. What is
missing drops out: v or q counts as 0, and so does a part. Without any part `reversal` is null: before there is a
`sig`, as all features but `n_bar` are that need one.
"""

from collections.abc import Iterator
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stockpick_assets.core.feature_set import (
    BOUND,
    COMBINED,
    CONDITIONERS,
    E1,
    ES5,
    FEATURES,
    MINIMUM_RETURNS,
    SHAPE_BOUND,
    SHAPES,
    SIGMA_FLOOR,
)
from stockpick_assets.core.indicators import INDICATORS
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS
from stockpick_assets.spark.expressions import ACROSS, loadings, within, without_factors

COMPUTED = FEATURE_ROWS.without(BARS_FETCHED_AT, *(indicator.name for indicator in INDICATORS))


_LATE = 355
_KEY = ("session", "minute", "ticker", "source")
READ = (*_KEY, "open", "high", "low", "close", "volume")  # the columns of bars that features are made of
_SHAPES = [item.name for item in SHAPES]
_CONDITIONERS = [item.name for item in CONDITIONERS]
_FEATURES = [item.name for item in FEATURES]
_DAILY = ("slope_e1", "slope_cmid", "slope_es5", "drift", "dollar_volume")
_PARTS = ("core", "late", "usual")  # of `reversal`

_OF_TICKER = "PARTITION BY session, ticker ORDER BY m"
_BEFORE = f"({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
_SO_FAR = f"({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
_PREVIOUS_4 = f"({_OF_TICKER} RANGE BETWEEN 4 PRECEDING AND 1 PRECEDING)"


def features(bars: DataFrame, factors: DataFrame, first: datetime) -> DataFrame:
    """One row a (ticker, minute) of `bars` from the minute `first` on, columns COMPUTED.

    bars: columns READ of RAW_PRICES, of one or more whole sessions so far, one row a (ticker, minute), nulls where
    there is no bar. factors: rows FACTORS, one of each session and ticker of `bars`. Both as core/factors.py matches
    them: where a minute lacks a row of a ticker, Spark raises an error that names the session. A feature is null where
    the minute has no bar or the ticker too short a history; `n_bar` alone needs the bar only.
    """
    so_far = _returned(_measured(bars), factors).where(F.col("minute") >= F.lit(first))
    return _standard(_neutral(_expressed(so_far), factors))


def _measured(bars: DataFrame) -> DataFrame:
    """What each ticker's session so far says by itself, up to its own volatility."""
    return (
        bars.selectExpr(
            *_KEY, "open", "high", "low", "close", "ln(1 + volume) AS log_volume", f"CAST({_SINCE_OPEN} AS INT) AS m"
        )
        .selectExpr("*", f"last(close) IGNORE NULLS OVER {_BEFORE} AS carried_before")
        .selectExpr("*", "ln(coalesce(close, carried_before)) - ln(carried_before) AS return")
        .selectExpr(
            "*",
            f"""named_struct(
                'returns', count(return) OVER {_SO_FAR},
                'return', coalesce(sum(return) OVER {_SO_FAR}, 0),
                'square', coalesce(sum(return * return) OVER {_SO_FAR}, 0),
                'zeros', count_if(return = 0) OVER {_SO_FAR},
                'bars', count(close) OVER {_SO_FAR},
                'volumes', count(log_volume) OVER {_SO_FAR},
                'volume', coalesce(sum(log_volume) OVER {_SO_FAR}, 0)
            ) AS total""",
            f"avg(log_volume) OVER {_recent(5)} AS volume_5",
            f"max(high) OVER {_recent(15)} AS highest_15",
            f"min(low) OVER {_recent(15)} AS lowest_15",
        )
        .selectExpr("*", *(f"last(total) OVER {_until(minutes)} AS total_{minutes}" for minutes in (15, 30, 60)))
        .selectExpr(
            *(*_KEY, "m", "open", "high", "low", "close", "carried_before", "log_volume"),
            *("volume_5", "highest_15", "lowest_15"),
            "IF(close IS NULL, NULL, return) AS return_1",
            f"IF({_newest('returns', 60)} >= {MINIMUM_RETURNS}, {_variance(60)}, NULL) AS variance_60",
            f"{_variance(15)} AS variance_15",
            f"{_mean('volume', 'volumes', 30)} AS mean_log_volume_30",
            f"{_mean('zeros', 'returns', 60)} AS zero_share_60",
            f"1 - {_newest('bars', 60)} / least(m + 1, 60) AS missing_share_60",
        )
        .selectExpr("*", f"{_root('variance_60')} AS sig_now", f"{_root('variance_15')} AS volatility_15")
        .drop("variance_60", "variance_15")
    )


def _returned(measured: DataFrame, factors: DataFrame) -> DataFrame:
    """The minute's returns without market and factors, and what adds up over them in the session so far."""
    daily = factors.select("session", "ticker", "sig_before", "basis", *_DAILY, "volume_at", "return_at")
    sig = "coalesce((sig_now + sig_before) / 2, sig_now, sig_before)"
    return (
        measured.join(daily, ["session", "ticker"], "left")
        .selectExpr(
            "*",
            "volume_5 - get(volume_at, m) AS more_volume",
            "get(return_at, m) AS usual",
            f"IF({sig} < {SIGMA_FLOOR}, {SIGMA_FLOOR}, {sig}) AS sig",
            f"return_1 - avg(return_1) OVER {ACROSS} AS excess",
        )
        .drop("sig_now", "sig_before", "volume_5", "volume_at", "return_at")
        .selectExpr("*", f"{within(E1.expression, SHAPE_BOUND)} AS bounded")
        .selectExpr(
            "*",
            f"bounded - avg(bounded) OVER {ACROSS} AS e1",
            f"stddev_samp(bounded) OVER {ACROSS} AS dispersion",
            "coalesce(bounded * sig, 0) AS bounded_excess",
        )
        .drop("bounded")
        .selectExpr("*", *loadings("e1"))
        .selectExpr(
            *(*_KEY, "m", "open", "high", "low", "close", "carried_before", "log_volume", "more_volume"),
            *("highest_15", "lowest_15", "volatility_15", "mean_log_volume_30", "zero_share_60", "missing_share_60"),
            *("dispersion", "return_1", "sig", "basis", *_DAILY, "usual"),
            "bounded_excess",
            f"{without_factors('e1')} AS e1",
        )
        .selectExpr(
            "*",
            f"sum(e1) OVER {_PREVIOUS_4} AS e1_before",
            f"sum(bounded_excess) OVER {_SO_FAR} AS since_open",
            f"sum(bounded_excess * pow(2D, m / 2)) OVER {_SO_FAR} * pow(2D, -m / 2) AS recent",
        )
    )


def _expressed(returned: DataFrame) -> DataFrame:
    """Shapes and conditioners by their expressions, within their bounds, null in a minute without a bar."""
    of_bar = (*_DAILY, "more_volume", "usual")
    return (
        returned.selectExpr(
            *(*_KEY, "m", "return_1", "e1", "basis", "recent", "since_open"),
            "IF(close IS NULL, NULL, sig) AS sig",
            f"{ES5.expression} AS es5",
            *(f"IF(close IS NULL, NULL, {name}) AS {name}" for name in of_bar),
            *(f"IF(close IS NULL, NULL, {item.expression}) AS {item.name}" for item in (*SHAPES, *CONDITIONERS)),
        )
        .selectExpr(
            *(*_KEY, "m", "return_1", "e1", "es5", "basis", "recent", "since_open", "sig", *of_bar),
            *(f"{within(name, SHAPE_BOUND)} AS {name}" for name in _SHAPES),
            *(f"({item.name} - {item.mean}D) / {item.spread}D AS {item.name}" for item in CONDITIONERS),
        )
        .selectExpr(
            *(*_KEY, "m", "return_1", "e1", "es5", "basis", "recent", "since_open", "sig", *_DAILY, "usual"),
            *(f"{name} - avg({name}) OVER {ACROSS} AS {name}" for name in (*_SHAPES, "more_volume")),
            *(f"{within(name, BOUND)} AS {name}" for name in _CONDITIONERS),
            f"collect_list(recent) OVER {ACROSS} AS recent_of_all",
            f"collect_list(since_open) OVER {ACROSS} AS since_open_of_all",
        )
    )


def _neutral(expressed: DataFrame, factors: DataFrame) -> DataFrame:
    """Shapes without factors, the combined features, and the parts of `reversal`."""
    projections = factors.select("session", "ticker", "projection")
    return (
        expressed.join(projections, ["session", "ticker"], "left")
        .selectExpr(
            *(*_KEY, "m", "return_1", "e1", "es5", "basis", "sig", *_DAILY, "usual", *_CONDITIONERS, *_SHAPES),
            f"{within('more_volume', 2)} AS more_volume",
            f"IF(sig IS NULL, NULL, {_projected('recent_of_all')}) AS recent",
            f"IF(m < {_LATE}, NULL, {_projected('since_open_of_all')} / sig) AS late",
            *(loading for name in _SHAPES for loading in loadings(name)),
        )
        .selectExpr(
            *(*_KEY, "m", "return_1", "e1", "es5", "sig", *_DAILY, "usual", *_CONDITIONERS, "late"),
            "-recent * exp(-coalesce(more_volume, 0) - coalesce(dollar_volume, 0) / 2) AS core",
            *(f"{without_factors(name)} AS {name}" for name in _SHAPES),
        )
        .selectExpr(
            *(*_KEY, "return_1", "sig", *_SHAPES, "e1", "es5", *_PARTS),
            *(f"{item.expression} AS {item.name}" for item in COMBINED),
        )
    )


def _standard(neutral: DataFrame) -> DataFrame:
    """Every feature and part in its standard deviations across the tickers of the minute."""
    standard = (*_FEATURES, *_PARTS)
    return (
        neutral.selectExpr("*", *(moment for name in standard for moment in _moments(name)))
        .selectExpr(
            *(*_KEY, "sig", "return_1", "e1 AS neutral_e1", "n_cmid AS neutral_cmid", "es5 AS neutral_es5"),
            *(f"{_standardised(name)} AS {name}" for name in standard),
        )
        .selectExpr(
            *(*_KEY, "sig", "return_1", "neutral_e1", "neutral_cmid", "neutral_es5"),
            f"""IF(coalesce({", ".join(_PARTS)}) IS NULL, NULL,
                coalesce(core, 0) + coalesce(late, 0) / 2 + coalesce(usual, 0) / 5) AS reversal""",
            *(f"{within(name, BOUND)} AS {name}" for name in _FEATURES),
        )
    )


_SINCE_OPEN = """(unix_seconds(minute) - unix_seconds(make_timestamp(
    year(session), month(session), day(session), 9, 30, 0, 'America/New_York'))) DIV 60"""


def _recent(minutes: int) -> str:
    """The window of a ticker's newest minutes."""
    return f"({_OF_TICKER} RANGE BETWEEN {minutes - 1} PRECEDING AND CURRENT ROW)"


def _until(minutes: int) -> str:
    """The window of a ticker's session up to so many minutes before."""
    return f"({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND {minutes} PRECEDING)"


def _newest(total: str, minutes: int) -> str:
    """A running sum's growth in the newest `minutes` minutes."""
    return f"(total.{total} - coalesce(total_{minutes}.{total}, 0))"


def _mean(total: str, count: str, minutes: int) -> str:
    return f"try_divide({_newest(total, minutes)}, {_newest(count, minutes)})"


def _variance(minutes: int) -> str:
    """Of the newest `minutes` returns; rounding may take that of equal ones below 0."""
    mean = _mean("return", "returns", minutes)
    return f"{_mean('square', 'returns', minutes)} - {mean} * {mean}"


def _root(variance: str) -> str:
    # Not greatest(): Spark's skips nulls.
    return f"sqrt(IF({variance} < 0, 0, {variance}))"


def _moments(name: str) -> Iterator[str]:
    yield f"avg({name}) OVER {ACROSS} AS mean_{name}"
    yield f"stddev_pop({name}) OVER {ACROSS} AS spread_{name}"


def _standardised(name: str) -> str:
    """Distance from the mean across tickers in population standard deviations; 0 where all are equal."""
    # Equal values differ by rounding: without the bound a spread of 1e-17 would be blown up to ±1.
    return f"IF(spread_{name} > 1e-9, ({name} - mean_{name}) / spread_{name}, 0 * {name})"


def _projected(returns: str) -> str:
    """The ticker's row of the matrix that takes factors out, times the returns of all tickers; an error where it is not
    of as many as have a row in the minute.
    """
    # In single precision, 1e-7 of the result, as the only product of vectors that Spark has: 39,000 of 100 numbers take
    # 0.1 s of processor time, and 2 s by `aggregate` over `zip_with`.
    product = f"vector_inner_product(CAST(projection AS ARRAY<FLOAT>), CAST({returns} AS ARRAY<FLOAT>))"
    unlike = f"""'features of session ', session, ': the minute ', minute, ' has rows of ', size({returns}),
        ' tickers, and the factors of ', ticker, ' are of ', coalesce(size(projection), 0),
        '; bars and factors must be of the same tickers, as core/factors.py matches them'"""
    return f"IF(size(projection) = size({returns}), CAST({product} AS DOUBLE), raise_error(concat({unlike})))"
