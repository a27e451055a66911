"""What goes wrong on the simulated exchange: how often, for how long, and that it is the same for everyone."""

import re
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stockpick_assets.core.bars import Numbers
from stockpick_assets.core.market_hours import MINUTE, Session, session_on, sessions_between
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.resources.simulated_prices import Market, Stream, random_numbers
from stockpick_assets.resources.simulated_troubles import (
    BAD_VOLUME_MULTIPLE,
    HALT_ALL_SESSION_SHARE,
    HALT_STEP,
    LATE_MINUTES,
    NO_TROUBLES,
    REVISED_LATER_HOURS,
    REVISED_LATER_SHARE,
    SPLIT_RATIOS,
    USUAL_TROUBLES,
    Life,
    Tape,
    Troubles,
    taped,
)

PAGE = Path(__file__).parents[2] / "docs" / "simulated.md"
TICKERS = NASDAQ_100[:6]
SESSIONS = sessions_between(date(2026, 3, 2), date(2026, 11, 20))
BARS = ["open", "high", "low", "close", "volume"]
SETTLED = timedelta(hours=REVISED_LATER_HOURS[1] + 24)

# So often that each example holds some of each; but for bad volume, of which more is withheld the more bars are seen.
PLAGUED = Troubles(late=0.05, revised=0.05, halted=0.3, bad_volume=0, split=1 / 20, delisted=1 / 100)
EXCHANGE = SimulatedExchange(7, TICKERS, PLAGUED)

minutes = st.tuples(st.sampled_from(SESSIONS), st.integers(0, 209)).map(lambda pair: pair[0].open + pair[1] * MINUTE)


def asked(
    exchange: SimulatedExchange,
    session: Session,
    now: datetime,
    first: datetime | None = None,
    last: datetime | None = None,
    tickers: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """The answer by ticker and minute: bars, split and reason."""
    rows = table(exchange, session, now, first or session.open, last or session.last_minute, tickers)
    return rows.to_pandas().set_index(["ticker", "minute"]).sort_index()[[*BARS, "split", "reason"]]


def table(
    exchange: SimulatedExchange,
    session: Session,
    now: datetime,
    first: datetime,
    last: datetime,
    tickers: tuple[str, ...] | None = None,
) -> pa.Table:
    return exchange.bars(session, first, last, tickers or exchange.tickers(), now, now)


def settled(exchange: SimulatedExchange, session: Session) -> pd.DataFrame:
    return asked(exchange, session, session.close + SETTLED)


def on_tape(session: Session, troubles: Troubles, tickers: tuple[str, ...] = NASDAQ_100) -> Tape:
    """All that will ever be told of a session."""
    day = session.date.toordinal()
    trading = Market(7, tickers, effect=True).trading(session, np.zeros((len(tickers), 1)))
    streams = [random_numbers(7, ticker, Stream.TROUBLES, day) for ticker in tickers]
    return taped(session, trading, streams, troubles)


def alone(**rates: float) -> SimulatedExchange:
    """An exchange on which nothing goes wrong but what is named."""
    return SimulatedExchange(7, TICKERS, replace(NO_TROUBLES, **rates))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SESSIONS), st.floats(1, 2500))
def test_every_bar_is_possible_before_and_after_it_is_revised(session: Session, elapsed: float) -> None:
    tape = on_tape(session, replace(PLAGUED, bad_volume=0.3), TICKERS)
    for row in range(len(TICKERS)):
        bars = tape.bars(row, elapsed, {})
        prices = np.stack([bars.open, bars.high, bars.low, bars.close])
        assert (prices > 0).all()
        assert np.array_equal(prices, prices.round(2))
        assert np.array_equal(bars.low, prices.min(axis=0))
        assert np.array_equal(bars.high, prices.max(axis=0))
        assert (bars.volume >= 0).all()
        assert np.array_equal(bars.volume, bars.volume.round())


