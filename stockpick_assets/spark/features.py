"""The features of every (ticker, minute) from the bars of the session so far: one SQL statement, live and backfilled.

What belongs here: the steps that the feature table (core/feature_set.py) presupposes, and the score `reversal`. What
does not: what a feature is, or any row later than the minute. Every window is a session's, looks back or across the
minute only, and has an order, so that a minute comes out the same to the last bit however much of the session follows
it. Long windows are running sums, because Spark computes a sliding frame anew for each row. A session is shuffled four
times: by ticker, by minute, by ticker again for what adds up over neutral returns, and by minute again.

`reversal` is z(core) + z(late) / 2 + z(usual) / 5 across the tickers with a bar, where z is not clipped:
- core: minus the exponential mean (half-life 2 minutes) of the return's residual, times exp(-v - q / 2). The residual
  is the row `projection` of FACTORS times all tickers' excess returns of the minute, clipped to ±8 sig, 0 where there
  is none; v the five-minute mean of log volume minus `volume_at`, demeaned, within ±2; q is `dollar_volume`;
- late: from minute 355 on, the sum of the residuals since the open, in the minute's sig;
- usual: `return_at` of the minute.
A scale that all tickers share is left out, as z takes no notice of it: of the mean its weights' sum, of the late sum
√(m + 1). A projection of a sum is the sum of projections, so that only the minutes asked for are projected: a product
of 100 numbers takes some 50 µs in Spark, and a session so far has 39,000 of them. What is missing drops out: v or q
counts as 0, and so does a part. Without any part `reversal` is null: before there is a `sig`, as all features but
`n_bar` are that need one.
"""

from collections.abc import Iterable
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from stockpick_assets.core.feature_set import (
    COMBINED,
    CONDITIONERS,
    E1,
    ES5,
    FEATURES,
    MINIMUM_RETURNS,
    SHAPES,
    SIGMA_FLOOR,
)
from stockpick_assets.core.indicators import INDICATORS
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS

COMPUTED = FEATURE_ROWS.without(BARS_FETCHED_AT, *(indicator.name for indicator in INDICATORS))
_FACTORS = 8

_LATE = 355
_KEY = "session, minute, ticker, source"
_OF_TICKER = "PARTITION BY session, ticker ORDER BY m"
_WINDOWS = f"""
    before AS ({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    so_far AS ({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    until_15 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 15 PRECEDING),
    until_30 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 30 PRECEDING),
    until_60 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 60 PRECEDING),
    previous_4 AS ({_OF_TICKER} RANGE BETWEEN 4 PRECEDING AND 1 PRECEDING),
    newest_5 AS ({_OF_TICKER} RANGE BETWEEN 4 PRECEDING AND CURRENT ROW),
    newest_15 AS ({_OF_TICKER} RANGE BETWEEN 14 PRECEDING AND CURRENT ROW),
    across AS (PARTITION BY session, minute ORDER BY ticker
               ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"""


def features(spark: SparkSession, bars: DataFrame, factors: DataFrame, first: datetime) -> DataFrame:
    """One row a (ticker, minute) of `bars` from the minute `first` on, columns COMPUTED.

    bars: columns `session minute ticker source open high low close volume` of RAW_PRICES, of one or more whole
    sessions so far, one row a (ticker, minute), nulls where there is no bar. factors: rows FACTORS, one of each session
    and ticker of `bars`, as core/factors.py aligns them. A feature is null where the minute has no bar or the ticker
    too short a history; `n_bar` alone needs the bar only.
    """
    return spark.sql(_STATEMENT, args={"first": first}, bars=bars, factors=factors)


def _within(value: str, bound: int) -> str:
    # Not least(greatest()): Spark's skip nulls, and would make a missing value the bound.
    return f"CASE WHEN {value} > {bound} THEN {bound} WHEN {value} < -{bound} THEN -{bound} ELSE {value} END"


def _mean_of(name: str) -> str:
    return f"avg({name}) OVER across AS mean_{name}"


def _moments(name: str) -> str:
    return f"{_mean_of(name)}, stddev_pop({name}) OVER across AS spread_{name}"


def _standardised(name: str) -> str:
    """Distance from the mean across tickers in population standard deviations; 0 where all are equal."""
    # Equal values differ by rounding: without the bound a spread of 1e-17 would be blown up to ±1.
    return f"IF(spread_{name} > 1e-9, ({name} - mean_{name}) / spread_{name}, 0 * {name})"


def _loadings(name: str) -> Iterable[str]:
    """The sums over the tickers of the minute that say how much of each factor is in the demeaned `name`."""
    return (f"sum({name} * basis[{k}]) OVER across AS {name}_{k}" for k in range(_FACTORS))


