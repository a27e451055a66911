"""Indicators: against their plain recursions and sums done by hand, live against backfilled, blind to what follows."""

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.indicators import INDICATORS
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.spark.frames import frame
from stockpick_assets.spark.indicators import indicators, with_indicators

NAMES = [indicator.name for indicator in INDICATORS]
KEY = ["session", "minute", "ticker"]
FIRST, SECOND = date(2026, 11, 17), date(2026, 11, 18)
OPEN = session_on(FIRST).open


def trading(day: date, ticker: str, minutes: int, *, gaps: float = 0.0, unknown: float = 0.0) -> pd.DataFrame:
    """Seeded bars of a ticker's first minutes of a session. gaps, unknown: share of minutes without bar or volume."""
    random = np.random.default_rng([day.toordinal(), *ticker.encode()])
    close = np.round(80 * np.exp(np.cumsum(random.normal(0, 1e-3, minutes))), 2)
    volume = np.where(random.random(minutes) < unknown, np.nan, np.floor(np.exp(random.normal(7, 1.5, minutes))))
    start = session_on(day).open
    rows = pd.DataFrame(
        {
            "session": day,
            "minute": [start + number * MINUTE for number in range(minutes)],
            "ticker": ticker,
            "source": "simulated",
            "high": np.round(close + random.exponential(0.05, minutes), 2),
            "low": np.round(close - random.exponential(0.05, minutes), 2),
            "close": close,
            "volume": volume,
        }
    )
    rows.loc[random.random(minutes) < gaps, ["high", "low", "close", "volume"]] = np.nan
    return rows


def simple(
    closes: Sequence[float], highs: Sequence[float], lows: Sequence[float], volumes: Sequence[float]
) -> pd.DataFrame:
    """Bars of one ticker, from its first minute on."""
    rows = trading(FIRST, "A", len(closes))
    return rows.assign(close=closes, high=highs, low=lows, volume=volumes)


def computed(spark: SparkSession, bars: pd.DataFrame, first: datetime = OPEN) -> pd.DataFrame:
    """Indicators by (session, minute, ticker); holds that a missing one is null and not NaN."""
    columns = [field.with_nullable(True) for field in RAW_PRICES.columns if field.name in bars]
    given = pa.Table.from_pandas(bars, pa.schema(columns), preserve_index=False)
    table = indicators(frame(spark, given), first).toArrow()
    assert table.column_names == [*KEY, "source", *NAMES]
    values = {name: table[name].to_numpy() for name in NAMES}
    assert all(np.isnan(values[name]).sum() == table[name].null_count for name in NAMES)
    assert all(np.isfinite(column[~np.isnan(column)]).all() for column in values.values())
    return pd.DataFrame(values, pd.MultiIndex.from_frame(table.select(KEY).to_pandas())).sort_index()


def recursive(values: np.ndarray, length: int, weight: float) -> np.ndarray:
    """The recursive mean of the values that exist, seeded with the mean of the first `length`."""
    answer, begun = np.full(len(values), np.nan), int(np.isnan(values).sum())
    if begun + length > len(values):
        return answer
    answer[begun + length - 1] = values[begun : begun + length].mean()
    for bar in range(begun + length, len(values)):
        answer[bar] = answer[bar - 1] + weight * (values[bar] - answer[bar - 1])
    return answer