@settings(max_examples=25, deadline=None)
@given(minutes, st.integers(0, 60), st.timedeltas(MINUTE, timedelta(hours=40)))
def test_an_answer_is_the_same_whoever_asks_for_which_part_of_it(
    first: datetime, length: int, later: timedelta
) -> None:
    session = session_on(first.date())
    last = min(first + length * MINUTE, session.last_minute)
    whole = asked(EXCHANGE, session, now := last + later, last=last)
    other = SimulatedExchange(7, (*TICKERS[2:4], "ZZZZ"), PLAGUED)
    part = asked(other, session, now, first, last, TICKERS[2:4])
    pd.testing.assert_frame_equal(part, whole.loc[part.index])


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SESSIONS), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_some_days_after_a_session_all_is_settled(session: Session, later: timedelta) -> None:
    whole = settled(EXCHANGE, session)
    pd.testing.assert_frame_equal(asked(EXCHANGE, session, session.close + SETTLED + later), whole)
    assert all(Reason(reason).final for reason in whole["reason"])


@settings(max_examples=25, deadline=None)
@given(minutes, st.timedeltas(timedelta(0), timedelta(hours=30)))
def test_before_that_only_late_and_revised_minutes_differ(last: datetime, later: timedelta) -> None:
    session, now = session_on(last.date()), last + MINUTE + later
    early = asked(EXCHANGE, session, now, last=last)
    whole = settled(EXCHANGE, session).loc[early.index]
    tape = on_tape(session, PLAGUED, TICKERS)
    asked_for, elapsed = np.s_[:, : len(early) // len(TICKERS)], (now - session.open) / MINUTE
    traded = whole["reason"] == "present"
    late = traded & (tape.there_at[asked_for] > elapsed).ravel()
    revised = traded & (tape.revised_at[asked_for] > elapsed).ravel() & ~late
    same = ~late & ~revised
    pd.testing.assert_frame_equal(early[same], whole[same])
    assert early[late]["reason"].isin(["pending", "provider_error"]).all()
    assert (early[revised]["volume"] < whole[revised]["volume"]).all()
    kept = [name for name in early if name not in ("close", "volume")]
    pd.testing.assert_frame_equal(early[revised][kept], whole[revised][kept])


def test_without_troubles_a_bar_is_there_and_final_when_its_minute_closes() -> None:
    exchange, session = alone(), SESSIONS[0]
    live = [
        asked(exchange, session, minute + MINUTE, minute, minute).iloc[0] for minute in session.minutes()[:30].to_list()
    ]
    rows = settled(exchange, session).xs(TICKERS[0]).iloc[:30]
    assert np.array_equal([row["close"] for row in live], rows["close"], equal_nan=True)


def test_a_late_bar_is_pending_then_missing_then_there() -> None:
    exchange, session = alone(late=0.2), SESSIONS[0]
    first = session.open
    reasons = [asked(exchange, session, first + wait * MINUTE, first, first)["reason"] for wait in range(1, 61)]
    assert set(reasons[0]) == {"pending", "present"}
    assert all(reason in ("pending", "present") for told in reasons[:5] for reason in told)
    assert set(reasons[-1]) == {"present"}
    there = np.array([told == "present" for told in reasons])
    assert (there[:-1] <= there[1:]).all(), "what is there stays there"


def after_the_close(times: Numbers) -> Numbers:
    """How many minutes after the close of its own minute something happens, where it does."""
    return (times - np.arange(1, times.shape[1] + 1))[times > np.arange(1, times.shape[1] + 1)]


def test_a_late_bar_is_some_minutes_late() -> None:
    late = after_the_close(on_tape(SESSIONS[0], Troubles(late=1)).there_at)
    assert late.mean() == pytest.approx(LATE_MINUTES, rel=0.05)
    assert (late > 5).mean() == pytest.approx(1 / 12, rel=0.1)


def test_a_revision_comes_within_minutes_or_rarely_within_a_day() -> None:
    revised = after_the_close(on_tape(SESSIONS[0], Troubles(revised=1)).revised_at)
    assert np.median(revised) < 5
    assert (revised >= 60).mean() == pytest.approx(REVISED_LATER_SHARE, rel=0.1)
    assert 20 < revised.max() / 60 <= REVISED_LATER_HOURS[1]


def test_a_halt_lasts_five_minutes_or_more_and_rarely_the_whole_session() -> None:
    halted = np.concatenate([on_tape(session, Troubles(halted=1)).halted for session in SESSIONS[:10]])
    lengths = halted.sum(axis=1)
    assert (np.diff(halted.astype(int)) > 0).sum(axis=1).max() == 1, "one stretch"
    ended = lengths[~halted[:, -1]]
    assert set(ended % HALT_STEP) == {0}
    assert (ended == HALT_STEP).mean() == pytest.approx(0.5, abs=0.06)
    assert 0 < (ended >= 30).mean() < 0.06
    assert (lengths == 390).mean() == pytest.approx(HALT_ALL_SESSION_SHARE, abs=0.015)


def test_a_halted_minute_has_no_bar_and_says_so() -> None:
    exchange = SimulatedExchange(7, NASDAQ_100, replace(NO_TROUBLES, halted=1 / 2))
    quiet, troubled = (settled(one, SESSIONS[0]) for one in (SimulatedExchange(7, NASDAQ_100, NO_TROUBLES), exchange))
    halted = troubled["reason"] == "halted"
    assert halted.sum() > 100
    assert troubled[halted][BARS].isna().all(axis=None)
    pd.testing.assert_frame_equal(troubled[~halted], quiet[~halted])


def test_bad_volume_is_spikes_that_alternate_with_zeros_and_sum_to_several_days() -> None:
    good, bad = (on_tape(SESSIONS[0], troubles) for troubles in (NO_TROUBLES, replace(NO_TROUBLES, bad_volume=1)))
    volume = bad.told.volume
    assert np.array_equal((volume[:, :-1] == 0), (volume[:, 1:] > 0))
    day = bad.day_volume[:, -1]
    multiple = (volume * bad.told.traded).sum(axis=1) / day
    assert multiple.min() > 0.9 * BAD_VOLUME_MULTIPLE[0]
    assert multiple.max() < 1.1 * BAD_VOLUME_MULTIPLE[1]
    counted = (good.told.volume * good.told.traded).sum(axis=1) / day
    assert 0.879 < counted.min() < counted.max() < 0.951
    assert np.array_equal(good.told.close, bad.told.close)


def test_the_days_volume_is_that_of_the_session_so_far() -> None:
    told = on_tape(SESSIONS[0], NO_TROUBLES)
    noon = told.bars(0, 150.5, {})
    assert noon.day_volume == pytest.approx(noon.volume.sum() / told.told.counted[0, 0], abs=1)
    assert len(noon.minutes) <= 150 < len(told.bars(0, 390, {}).minutes)


def test_prices_fall_and_volumes_rise_by_the_ratio_when_a_ticker_splits() -> None:
    exchange, sessions = alone(split=1 / 20), SESSIONS[:80]
    rows = pd.concat([settled(exchange, session).assign(session=session.date) for session in sessions])
    assert rows["split"].dropna().index.get_level_values("minute").isin([one.open for one in sessions]).all()
    by_day = rows.groupby(["ticker", "session"])
    days = by_day.agg(open=("open", "first"), close=("close", "last"), volume=("volume", "sum"), split=("split", "max"))
    before = days.groupby("ticker").shift()
    split = days["split"].notna() & before["close"].notna()
    assert set(days["split"][split]) == set(SPLIT_RATIOS)
    fall, rise = np.log(before["close"] / days["open"]), np.log(days["volume"] / before["volume"])
    # A day's move is 1.7 %; at one split in twenty days, the way back up to the next is at most 0.23 a day.
    assert np.abs(fall - np.log(days["split"]))[split].max() < 0.3
    assert fall[~split].abs().max() < 0.3
    assert np.abs(rise - np.log(days["split"]))[split].max() < 0.5


def test_splits_keep_a_price_where_it_was_over_the_years() -> None:
    sessions = sessions_between(date(2011, 1, 3), date(2026, 11, 20))[::500]
    exchange = SimulatedExchange(7, NASDAQ_100, replace(NO_TROUBLES, split=USUAL_TROUBLES.split))
    medians = [settled(exchange, session)["close"].median() for session in sessions]
    assert min(medians) > 50
    assert max(medians) < 500


def test_a_delisted_ticker_has_no_bars_until_another_company_lists_under_it() -> None:
    exchange = alone(delisted=1 / 20)
    told: dict[str, list[str]] = {ticker: [] for ticker in TICKERS}
    for session in SESSIONS[:80]:
        for row in table(exchange, session, session.close, session.open, session.open).to_pylist():
            traded = row["reason"] in ("present", "no_trade")
            told[row["ticker"]].append("traded" if traded else f"{row['reason']}: {row['detail']}")
            if not traded:
                (day,) = re.findall(r"\d{4}-\d\d-\d\d", row["detail"])
                assert (date.fromisoformat(day) <= session.date) == (row["reason"] == "delisted")
    runs = [[stretch for stretch, _ in groupby(stretches)] for stretches in told.values()]
    changes = {
        (before.split(":")[0], after.split(":")[0]) for stretches in runs for before, after in pairwise(stretches)
    }
    assert changes == {("traded", "delisted"), ("delisted", "not_listed"), ("not_listed", "traded")}


def test_what_befalls_bars_and_sessions_is_as_frequent_as_is_said() -> None:
    """Fifty times as frequent as usual, so that three sessions of the whole market are enough to tell."""
    often = Troubles(**{name: 50 * getattr(USUAL_TROUBLES, name) for name in SHARES})
    tapes = [on_tape(session, often) for session in SESSIONS[:3]]
    for name, tolerance in SHARES.items():
        share = float(np.mean([where(tape)[name].mean() for tape in tapes]))
        assert share == pytest.approx(getattr(often, name), rel=tolerance), name


SHARES = {"late": 0.15, "revised": 0.1, "halted": 0.35, "bad_volume": 0.5}  # three standard errors


def where(tape: Tape) -> dict[str, NDArray[np.bool_]]:
    """In which minutes, or sessions of a ticker, there is which trouble."""
    return {
        "late": tape.there_at > np.arange(1, len(tape.minutes) + 1),
        "revised": tape.revised_at > 0,
        "halted": tape.halted.any(axis=1),
        "bad_volume": (tape.told.volume == 0).mean(axis=1) > 0.3,
    }


def test_tickers_split_and_leave_about_as_often_as_is_said() -> None:
    weeks = [session.date for session in sessions_between(date(2011, 1, 3), date(2026, 11, 20))[::5]]
    lives = [Life.drawn(random_numbers(7, ticker, Stream.LIFE), USUAL_TROUBLES) for ticker in NASDAQ_100]
    splits = sum(life.split(*pair) is not None for life in lives for pair in pairwise(weeks))
    away = np.array([[life.absence(day) is not None for day in weeks] for life in lives])
    days = len(lives) * np.busday_count(weeks[0], weeks[-1])
    assert splits / days == pytest.approx(USUAL_TROUBLES.split, rel=0.1)
    assert (np.diff(away.astype(int)) == 1).sum() / days == pytest.approx(USUAL_TROUBLES.delisted, rel=0.3)
    assert away.mean() < 0.01


def test_the_page_says_how_often_each_happens() -> None:
    page = PAGE.read_text()
    for trouble in fields(Troubles):
        assert f"| `{trouble.name}` | 1 in {1 / trouble.default:,.0f} " in page