def _neutral(name: str) -> str:
    """`name` without its projection on the factors, whose basis is orthonormal over all tickers of the session."""
    return f"{name} - ({' + '.join(f'basis[{k}] * {name}_{k}' for k in range(_FACTORS))}) AS {name}"


def _projected(returns: str) -> str:
    """The ticker's element of the matrix that takes factors out, times the returns of all tickers."""
    product = f"zip_with(projection, {returns}, (weight, other) -> weight * other)"
    return f"aggregate({product}, 0D, (sum, one) -> sum + one)"


def _newest(total: str, minutes: int) -> str:
    """A running sum's growth in the newest `minutes` minutes."""
    return f"(total.{total} - coalesce(total_{minutes}.{total}, 0))"


def _mean(total: str, count: str, minutes: int) -> str:
    return f"try_divide({_newest(total, minutes)}, {_newest(count, minutes)})"


def _variance(minutes: int) -> str:
    """Of the newest `minutes` returns; rounding may take that of equal ones below 0."""
    mean = _mean("return", "returns", minutes)
    return f"{_mean('square', 'returns', minutes)} - {mean} * {mean}"


def _deviation(variance: str) -> str:
    # Not greatest(): Spark's skips nulls.
    return f"sqrt(IF({variance} < 0, 0, {variance}))"


def _listed(expressions: Iterable[str]) -> str:
    return ",\n        ".join(expressions)


_SHAPES = [item.name for item in SHAPES]
_CONDITIONERS = [item.name for item in CONDITIONERS]
_FEATURES = [item.name for item in FEATURES]
_DAILY = ("slope_e1", "slope_cmid", "slope_es5", "drift", "dollar_volume")
_PARTS = ("core", "late", "usual")  # of `reversal`

