"""Which sessions have live partitions, from settings and source, at a time."""

from datetime import UTC, date, datetime, timedelta

import pytest

from stockpick_assets.core.market_hours import Session
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.settings import Settings, SettingsError
from stockpick_assets.window import SESSIONS_AHEAD, window

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
