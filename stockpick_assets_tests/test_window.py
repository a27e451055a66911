"""Which sessions have live partitions, from settings and source, at a time."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.universe import members
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.settings import Settings, SettingsError
from stockpick_assets.window import SESSIONS_AHEAD, is_between_sessions, window

MONDAY_EVENING = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
EXCHANGE = SimulatedExchange(7, ("AAPL", "MSFT"))


def test_a_market_that_goes_on_has_its_next_sessions_in_the_window() -> None:
    settings = Settings(sessions=2)
    days = [session.date for session in window(settings, EXCHANGE, MONDAY_EVENING).sessions]
    assert days[:3] == [date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24)]
    assert len(days) == 2 + SESSIONS_AHEAD


def test_their_minutes_come_to_be_as_they_close() -> None:
    found = window(Settings(sessions=1), EXCHANGE, MONDAY_EVENING)
    now, opening = datetime(2026, 11, 23, 22, 0, tzinfo=UTC), found.sessions[1].open
    assert len(found.minutes.get_partition_keys(current_time=now)) == 390
    later = opening + timedelta(minutes=2, seconds=5)
    assert list(found.minutes.get_partition_keys(current_time=later))[390:] == ["2026-11-24 09:30", "2026-11-24 09:31"]


def test_a_named_last_session_is_the_last() -> None:
    settings = Settings(sessions=2, last_session=date(2026, 11, 20))
    days = [session.date for session in window(settings, EXCHANGE, MONDAY_EVENING).sessions]
    assert days == [date(2026, 11, 19), date(2026, 11, 20)]


def test_a_last_session_that_is_none_is_refused() -> None:
    settings = Settings(last_session=date(2026, 11, 22))
    with pytest.raises(SettingsError, match="no session on 2026-11-22; its newest before it is 2026-11-20"):
        window(settings, EXCHANGE, MONDAY_EVENING)


class Founded(SimulatedExchange):
    """An exchange without a session before it was founded."""

    def sessions(self, now: datetime, count: int) -> list[Session]:
        return [session for session in super().sessions(now, count) if session.date >= date(2026, 11, 20)]


@pytest.mark.parametrize("last_session", [date(2026, 11, 19), None])
def test_a_window_without_a_session_is_refused(last_session: date | None) -> None:
    settings = Settings(sessions=2, last_session=last_session)
    with pytest.raises(SettingsError, match=r"no session on 2026-11-19; it has none before it\. Set STOCKPICK_LAST"):
        window(settings, Founded(7, ("AAPL",)), datetime(2026, 11, 19, 20, 0, tzinfo=UTC))


def test_the_settings_give_another_window_once_a_session_has_begun() -> None:
    settings = Settings(sessions=2)
    before, opening = window(settings, EXCHANGE, MONDAY_EVENING), datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    assert window(settings, EXCHANGE, opening - timedelta(seconds=1)) == before
    after = window(settings, EXCHANGE, opening)
    assert after.sessions[:-1] == before.sessions[1:]
    assert not is_between_sessions(before, opening)


def tickers(settings: Settings, evening_of: date) -> tuple[str, ...]:
    return window(settings, EXCHANGE, datetime.combine(evening_of, time(23), UTC)).tickers


def test_the_tickers_are_those_of_any_session_of_the_window_to_come_too() -> None:
    friday = date(2026, 6, 12)  # five members left on the 22nd, five came: the last session of the window
    assert tickers(Settings(sessions=1), friday - timedelta(days=1)) == members(friday)
    both = tickers(Settings(sessions=1), friday)
    assert set(both) == {*members(friday), *members(date(2026, 6, 22))} and list(both) == sorted(both)


def test_a_removed_ticker_leaves_with_the_last_session_that_had_it() -> None:
    last = date(2026, 6, 18)  # the session before the 22nd
    assert "ZS" in tickers(Settings(sessions=3), last + timedelta(days=5))
    assert "ZS" not in tickers(Settings(sessions=3), last + timedelta(days=6))


def test_a_change_of_membership_is_another_window_although_its_sessions_stay_as_they_are() -> None:
    settings = Settings(sessions=2, last_session=date(2026, 6, 22))
    evening = datetime(2026, 6, 22, 23, tzinfo=UTC)
    extended = settings.model_copy(update={"extra_tickers": ("BRK-B",)})
    now, then = window(settings, EXCHANGE, evening), window(extended, EXCHANGE, evening)
    assert now.sessions == then.sessions and now != then
    assert set(then.tickers) - set(now.tickers) == {"BRK-B"}


def test_named_tickers_stay_whatever_becomes_of_the_index() -> None:
    for day in (date(2020, 1, 2), date(2026, 6, 22)):
        assert tickers(Settings(tickers=("MSFT", "AAPL")), day) == ("AAPL", "MSFT")
    assert tickers(Settings(tickers=("MSFT",), extra_tickers=("AAPL",)), day) == ("AAPL", "MSFT")


def test_a_recording_has_the_tickers_of_its_file() -> None:
    settings = Settings(source="recorded", bars=Path("bars.parquet"))
    assert tickers(settings, date(2026, 6, 22)) == EXCHANGE.tickers()


@given(st.datetimes(datetime(2026, 11, 20), datetime(2026, 12, 1), timezones=st.just(UTC)))
def test_a_window_never_changes_within_half_an_hour_of_trading(market: datetime) -> None:
    found = window(Settings(sessions=2), EXCHANGE, market)
    half_an_hour = timedelta(minutes=30)
    trading = any(
        session.open < market + half_an_hour and market - half_an_hour < session.close for session in found.sessions
    )
    if trading:
        assert not is_between_sessions(found, market)
