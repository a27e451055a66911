"""The features of every (ticker, minute) from the bars of the session so far: one SQL statement, live and backfilled.

What belongs here: the steps that the feature table (core/feature_set.py) presupposes. What does not: what a feature
is, or any row later than the minute. Every window is a session's, looks back or across the minute only, and has an
order, so that a minute comes out the same to the last bit however much of the session follows it. Long windows are
differences of running sums, because Spark computes a sliding frame anew for each row.
"""

from collections.abc import Iterable
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from stockpick_assets.core.feature_set import CONDITIONERS, FEATURES, MINIMUM_RETURNS, SIGMA_FLOOR
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS

COMPUTED = FEATURE_ROWS.without(BARS_FETCHED_AT)

_KEY = "session, minute, ticker, source"
# Minutes before its own that a combined feature reads. Of those before them bars are summed, and nothing is compared:
# comparing a whole session for its last minute alone took half as long again.
_MINUTES_BEFORE = 4
_OF_TICKER = "PARTITION BY session, ticker ORDER BY m"
_WINDOWS = f"""
    before AS ({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    so_far AS ({_OF_TICKER} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    until_15 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 15 PRECEDING),
    until_30 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 30 PRECEDING),
    until_60 AS ({_OF_TICKER} RANGE BETWEEN UNBOUNDED PRECEDING AND 60 PRECEDING),
    previous_4 AS ({_OF_TICKER} RANGE BETWEEN {_MINUTES_BEFORE} PRECEDING AND 1 PRECEDING),
    across AS (PARTITION BY session, minute ORDER BY ticker
               ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"""


def features(spark: SparkSession, bars: DataFrame, first: datetime) -> DataFrame:
    """One row a (ticker, minute) of `bars` from the minute `first` on, columns COMPUTED.

    bars: columns `session minute ticker source open high low close volume` of RAW_PRICES, of one or more whole
    sessions so far, one row a (ticker, minute), nulls where there is no bar. A feature is null where the minute has no
    bar or the ticker too short a history in the session; `n_bar` alone needs the bar only.
    """
    return spark.sql(_STATEMENT, args={"first": first}, bars=bars)


def _within(value: str, bound: int) -> str:
    # Not least(greatest()): Spark's skip nulls, and would make a missing value the bound.
    return f"CASE WHEN {value} > {bound} THEN {bound} WHEN {value} < -{bound} THEN -{bound} ELSE {value} END"


def _moments(name: str) -> str:
    return f"avg({name}) OVER across AS mean_{name}, stddev_pop({name}) OVER across AS spread_{name}"


def _standardised(name: str) -> str:
    """Distance from the mean across tickers in population standard deviations; 0 where all are equal."""
    # Equal values differ by rounding: without the bound a spread of 1e-17 would be blown up to ±1.
    return f"IF(spread_{name} > 1e-9, ({name} - mean_{name}) / spread_{name}, 0 * {name})"


def _newest(total: str, minutes: int) -> str:
    """A running sum's growth in the newest `minutes` minutes."""
    return f"(total.{total} - coalesce(total_{minutes}.{total}, 0))"


def _mean(total: str, count: str, minutes: int) -> str:
    return f"try_divide({_newest(total, minutes)}, {_newest(count, minutes)})"


def _deviation(minutes: int) -> str:
    """Population standard deviation of the newest `minutes` returns."""
    mean = _mean("return", "returns", minutes)
    return f"sqrt(greatest({_mean('square', 'returns', minutes)} - {mean} * {mean}, 0))"


def _listed(expressions: Iterable[str]) -> str:
    return ",\n        ".join(expressions)


_SHAPES = [feature for feature in FEATURES if not feature.combined]

_STATEMENT = f"""
WITH bar AS (
    SELECT {_KEY}, open, high, low, close, volume, ln(1 + volume) AS log_volume,
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
        'volumes', count(log_volume) OVER so_far,
        'volume', coalesce(sum(log_volume) OVER so_far, 0)
    ) AS total
    FROM moved WINDOW {_WINDOWS}
),
lagged AS (
    SELECT *, last(total) OVER until_15 AS total_15, last(total) OVER until_30 AS total_30,
        last(total) OVER until_60 AS total_60
    FROM summed WINDOW {_WINDOWS}
),
measured AS (
    SELECT {_KEY}, m, open, high, low, close, volume, carried_before, IF(close IS NULL, NULL, return) AS return,
        IF({_newest("returns", 60)} >= {MINIMUM_RETURNS}, greatest({_deviation(60)}, {SIGMA_FLOOR}), NULL) AS sig,
        {_deviation(15)} AS volatility_15,
        {_mean("volume", "volumes", 30)} AS mean_log_volume_30,
        {_mean("zeros", "returns", 60)} AS zero_share_60
    FROM lagged
),
compared AS (
    SELECT *, return - avg(return) OVER across AS market_excess
    FROM measured WHERE minute >= :first - INTERVAL {_MINUTES_BEFORE} MINUTES WINDOW {_WINDOWS}
),
expressed AS (
    SELECT {_KEY}, m, IF(close IS NULL, NULL, sig) AS sig, return AS return_1,
        {_listed(f"IF(close IS NULL, NULL, {item.expression}) AS {item.name}" for item in (*_SHAPES, *CONDITIONERS))}
    FROM compared
),
clipped AS (
    SELECT {_KEY}, m, sig, return_1, {_listed(item.name for item in CONDITIONERS)},
        {_listed(f"{_within(item.name, 8)} AS {item.name}" for item in _SHAPES)}
    FROM expressed
),
placed AS (
    SELECT *, {_listed(_moments(item.name) for item in (*_SHAPES, *CONDITIONERS))} FROM clipped WINDOW {_WINDOWS}
),
neutral AS (
    SELECT {_KEY}, m, sig, return_1, {_listed(f"{item.name} - mean_{item.name} AS {item.name}" for item in _SHAPES)},
        {_listed(f"{_within(_standardised(item.name), 3)} AS {item.name}" for item in CONDITIONERS)}
    FROM placed
),
combined AS (
    SELECT {_KEY}, sig, return_1, {_listed(item.name for item in _SHAPES)},
        {_listed(f"{item.expression} AS {item.name}" for item in FEATURES if item.combined)}
    FROM neutral WINDOW {_WINDOWS}
),
compared_again AS (
    SELECT *, {_listed(_moments(item.name) for item in FEATURES)} FROM combined WINDOW {_WINDOWS}
),
standardised AS (
    SELECT {_KEY}, sig, return_1, e1 AS neutral_e1, n_cmid AS neutral_cmid, es5 AS neutral_es5,
        {_listed(f"{_standardised(item.name)} AS {item.name}" for item in FEATURES)} FROM compared_again
)
SELECT {_KEY}, sig, return_1, neutral_e1, neutral_cmid, neutral_es5, -es5 AS reversal,
    {_listed(f"{_within(item.name, 3)} AS {item.name}" for item in FEATURES)} FROM standardised
WHERE minute >= :first
"""