_STATEMENT = f"""
WITH daily AS (
    SELECT session, ticker, sig_before, basis, {_listed(_DAILY)}, volume_at, return_at FROM {{factors}}
),
projections AS (
    SELECT session, ticker, projection FROM {{factors}}
),
bar AS (
    SELECT {_KEY}, open, high, low, close, ln(1 + volume) AS log_volume,
        CAST(unix_seconds(minute) - unix_seconds(make_timestamp(
            year(session), month(session), day(session), 9, 30, 0, 'America/New_York')) AS INT) DIV 60 AS m
    FROM {{bars}}
),
carried AS (
    SELECT *, last(close) IGNORE NULLS OVER before AS carried_before FROM bar WINDOW {_WINDOWS}
),
moved AS (
    SELECT *, ln(coalesce(close, carried_before)) - ln(carried_before) AS return FROM carried
),
summed AS (
    SELECT *, named_struct(
        'returns', count(return) OVER so_far,
        'return', coalesce(sum(return) OVER so_far, 0),
        'square', coalesce(sum(return * return) OVER so_far, 0),
        'zeros', count_if(return = 0) OVER so_far,
        'bars', count(close) OVER so_far,
        'volumes', count(log_volume) OVER so_far,
        'volume', coalesce(sum(log_volume) OVER so_far, 0)
    ) AS total, avg(log_volume) OVER newest_5 AS volume_5,
    max(high) OVER newest_15 AS highest_15, min(low) OVER newest_15 AS lowest_15
    FROM moved WINDOW {_WINDOWS}
),
lagged AS (
    SELECT *, last(total) OVER until_15 AS total_15, last(total) OVER until_30 AS total_30,
        last(total) OVER until_60 AS total_60
    FROM summed WINDOW {_WINDOWS}
),
measured AS (
    SELECT {_KEY}, m, open, high, low, close, carried_before, log_volume, volume_5, highest_15, lowest_15,
        IF(close IS NULL, NULL, return) AS return_1,
        IF({_newest("returns", 60)} >= {MINIMUM_RETURNS}, {_variance(60)}, NULL) AS variance_60,
        {_variance(15)} AS variance_15,
        {_mean("volume", "volumes", 30)} AS mean_log_volume_30,
        {_mean("zeros", "returns", 60)} AS zero_share_60,
        1 - {_newest("bars", 60)} / least(m + 1, 60) AS missing_share_60
    FROM lagged
),
deviating AS (
    SELECT * EXCEPT (variance_60, variance_15), {_deviation("variance_60")} AS sig_now,
        {_deviation("variance_15")} AS volatility_15
    FROM measured
),
joined AS (
    SELECT * EXCEPT (sig_now, sig_before, volume_at, return_at), volume_5 - get(volume_at, m) AS more_volume,
        get(return_at, m) AS usual, coalesce((sig_now + sig_before) / 2, sig_now, sig_before) AS sig
    FROM deviating LEFT JOIN daily USING (session, ticker)
),
compared AS (
    SELECT * EXCEPT (sig), IF(sig < {SIGMA_FLOOR}, {SIGMA_FLOOR}, sig) AS sig,
        return_1 - avg(return_1) OVER across AS excess
    FROM joined WINDOW {_WINDOWS}
),
clipped AS (
    SELECT *, {_within(E1.expression, 8)} AS e1 FROM compared
),
collected AS (
    SELECT * EXCEPT (e1), e1 - avg(e1) OVER across AS e1, stddev_samp(e1) OVER across AS dispersion,
        coalesce(e1 * sig, 0) AS bounded_excess
    FROM clipped WINDOW {_WINDOWS}
),
loaded AS (
    SELECT *, {_listed(_loadings("e1"))} FROM collected WINDOW {_WINDOWS}
),
neutral_return AS (
    SELECT {_KEY}, m, open, high, low, close, carried_before, log_volume, more_volume, highest_15, lowest_15,
        volatility_15, mean_log_volume_30, zero_share_60, missing_share_60, dispersion, return_1, sig, {_neutral("e1")},
        basis, {_listed(_DAILY)}, usual, bounded_excess
    FROM loaded
),
added AS (
    SELECT *, {ES5.expression} AS es5, sum(bounded_excess) OVER so_far AS since_open,
        sum(bounded_excess * pow(2D, m / 2)) OVER so_far * pow(2D, -m / 2) AS recent
    FROM neutral_return WINDOW {_WINDOWS}
),
expressed AS (
    SELECT {_KEY}, m, IF(close IS NULL, NULL, sig) AS sig, return_1, e1, es5, basis, recent, since_open,
        {_listed(f"IF(close IS NULL, NULL, {name}) AS {name}" for name in (*_DAILY, "more_volume", "usual"))},
        {_listed(f"IF(close IS NULL, NULL, {item.expression}) AS {item.name}" for item in (*SHAPES, *CONDITIONERS))}
    FROM added WHERE minute >= :first
),
bounded AS (
    SELECT * EXCEPT ({_listed((*_SHAPES, *_CONDITIONERS))}),
        {_listed(f"{_within(name, 8)} AS {name}" for name in _SHAPES)},
        {_listed(f"({item.name} - {item.mean}D) / {item.spread}D AS {item.name}" for item in CONDITIONERS)}
    FROM expressed
),
demeaned AS (
    SELECT * EXCEPT ({_listed((*_SHAPES, *_CONDITIONERS))}, more_volume),
        {_listed(f"{name} - avg({name}) OVER across AS {name}" for name in (*_SHAPES, "more_volume"))},
        {_listed(f"{_within(name, 3)} AS {name}" for name in _CONDITIONERS)},
        collect_list(recent) OVER across AS recent_of_all, collect_list(since_open) OVER across AS since_open_of_all
    FROM bounded WINDOW {_WINDOWS}
),
projected AS (
    SELECT * EXCEPT (projection, recent, since_open, recent_of_all, since_open_of_all),
        IF(sig IS NULL, NULL, {_projected("recent_of_all")}) AS recent,
        IF(m < {_LATE}, NULL, {_projected("since_open_of_all")} / sig) AS late
    FROM demeaned LEFT JOIN projections USING (session, ticker)
),
loaded_again AS (
    SELECT *, {_listed(one for name in _SHAPES for one in _loadings(name))} FROM projected WINDOW {_WINDOWS}
),
neutral AS (
    SELECT {_KEY}, m, sig, return_1, e1, es5, usual, {_listed((*_DAILY, *_CONDITIONERS))},
        {_listed(_neutral(name) for name in _SHAPES)},
        recent, late, {_within("more_volume", 2)} AS more_volume
    FROM loaded_again
),
combined AS (
    SELECT {_KEY}, sig, return_1, {_listed((*_SHAPES, "e1", "es5", "late", "usual"))},
        -recent * exp(-coalesce(more_volume, 0) - coalesce(dollar_volume, 0) / 2) AS core,
        {_listed(f"{item.expression} AS {item.name}" for item in COMBINED)}
    FROM neutral
),
placed AS (
    SELECT *, {_listed(_moments(name) for name in (*_FEATURES, *_PARTS))} FROM combined WINDOW {_WINDOWS}
),
standardised AS (
    SELECT {_KEY}, sig, return_1, e1 AS neutral_e1, n_cmid AS neutral_cmid, es5 AS neutral_es5,
        {_listed(f"{_standardised(name)} AS {name}" for name in (*_FEATURES, *_PARTS))}
    FROM placed
)
SELECT {_KEY}, sig, return_1, neutral_e1, neutral_cmid, neutral_es5,
    IF(coalesce({_listed(_PARTS)}) IS NULL, NULL,
        coalesce(core, 0) + coalesce(late, 0) / 2 + coalesce(usual, 0) / 5) AS reversal,
    {_listed(f"{_within(name, 3)} AS {name}" for name in _FEATURES)}
FROM standardised
"""
