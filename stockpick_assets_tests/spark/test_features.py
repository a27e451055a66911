"""Features: against a pandas oracle, live against backfilled, and blind to what comes later."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.feature_set import FEATURES, MINIMUM_RETURNS
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets_tests.spark import oracle
from stockpick_assets_tests.spark.market import PRICES, flat, joined, market, up_to

NAMES = [feature.name for feature in FEATURES]
KEY = ["session", "minute", "ticker"]
FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (17, 18, 19, 20))
OPEN = session_on(FIRST).open


def computed(spark: SparkSession, bars: pa.Table, first: datetime = OPEN) -> pd.DataFrame:
    """Features by (session, minute, ticker); holds that a missing one is null and not NaN."""
    table = rows(features(spark, frame(spark, bars), first), COMPUTED)
    values = {name: table[name].to_numpy() for name in NAMES}
    assert all(np.isnan(values[name]).sum() == table[name].null_count for name in NAMES)
    assert all(np.isfinite(column[~np.isnan(column)]).all() for column in values.values())
    return pd.DataFrame(values, pd.MultiIndex.from_frame(table.select(KEY).to_pandas()))


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Two sessions: one to its end, for the features of the last minutes, and the start of another."""
    return joined([market(FIRST, tickers=5, minutes=390), market(SECOND, tickers=6, minutes=80, gaps=0.3)])


@pytest.fixture(scope="module")
def backfilled(spark: SparkSession, bars: pa.Table) -> pd.DataFrame:
    return computed(spark, bars)


def test_features_agree_with_the_oracle(bars: pa.Table, backfilled: pd.DataFrame) -> None:
    expected = oracle.features(bars).reindex(backfilled.index)
    pd.testing.assert_frame_equal(backfilled[NAMES], expected[NAMES], rtol=0, atol=1e-9)
    assert backfilled[NAMES].abs().max().min() > 0.5


def test_every_bar_has_a_row_and_a_minute_without_one_has_nulls(bars: pa.Table, backfilled: pd.DataFrame) -> None:
    given = bars.to_pandas().set_index(KEY)
    assert backfilled.index.sort_values().equals(given.index.sort_values())
    missing = given.index[given["close"].isna()]
    assert len(missing) > 20
    assert backfilled.loc[missing].isna().all(axis=None)


@pytest.mark.parametrize("minutes", [1, MINIMUM_RETURNS + 1, 66])
def test_a_minute_computed_live_equals_the_same_minute_in_a_backfill(
    spark: SparkSession, bars: pa.Table, backfilled: pd.DataFrame, minutes: int
) -> None:
    minute = session_on(SECOND).open + (minutes - 1) * MINUTE
    live = computed(spark, up_to(bars, minutes), minute)
    assert list(live.index.unique("minute")) == [minute]
    pd.testing.assert_frame_equal(live, backfilled.reindex(live.index), rtol=0, atol=1e-12)


def test_a_bar_that_changes_after_a_minute_changes_nothing_at_or_before_it(
    spark: SparkSession, bars: pa.Table, backfilled: pd.DataFrame
) -> None:
    past = up_to(bars, 45).num_rows
    given = bars.to_pandas()
    later = given.groupby("session")["minute"].transform(lambda minute: minute - minute.min()) >= pd.Timedelta(
        minutes=45
    )
    random = np.random.default_rng(3)
    given.loc[later, PRICES] = given.loc[later, PRICES].mul(random.uniform(0.5, 2, later.sum()), axis=0)
    given.loc[later, "volume"] *= 100
    given.loc[later & (random.random(len(given)) < 0.2), [*PRICES, "volume"]] = None
    changed = computed(spark, pa.Table.from_pandas(given, bars.schema, preserve_index=False))
    before = pd.MultiIndex.from_frame(given.loc[~later, KEY])
    assert len(before) == past
    pd.testing.assert_frame_equal(changed.loc[before], backfilled.loc[before], rtol=0, atol=1e-12)
    after = pd.MultiIndex.from_frame(given.loc[later, KEY])
    assert not np.allclose(changed.loc[after], backfilled.loc[after], equal_nan=True)


def test_the_first_minutes_have_no_feature_but_the_close_within_its_bar(backfilled: pd.DataFrame) -> None:
    minute = backfilled.index.get_level_values("minute")
    early = backfilled[minute < minute.min() + pd.Timedelta(minutes=MINIMUM_RETURNS)]
    assert early["n_bar"].notna().any()
    assert early.drop(columns="n_bar").isna().all(axis=None)


def test_bars_that_tell_nothing_apart_give_zeros_and_never_nan(spark: SparkSession) -> None:
    alone = market(SECOND, tickers=1, minutes=30)
    without_volume = market(THIRD, tickers=3, minutes=30, gaps=0)
    unknown = without_volume.set_column(
        without_volume.column_names.index("volume"), "volume", pa.nulls(without_volume.num_rows, pa.float64())
    )
    answer = computed(spark, joined([flat(FIRST), alone, unknown, flat(FOURTH, volume=5.0)]))
    ready = answer[answer["n_cmid"].notna()]
    for day in (FIRST, SECOND, FOURTH):
        assert (ready.loc[day] == 0).all(axis=None), day
    assert ready.loc[THIRD, "cm_volume"].isna().all()
    assert ready.loc[THIRD].drop(columns="cm_volume").notna().all(axis=None)
