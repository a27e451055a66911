"""What is known of tickers before a session: from made-up sessions whose factors, slopes and habits are planted."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.factors import BASIS, SESSION_MINUTES, aligned, factors, matched
from stockpick_assets.core.market_hours import MINUTE, Session, session_on, sessions_until
from stockpick_assets.core.schemas import FACTORS, RAW_PRICES, TIMESTAMP, TRAINING_SET

*EARLIER, SESSION = sessions_until(date(2026, 11, 20), 4)
TICKERS = [f"T{number:02d}" for number in range(25)]
NUMBERS = ("slope_e1", "slope_cmid", "slope_es5", "drift", "dollar_volume")


def bars_of(session: Session, closes: np.ndarray, volumes: np.ndarray, tickers: Sequence[str] = TICKERS) -> pa.Table:
    """RAW_PRICES of matrices of minutes × tickers; NaN is no bar."""
    minutes = session.minutes()[: len(closes)]
    rows = pd.DataFrame(
        {
            "session": session.date,
            "minute": np.repeat(minutes, len(tickers)),
            "ticker": list(tickers) * len(closes),
            "close": closes.ravel(),
            "volume": volumes.ravel(),
        }
    )
    columns = [
        pa.array(rows[field.name], field.type, from_pandas=True)
        if field.name in rows
        else pa.nulls(len(rows), field.type)
        for field in RAW_PRICES.columns
    ]
    return pa.table(columns, schema=RAW_PRICES.columns)


def training_of(rows: pd.DataFrame) -> pa.Table:
    """TRAINING_SET of the columns that are given."""
    return pa.Table.from_pylist(rows.to_dict("records"), schema=TRAINING_SET.columns)


def matrix(table: pa.Table, column: str) -> np.ndarray:
    return np.array(table[column].to_pylist(), dtype=float)


def walk(session: Session, common: np.ndarray, seed: int) -> np.ndarray:
    """Closes that are driven by one common factor with these loadings."""
    random = np.random.default_rng([seed, session.date.toordinal()])
    returns = random.normal(0, 1e-3, (session.length, 1)) * common + random.normal(
        0, 1e-4, (session.length, len(common))
    )
    return 50 * np.exp(returns.cumsum(axis=0))


LOADINGS = np.linspace(-1, 2, len(TICKERS))


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    volumes = {one: np.full((one.length, len(TICKERS)), 100.0) * np.arange(1, 26) for one in EARLIER}
    return pa.concat_tables(bars_of(one, walk(one, LOADINGS, 1), volumes[one]) for one in EARLIER)


@pytest.fixture(scope="module")
def made(bars: pa.Table) -> pa.Table:
    return factors(SESSION, TICKERS[::-1], "simulated", bars, TRAINING_SET.empty())


def test_there_is_one_row_a_ticker_valid_for_the_session(made: pa.Table) -> None:
    assert made.schema.equals(FACTORS.columns)
    assert made["ticker"].to_pylist() == TICKERS
    assert set(made["session"].to_pylist()) == {SESSION.date}
    assert set(made["sessions"].to_pylist()) == {3}


def test_the_common_factor_is_taken_out_of_returns_and_the_mean_too(made: pa.Table) -> None:
    projection, basis = matrix(made, "projection"), matrix(made, "basis")
    assert np.abs(projection @ np.ones(25)).max() < 1e-9
    assert np.linalg.norm(projection @ LOADINGS) < 0.02 * np.linalg.norm(LOADINGS - LOADINGS.mean())
    used = basis[:, : round(0.08 * 25)]
    np.testing.assert_allclose(used.T @ used, np.eye(2), atol=1e-9)
    assert np.abs(basis.sum(axis=0)).max() < 1e-9
    assert (basis[:, 2:] == 0).all()


def test_the_label_basis_spans_the_factors_times_the_tickers_spread(made: pa.Table) -> None:
    label, spread = matrix(made, "label_basis"), matrix(made, "spread")
    loadings = LOADINGS - LOADINGS.mean()
    left = loadings - label @ (label.T @ loadings)
    assert np.linalg.norm(left) < 0.02 * np.linalg.norm(loadings)
    np.testing.assert_allclose(spread, np.abs(loadings) * 1e-3 * np.sqrt(5), rtol=0.2, atol=4e-4)


def test_what_a_ticker_moves_and_trades_is_the_mean_of_its_sessions(bars: pa.Table, made: pa.Table) -> None:
    rows = bars.to_pandas()
    spreads = rows.groupby(["session", "ticker"])["close"].apply(lambda close: np.log(close).diff().std(ddof=0))
    np.testing.assert_allclose(matrix(made, "sig_before"), spreads.groupby("ticker").mean(), rtol=1e-9)
    dollars = np.log((rows["close"] * rows["volume"]).groupby(rows["ticker"]).mean())
    expected = ((dollars - dollars.mean()) / dollars.std(ddof=0)).clip(-3, 3)
    np.testing.assert_allclose(matrix(made, "dollar_volume"), expected, rtol=1e-9)
    np.testing.assert_allclose(
        matrix(made, "volume_at"), np.log1p(100.0 * np.arange(1, 26))[:, None] * np.ones(SESSION_MINUTES)
    )


def test_a_session_that_stopped_early_moved_as_much_as_its_minutes_did() -> None:
    session = EARLIER[-1]
    closes = walk(session, LOADINGS, 1)[:60]
    made = factors(SESSION, TICKERS, "simulated", bars_of(session, closes, closes * 10), TRAINING_SET.empty())
    np.testing.assert_allclose(matrix(made, "sig_before"), np.diff(np.log(closes), axis=0).std(axis=0), rtol=1e-9)


def test_the_return_after_a_minute_of_the_day_is_remembered_until_half_an_hour_before_the_close() -> None:
    def session_bars(one: Session) -> pa.Table:
        closes = walk(one, np.zeros(25), 2)
        closes[:, 3] *= 1 + 0.004 * np.clip((np.arange(len(closes)) - 100) / 30, 0, 1)
        return bars_of(one, closes, np.ones(closes.shape))

    made = factors(SESSION, TICKERS, "simulated", pa.concat_tables(map(session_bars, EARLIER)), TRAINING_SET.empty())
    after = matrix(made, "return_at")
    others = np.delete(after, 3, axis=0)
    assert after[3, 100] > 3 > np.abs(others[:, 95:106]).max()
    assert abs(after[3, 200:330].mean()) < 1
    assert np.isnan(after[:, -30:]).all()
    assert not np.isnan(after[:, :-30]).any()


def test_a_slope_is_what_a_ticker_took_back_of_a_move_and_no_other_tickers() -> None:
    random = np.random.default_rng(5)
    rows = pd.DataFrame(
        {"session": EARLIER[0].date, "ticker": np.tile(TICKERS, 50), "neutral_e1": random.normal(0, 1, 1250)}
    )
    rows["neutral_cmid"] = rows["neutral_e1"] * 2
    slope = rows["ticker"].map(dict(zip(TICKERS, np.linspace(-0.5, 0.5, 25), strict=True)))
    rows["neutral_forward"] = slope * rows["neutral_e1"]
    rows.loc[rows["ticker"] == "T07", "neutral_forward"] = np.nan
    rows = rows.astype(object).where(rows.notna(), None)
    made = factors(SESSION, TICKERS, "simulated", RAW_PRICES.empty(), training_of(rows))
    expected = np.linspace(-0.5, 0.5, 25)
    expected[7] = 0
    np.testing.assert_allclose(matrix(made, "slope_e1"), expected, atol=1e-12)
    np.testing.assert_allclose(matrix(made, "slope_cmid"), expected / 2, atol=1e-12)
    assert (matrix(made, "slope_es5") == 0).all()


def test_the_drift_is_the_mean_forward_return_of_the_newest_ten_sessions_against_the_other_tickers() -> None:
    days = [one.date for one in sessions_until(EARLIER[-1].date, 12)]
    rows = pd.DataFrame(
        [
            {"session": day, "ticker": ticker, "neutral_forward": 100.0 if number < 2 else float(place)}
            for number, day in enumerate(days)
            for place, ticker in enumerate(TICKERS)
        ]
    )
    made = factors(SESSION, TICKERS, "simulated", RAW_PRICES.empty(), training_of(rows))
    np.testing.assert_allclose(matrix(made, "drift"), np.arange(25) - 12.0, atol=1e-12)


def test_without_any_past_nothing_is_taken_out_of_excess_returns() -> None:
    made = factors(SESSION, TICKERS, "simulated", RAW_PRICES.empty(), TRAINING_SET.empty())
    assert made["sig_before"].null_count == made["spread"].null_count == 25
    np.testing.assert_array_equal(matrix(made, "projection"), np.eye(25))
    assert all((matrix(made, name) == 0).all() for name in (*NUMBERS, "basis", "label_basis"))
    assert made.drop_columns(["sig_before", "spread"]).equals(
        aligned(FACTORS.empty(), [SESSION.date], TICKERS)
        .set_column(1, "source", made["source"])
        .drop_columns(["sig_before", "spread"])
    )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_tickers_constant_prices_and_missing_bars_give_numbers_and_nulls_but_no_nan(count: int) -> None:
    half_day = session_on(date(2026, 11, 27))
    closes, volumes = np.full((half_day.length, count), 20.0), np.zeros((half_day.length, count))
    closes[:, 0] = np.nan
    volumes[:, -1] = np.nan
    made = factors(
        session_on(date(2026, 11, 30)),
        TICKERS[:count],
        "simulated",
        bars_of(half_day, closes, volumes, TICKERS[:count]),
        TRAINING_SET.empty(),
    )
    for name in ("basis", "label_basis", "projection", *NUMBERS):
        assert np.isfinite(matrix(made, name)).all(), name
    for name in ("sig_before", "spread"):
        assert all(value is None or np.isfinite(value) for value in made[name].to_pylist()), name
    for name in ("volume_at", "return_at"):
        values = [value for row in made[name].to_pylist() for value in row]
        assert all(value is None or np.isfinite(value) for value in values), name
    assert matrix(made, "basis").shape == (count, BASIS)


def test_aligned_leaves_what_is_stored_of_the_same_tickers_as_it_is(made: pa.Table) -> None:
    assert aligned(made, [SESSION.date], TICKERS[::-1]).equals(made)


def test_a_ticker_that_is_not_stored_stands_beside_the_others_with_nothing_known(made: pa.Table) -> None:
    answer = aligned(made, [SESSION.date], ["NEW", *TICKERS[5:]])
    assert answer["ticker"].to_pylist() == ["NEW", *TICKERS[5:]]
    new, known = answer.slice(0, 1), answer.slice(1)
    assert new["sig_before"].to_pylist() == [None]
    assert all(new[name].to_pylist() == [0.0] for name in NUMBERS)
    assert known.select(["sig_before", "volume_at", *NUMBERS]).equals(
        made.slice(5).select(["sig_before", "volume_at", *NUMBERS])
    )
    np.testing.assert_array_equal(matrix(known, "projection")[:, 1:], matrix(made, "projection")[5:, 5:])
    projection = matrix(answer, "projection")
    np.testing.assert_array_equal(projection[0], np.eye(21)[0])
    np.testing.assert_array_equal(projection[:, 0], np.eye(21)[0])


def test_every_session_asked_for_has_its_rows_whether_it_is_stored_or_not(made: pa.Table) -> None:
    answer = aligned(made, [EARLIER[-1].date, SESSION.date], TICKERS)
    assert answer.num_rows == 50
    assert answer.slice(25).equals(made)
    assert answer.slice(0, 25)["sessions"].to_pylist() == [0] * 25


@given(st.sets(st.tuples(st.sampled_from(EARLIER[:2]), st.integers(0, 3), st.sampled_from(TICKERS[:4])), min_size=1))
def test_matched_bars_and_factors_are_of_every_ticker_in_every_minute(
    made: pa.Table, rows: set[tuple[Session, int, str]]
) -> None:
    bars = pa.table(
        {
            "session": [session.date for session, _, _ in rows],
            "minute": pa.array([session.open + number * MINUTE for session, number, _ in rows], TIMESTAMP),
            "ticker": [ticker for _, _, ticker in rows],
            "source": ["simulated"] * len(rows),
            "close": [20.0] * len(rows),
        }
    )
    every, known = matched(bars, made)
    assert every.slice(0, len(rows)).equals(bars)
    minutes = {(session.date, session.open + number * MINUTE) for session, number, _ in rows}
    tickers = sorted({ticker for _, _, ticker in rows})
    keys = zip(*(every[name].to_pylist() for name in ("session", "minute", "ticker")), strict=True)
    assert sorted(keys) == sorted((*minute, ticker) for minute in minutes for ticker in tickers)
    added = every.slice(len(rows))
    assert set(added["source"].to_pylist()) <= {"simulated"} and added["close"].null_count == added.num_rows
    assert known.equals(aligned(made, [*dict.fromkeys(bars["session"].to_pylist())], tickers))
