"""Features: against a pandas oracle, live against backfilled, and blind to what comes later."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import SparkSession

from stockpick_assets.core.feature_set import FEATURES, MEASURES, MINIMUM_RETURNS
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets_tests.spark import oracle
from stockpick_assets_tests.spark.market import PRICES, daily, flat, joined, market, up_to

NAMES = [feature.name for feature in FEATURES]
COLUMNS = [*(measure.name for measure in MEASURES), *NAMES]
KEY = ["session", "minute", "ticker"]
FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (17, 18, 19, 20))
OPEN = session_on(FIRST).open
NEW = "T03"  # a listing without factors


def computed(spark: SparkSession, bars: pa.Table, factors: pa.Table, first: datetime = OPEN) -> pd.DataFrame:
    """Features and measures by (session, minute, ticker); holds that a missing one is null and not NaN."""
    table = rows(features(frame(spark, bars), frame(spark, factors), first), COMPUTED)
    values = {name: table[name].to_numpy() for name in COLUMNS}
    assert all(np.isnan(values[name]).sum() == table[name].null_count for name in COLUMNS)
    assert all(np.isfinite(column[~np.isnan(column)]).all() for column in values.values())
    return pd.DataFrame(values, pd.MultiIndex.from_frame(table.select(KEY).to_pandas()))


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Two sessions: one to its end, for the features of the last minutes, and the start of another."""
    return joined([market(FIRST, tickers=12, minutes=390), market(SECOND, tickers=6, minutes=80, gaps=0.3)])


@pytest.fixture(scope="module")
def factors(bars: pa.Table) -> pa.Table:
    return joined([of_bars(FIRST, bars), of_bars(SECOND, bars, NEW)])


def of_bars(day: date, bars: pa.Table, *strangers: str) -> pa.Table:
    """FACTORS of the tickers that have rows in that session."""
    of_day = bars.filter(pc.equal(bars["session"], pa.scalar(day, pa.date32())))
    return daily(day, of_day["ticker"].unique().to_pylist(), strangers=strangers)


@pytest.fixture(scope="module")
def backfilled(spark: SparkSession, bars: pa.Table, factors: pa.Table) -> pd.DataFrame:
    return computed(spark, bars, factors)


def test_features_and_measures_agree_with_the_oracle(
    bars: pa.Table, factors: pa.Table, backfilled: pd.DataFrame
) -> None:
    expected = oracle.features(bars, factors).reindex(backfilled.index)
    exact = [name for name in COLUMNS if name != "reversal"]
    pd.testing.assert_frame_equal(backfilled[exact], expected[exact], rtol=0, atol=1e-9)
    # Its projection is made in single precision.
    pd.testing.assert_frame_equal(backfilled[["reversal"]], expected[["reversal"]], rtol=0, atol=1e-5)
    assert backfilled[NAMES].abs().max().min() > 0.5
    assert backfilled["reversal"].abs().max() > 1


def test_every_bar_has_a_row_and_a_minute_without_one_has_nulls(bars: pa.Table, backfilled: pd.DataFrame) -> None:
    given = bars.to_pandas().set_index(KEY)
    assert backfilled.index.sort_values().equals(given.index.sort_values())
    missing = given.index[given["close"].isna()]
    assert len(missing) > 20
    assert backfilled.loc[missing].isna().all(axis=None)


@pytest.mark.parametrize(("day", "minutes"), [(SECOND, 1), (SECOND, 66), (FIRST, 360)])
def test_a_minute_computed_live_equals_the_same_minute_in_a_backfill(
    spark: SparkSession, bars: pa.Table, factors: pa.Table, backfilled: pd.DataFrame, day: date, minutes: int
) -> None:
    minute = session_on(day).open + (minutes - 1) * MINUTE
    of_day = bars.filter(pc.equal(bars["session"], pa.scalar(day, pa.date32())))
    live = computed(spark, up_to(of_day, minutes), factors, minute)
    assert list(live.index.unique("minute")) == [minute]
    pd.testing.assert_frame_equal(live, backfilled.reindex(live.index), rtol=0, atol=1e-12)


def test_factors_of_other_tickers_than_the_bars_are_an_error_that_names_session_and_minute(
    spark: SparkSession, bars: pa.Table
) -> None:
    of_six = of_bars(SECOND, bars, NEW)
    for known in (
        daily(SECOND, of_six["ticker"].to_pylist()[:5]),
        daily(SECOND, [*of_six["ticker"].to_pylist(), "T99"]),
    ):
        with pytest.raises(SparkConnectGrpcException, match=f"session {SECOND}: the minute .* has rows of 6 tickers"):
            computed(spark, bars, joined([of_bars(FIRST, bars), known]), session_on(SECOND).open)


