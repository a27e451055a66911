"""The simulated exchange without troubles: the same bars for everyone, shaped like the real thing."""

import hashlib
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, Session, session_on, sessions_between
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.resources.simulated_prices import COMPLETE_SHARE
from stockpick_assets.resources.simulated_troubles import NO_TROUBLES
from stockpick_assets.resources.sources import market_data
from stockpick_assets.settings import Settings

ROOT = Path(__file__).parents[2]
SESSION = session_on(date(2026, 11, 20))
SESSIONS = sessions_between(date(2026, 11, 2), date(2026, 11, 20))
BARS = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module")
def exchange() -> SimulatedExchange:
    return SimulatedExchange(7, NASDAQ_100, NO_TROUBLES)


@pytest.fixture(scope="module")
def history(exchange: SimulatedExchange) -> pd.DataFrame:
    """Fifteen sessions of every ticker."""
    return pd.concat([whole(exchange, session).to_pandas() for session in SESSIONS])


def whole(exchange: SimulatedExchange, session: Session) -> pa.Table:
    return exchange.bars(session, session.open, session.last_minute, exchange.tickers(), session.close, session.close)


def test_another_process_makes_the_same_bars() -> None:
    code = (
        "import sys; from stockpick_assets_tests.resources import test_simulated as t; "
        "sys.stdout.write(t.digest(t.SimulatedExchange(7, t.NASDAQ_100[:5])))"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout == digest(SimulatedExchange(7, NASDAQ_100[:5]))
    assert other.stdout != digest(SimulatedExchange(8, NASDAQ_100[:5]))


def digest(exchange: SimulatedExchange) -> str:
    rows = whole(exchange, SESSION).to_pandas()[["ticker", "minute", *BARS]]
    return hashlib.sha256(rows.to_csv().encode()).hexdigest()


def test_a_tickers_bars_do_not_depend_on_which_others_are_listed(exchange: SimulatedExchange) -> None:
    alone = whole(SimulatedExchange(7, ["NVDA"], NO_TROUBLES), SESSION)
    among = whole(exchange, SESSION)
    assert alone.equals(among.filter(pa.compute.equal(among["ticker"], "NVDA")))


def test_a_minute_is_the_same_live_and_in_history(exchange: SimulatedExchange) -> None:
    minute = SESSION.open + 100 * MINUTE
    now = minute + MINUTE
    live = exchange.bars(SESSION, minute, minute, NASDAQ_100, now, now).to_pandas()
    later = whole(exchange, SESSION).to_pandas().query("minute == @minute").reset_index(drop=True)
    pd.testing.assert_frame_equal(live[["ticker", *BARS, "reason"]], later[["ticker", *BARS, "reason"]])
    assert not live["backfilled"].any()
    assert later["backfilled"].all()


def test_the_minute_that_is_still_forming_is_refused(exchange: SimulatedExchange) -> None:
    with pytest.raises(ValueError, match="has not closed"):
        exchange.bars(SESSION, SESSION.open, SESSION.open, NASDAQ_100, SESSION.open, SESSION.open)


def test_about_the_documented_share_of_ticker_sessions_is_complete(history: pd.DataFrame) -> None:
    traded = (history["reason"] == "present").groupby([history["session"], history["ticker"]]).sum()
    assert (traded == 390).mean() == pytest.approx(COMPLETE_SHARE, abs=0.05)
    assert traded.min() >= 195
    assert set(history["reason"]) == {"present", "no_trade"}


def test_every_bar_is_possible(history: pd.DataFrame) -> None:
    bars = history[history["reason"] == "present"]
    assert (bars["low"] > 0).all()
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert (bars["volume"] >= 1).all()


def test_prices_continue_from_session_to_session(history: pd.DataFrame) -> None:
    bars = history[history["reason"] == "present"].sort_values("minute")
    days = bars.groupby(["ticker", "session"]).agg(open=("open", "first"), close=("close", "last"))
    overnight = np.log(days["open"] / days.groupby("ticker")["close"].shift()).dropna()
    assert 0.003 < overnight.std() < 0.02
    assert overnight.abs().max() < 0.1


def test_volume_is_u_shaped_over_the_session(history: pd.DataFrame) -> None:
    by_minute = history.groupby(history["minute"].dt.tz_convert("America/New_York").dt.time)["volume"].mean().to_numpy()
    assert by_minute[:30].mean() > 2 * by_minute[180:210].mean() < by_minute[-30:].mean()


def test_tickers_move_together(history: pd.DataFrame) -> None:
    close = history.pivot(index="minute", columns="ticker", values="close")
    returns = np.log(close).groupby(close.index.date).diff(5).iloc[::5]
    correlation = returns.corr().to_numpy()
    assert 0.1 < correlation[np.triu_indices(len(correlation), 1)].mean() < 0.6


def test_a_small_reversal_is_planted_in_the_obtainable_return_and_a_larger_one_in_the_close(
    history: pd.DataFrame,
) -> None:
    obtainable, close_to_close = reversal(history)
    assert 0.02 < obtainable < 0.06
    assert obtainable < close_to_close < 0.12


def test_nothing_can_be_obtained_where_no_effect_is_planted() -> None:
    exchange = SimulatedExchange(7, NASDAQ_100, NO_TROUBLES, effect=False)
    obtainable, close_to_close = reversal(pd.concat([whole(exchange, one).to_pandas() for one in SESSIONS[:8]]))
    assert abs(obtainable) < 0.01  # three standard errors: a session's mean deviates by 0.0093 from none
    assert close_to_close > 0.01, "the close still bounces between bid and ask"


def test_the_setting_leaves_the_effect_out() -> None:
    settings = Settings(tickers=("AAPL", "MSFT"), simulated_effect=False)
    without = SimulatedExchange(settings.seed, settings.tickers, effect=False)
    asked = market_data(settings)
    bars = asked.bars(SESSION, SESSION.open, SESSION.last_minute, settings.tickers, SESSION.close, SESSION.close)
    assert bars.equals(whole(without, SESSION))
    assert not bars.equals(whole(SimulatedExchange(settings.seed, settings.tickers), SESSION))


def reversal(history: pd.DataFrame) -> tuple[float, float]:
    """How well a rise foretells a fall: mean rank correlation with the obtainable return and with the close return."""
    obtainable, close_to_close = [], []
    for _, session in history.groupby("session"):
        close = session.pivot(index="minute", columns="ticker", values="close")
        opening = session.pivot(index="minute", columns="ticker", values="open")
        move = np.log(close).diff()
        signal = -move.sub(move.mean(axis=1), axis=0).div(move.std()).ewm(halflife=2).mean()
        obtainable.append(rank_correlation(signal, close.shift(-5) / opening.shift(-1) - 1))
        close_to_close.append(rank_correlation(signal, close.shift(-5) / close - 1))
    return float(np.mean(obtainable)), float(np.mean(close_to_close))


def rank_correlation(signal: pd.DataFrame, outcome: pd.DataFrame) -> float:
    """Mean over minutes of the rank correlation across tickers."""
    return float(signal.rank(axis=1).corrwith(outcome.rank(axis=1), axis=1).mean())


def test_the_newest_sessions_are_those_that_have_begun(exchange: SimulatedExchange) -> None:
    before_the_open = SESSION.open - MINUTE
    assert [one.date.day for one in exchange.sessions(before_the_open, 2)] == [18, 19]
    assert [one.date.day for one in exchange.sessions(SESSION.open, 2)] == [19, 20]


def test_a_half_day_has_its_own_length(exchange: SimulatedExchange) -> None:
    assert whole(exchange, session_on(date(2026, 11, 27))).num_rows == 210 * len(NASDAQ_100)


def test_a_ticker_that_is_not_listed_is_answered_with_that_reason(exchange: SimulatedExchange) -> None:
    rows = exchange.bars(SESSION, SESSION.open, SESSION.open, ["AAPL", "ZZZZ"], SESSION.close, SESSION.close)
    assert rows["reason"].to_pylist()[1] == "not_listed"


def test_a_session_before_the_exchange_was_founded_is_refused(exchange: SimulatedExchange) -> None:
    with pytest.raises(StockpickError, match="founded on 2010-01-04"):
        whole(exchange, session_on(date(2009, 12, 31)))


def test_a_session_of_the_whole_market_takes_less_than_half_a_second_of_processor_time() -> None:
    exchange = SimulatedExchange(3, NASDAQ_100)
    taken = []
    for session in SESSIONS[:3]:
        started = time.process_time()
        whole(exchange, session)
        taken.append(time.process_time() - started)
    assert min(taken) < 0.5