def expected(bars: pd.DataFrame) -> pd.DataFrame:
    """The indicators, each by its definition in a loop over the bars of one ticker of one session."""
    answers = []
    for _, group in bars.dropna(subset="close").groupby(["session", "ticker"]):
        high, low, close, volume = (group[name].to_numpy() for name in ("high", "low", "close", "volume"))
        count = len(close)
        rise, fall, ranges = np.full((3, count), np.nan)
        vwap, obv, middle, spread = np.full((4, count), np.nan)
        value = shares = balance = 0.0
        for bar in range(count):
            if bar:
                rise[bar] = max(close[bar] - close[bar - 1], 0)
                fall[bar] = max(close[bar - 1] - close[bar], 0)
                ranges[bar] = max(high[bar] - low[bar], abs(high[bar] - close[bar - 1]), abs(low[bar] - close[bar - 1]))
            if not np.isnan(volume[bar]):
                value += (high[bar] + low[bar] + close[bar]) / 3 * volume[bar]
                shares += volume[bar]
                balance += 0 if not bar else volume[bar] * np.sign(close[bar] - close[bar - 1])
            vwap[bar], obv[bar] = value / shares if shares else np.nan, balance
            if bar >= 19:
                newest = close[bar - 19 : bar + 1]
                middle[bar], spread[bar] = newest.mean(), np.sqrt(((newest - newest.mean()) ** 2).mean())
        up, down = recursive(rise, 14, 1 / 14), recursive(fall, 14, 1 / 14)
        macd = recursive(close, 12, 2 / 13) - recursive(close, 26, 2 / 27)
        signal = recursive(macd, 9, 2 / 10)
        answer = group[KEY].assign(
            rsi_14=100 - 100 / (1 + up / down),
            macd=macd,
            macd_signal=signal,
            macd_histogram=macd - signal,
            bollinger_middle=middle,
            bollinger_upper=middle + 2 * spread,
            bollinger_lower=middle - 2 * spread,
            atr_14=recursive(ranges, 14, 1 / 14),
            vwap=vwap,
            obv=obv,
            ema_20=recursive(close, 20, 2 / 21),
            sma_20=middle,
        )
        answers.append(answer)
    return pd.concat(answers).set_index(KEY).sort_index()


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """Two sessions: a ticker in each minute, one with gaps, one whose volume is often not known, one with few bars."""
    return pd.concat(
        [
            trading(FIRST, "A", 390),
            trading(FIRST, "B", 390, gaps=0.4),
            trading(SECOND, "A", 60),
            trading(SECOND, "B", 60, unknown=0.3),
            trading(SECOND, "C", 12),
        ]
    )


@pytest.fixture(scope="module")
def backfilled(spark: SparkSession, bars: pd.DataFrame) -> pd.DataFrame:
    return computed(spark, bars)


def test_indicators_agree_with_their_plain_recursions(bars: pd.DataFrame, backfilled: pd.DataFrame) -> None:
    oracle = expected(bars)
    pd.testing.assert_frame_equal(backfilled, oracle[NAMES], rtol=1e-9, atol=1e-11, check_dtype=False)
    assert backfilled.loc[FIRST].notna().any().all()


def test_five_hundred_bars_are_as_exact_as_twenty(spark: SparkSession) -> None:
    """Weights grow to 1e48 on the way; more bars than a session has, in one."""
    bars = trading(FIRST, "A", 502)
    answer, oracle = computed(spark, bars), expected(bars)[NAMES]
    pd.testing.assert_frame_equal(answer.tail(20), oracle.tail(20), rtol=1e-9, atol=1e-11)


def test_what_can_be_added_up_by_hand(spark: SparkSession) -> None:
    """Closes rise by 1 from 10 to 29, then fall by 14; ranges 2; volumes 100 but for the last two: 300 and unknown."""
    closes = [*map(float, range(10, 30)), 15.0, 16.0]
    bars = simple(closes, [c + 1 for c in closes], [c - 1 for c in closes], [100.0] * 20 + [300.0, np.nan])
    answer = computed(spark, bars).reset_index()
    assert answer["sma_20"][19] == answer["bollinger_middle"][19] == answer["ema_20"][19] == 19.5
    spread = np.sqrt(33.25)  # (20² − 1) / 12
    assert answer["bollinger_upper"][19] == pytest.approx(19.5 + 2 * spread, rel=1e-12)
    assert answer["bollinger_lower"][19] == pytest.approx(19.5 - 2 * spread, rel=1e-12)
    assert answer["rsi_14"][19] == pytest.approx(100)
    assert answer["rsi_14"][20] == pytest.approx(100 * 13 / (13 + 14))  # smoothed rise 13/14, smoothed fall 14/14
    assert answer["atr_14"][19] == pytest.approx(2)
    assert answer["atr_14"][20] == pytest.approx((13 * 2 + 15) / 14)  # from the close of 29 to the low of 14
    assert answer["ema_20"][20] == pytest.approx(19.5 + 2 / 21 * (15 - 19.5))
    assert answer["obv"].tolist() == [100.0 * bar for bar in range(20)] + [1600.0, 1600.0]
    assert answer["vwap"][19] == pytest.approx(19.5)
    assert answer["vwap"][20] == answer["vwap"][21] == pytest.approx((20 * 19.5 + 3 * 15) / 23)


def test_macd_of_a_steady_rise_is_the_lag_between_its_means(spark: SparkSession) -> None:
    """A mean over n bars lags a straight line by (n − 1) / 2 from its seed on: here 12.5 − 5.5 times the slope."""
    closes = [100 + 0.5 * bar for bar in range(40)]
    answer = computed(spark, simple(closes, closes, closes, [1.0] * 40))
    np.testing.assert_allclose(answer["macd"].iloc[25:], 3.5, rtol=1e-12)
    np.testing.assert_allclose(answer["macd_signal"].iloc[33:], 3.5, rtol=1e-12)
    np.testing.assert_allclose(answer["macd_histogram"].iloc[33:], 0, atol=1e-12)