def test_a_bar_that_changes_after_a_minute_changes_nothing_at_or_before_it(
    spark: SparkSession, bars: pa.Table, factors: pa.Table, backfilled: pd.DataFrame
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
    changed = computed(spark, pa.Table.from_pandas(given, bars.schema, preserve_index=False), factors)
    before = pd.MultiIndex.from_frame(given.loc[~later, KEY])
    assert len(before) == past
    pd.testing.assert_frame_equal(changed.loc[before], backfilled.loc[before], rtol=0, atol=1e-12)
    after = pd.MultiIndex.from_frame(given.loc[later, KEY])
    assert not np.allclose(changed.loc[after], backfilled.loc[after], equal_nan=True)


def test_a_ticker_with_a_history_has_features_from_the_first_minute_on(backfilled: pd.DataFrame) -> None:
    known = backfilled.loc[SECOND].drop(index=NEW, level="ticker").dropna(subset="n_bar")
    first = known.index.get_level_values("minute") == session_on(SECOND).open
    of_returns = [name for name in NAMES if name == "n_og" or name.split("_")[0] in ("e1", "es5")]
    waiting = [*of_returns, "b_e1x", "b_e5x", "cm_vol", "cm_zero", "cm_dispersion"]
    assert known.loc[first, waiting].isna().all(axis=None)
    assert known.loc[first].drop(columns=[*waiting, "return_1", "neutral_e1", "neutral_es5"]).notna().all(axis=None)


def test_a_ticker_without_one_has_to_wait_for_the_returns_of_this_session(backfilled: pd.DataFrame) -> None:
    new = backfilled.xs((SECOND, NEW), level=("session", "ticker")).dropna(subset="n_bar")
    early = new.index < new.index[0] + MINIMUM_RETURNS * MINUTE
    of_history = [name for name in NAMES if name.startswith("b_") and not name.endswith("x")]
    needs_sig = new.drop(columns=["n_bar", "n_drift", "return_1", *of_history])
    assert early.sum() > 5
    assert needs_sig[early].isna().all(axis=None)
    assert new.loc[~early, ["sig", "n_cmid", "reversal"]].notna().all(axis=None)


def test_bars_that_tell_nothing_apart_give_zeros_or_nulls_and_never_nan(spark: SparkSession) -> None:
    alone = market(SECOND, tickers=1, minutes=30)
    traded = market(THIRD, tickers=3, minutes=30, gaps=0)
    given = traded.to_pandas()
    given["volume"] = None
    given.loc[given["ticker"] == "T02", PRICES] = None
    unknown = pa.Table.from_pandas(given, traded.schema, preserve_index=False)
    sessions = {FIRST: flat(FIRST), SECOND: alone, THIRD: unknown, FOURTH: flat(FOURTH, volume=5.0)}
    factors = [
        daily(day, bars["ticker"].unique().to_pylist(), strangers=() if day == FOURTH else ("T00", "T01", "T02"))
        for day, bars in sessions.items()
    ]
    answer = computed(spark, joined(list(sessions.values())), joined(factors))
    ready = answer[answer["n_cmid"].notna()][[*NAMES, "reversal"]]
    of_several = [name for name in NAMES if name.endswith("_dispersion")]
    assert (ready.loc[FIRST] == 0).all(axis=None)
    assert ready.loc[SECOND, of_several].isna().all(axis=None)
    assert (ready.loc[SECOND].drop(columns=of_several) == 0).all(axis=None)
    assert (ready.loc[FOURTH, ["n_cmid", "e1", "cm_vol"]].fillna(0) == 0).all(axis=None)
    assert ready.loc[FOURTH, "reversal"].abs().max() > 0, "what is usual of the minute is left"
    assert answer.xs("T02", level="ticker").loc[THIRD].isna().all(axis=None)
    assert ready.loc[THIRD, ["cm_volume", "e1_volume"]].isna().all(axis=None)
    assert ready.loc[THIRD].drop(columns=["cm_volume", "e1_volume"]).notna().all(axis=None)
    assert ready.loc[THIRD, "reversal"].abs().max() > 0, "without volume the residual is left"