def test_an_indicator_begins_with_the_bar_it_needs(backfilled: pd.DataFrame) -> None:
    for keys, group in backfilled.groupby(["session", "ticker"]):
        for item in INDICATORS:
            there = group[item.name].notna().tolist()
            assert there == [bar >= item.needs for bar in range(1, len(group) + 1)], (keys, item.name)


def test_a_minute_without_a_bar_has_no_row_and_is_not_counted(
    spark: SparkSession, bars: pd.DataFrame, backfilled: pd.DataFrame
) -> None:
    own = bars[(bars["session"] == FIRST) & (bars["ticker"] == "B")]
    there = own.dropna(subset="close")
    assert len(there) < 0.7 * len(own)
    closed_up = there.assign(minute=own["minute"].iloc[: len(there)].to_numpy())
    answer = backfilled.xs((FIRST, "B"), level=("session", "ticker"))
    assert answer.index.tolist() == there["minute"].tolist()
    np.testing.assert_array_equal(answer.to_numpy(), computed(spark, closed_up).to_numpy())


def test_beside_features_a_minute_without_a_bar_has_nulls(
    spark: SparkSession, bars: pd.DataFrame, backfilled: pd.DataFrame
) -> None:
    minutes = bars[[*KEY, "source"]].assign(feature=1.0)
    given = frame(spark, pa.Table.from_pandas(bars, preserve_index=False))
    features = frame(spark, pa.Table.from_pandas(minutes, preserve_index=False))
    table = with_indicators(features, given, OPEN).toArrow()
    beside = table.to_pandas().set_index(KEY).sort_index()
    assert table["feature"].null_count == 0
    pd.testing.assert_frame_equal(beside[NAMES], backfilled.reindex(minutes.set_index(KEY).index.sort_values()))


@pytest.mark.parametrize("minutes", [1, 20, 34, 60])
def test_a_minute_computed_live_equals_the_same_minute_in_a_backfill(
    spark: SparkSession, bars: pd.DataFrame, backfilled: pd.DataFrame, minutes: int
) -> None:
    minute = session_on(SECOND).open + (minutes - 1) * MINUTE
    live = computed(spark, bars[(bars["session"] == SECOND) & (bars["minute"] <= minute)], minute)
    assert list(live.index.unique("minute")) == [minute]
    pd.testing.assert_frame_equal(live, backfilled.loc[live.index], rtol=0, atol=1e-12)


def test_a_bar_that_changes_after_a_minute_changes_nothing_at_or_before_it(
    spark: SparkSession, bars: pd.DataFrame, backfilled: pd.DataFrame
) -> None:
    last = OPEN + 200 * MINUTE
    later = (bars["session"] == FIRST) & (bars["minute"] > last)
    changed = bars.mask(later, bars.assign(**{name: bars[name] * 1.5 for name in ("high", "low", "close", "volume")}))
    answer = computed(spark, changed)
    before = answer.index.get_level_values("minute") <= last
    pd.testing.assert_frame_equal(answer[before], backfilled[before], rtol=0, atol=1e-12)
    assert not answer[~before].equals(backfilled[~before])


def test_a_close_that_never_moves_has_bands_of_no_width_and_no_rsi(spark: SparkSession) -> None:
    price, volumes = [20.0] * 40, [0.0] * 20 + [5.0] * 20
    answer = computed(spark, simple(price, price, price, volumes))
    assert answer["rsi_14"].isna().all()
    assert answer["vwap"].isna().tolist() == [True] * 20 + [False] * 20
    still = answer.drop(columns=["rsi_14", "vwap"]).iloc[-1].to_dict()
    prices = dict.fromkeys(("bollinger_middle", "bollinger_upper", "bollinger_lower", "ema_20", "sma_20"), 20.0)
    assert still == pytest.approx(prices | dict.fromkeys(("macd", "macd_signal", "macd_histogram", "atr_14", "obv"), 0))


def test_without_any_volume_there_is_neither_vwap_nor_balance(spark: SparkSession) -> None:
    answer = computed(spark, trading(FIRST, "A", 40, unknown=1.0))
    assert answer[["vwap", "obv"]].isna().all(axis=None)
    assert answer.iloc[-1].drop(["vwap", "obv"]).notna().all()
