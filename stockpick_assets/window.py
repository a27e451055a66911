"""Which sessions and tickers stockpick keeps live partitions for: decided from the settings and the source.

It is decided when the code location is loaded. Of a market that goes on the next sessions are in it already: their
minutes come to be as they close. Older sessions leave it, and further ones come, at the next load, which the sensor
`window` asks for between two sessions. A ticker has partitions as long as a session of the window has it.
"""

from datetime import datetime, time, timedelta

from stockpick_assets.core.market_hours import NEW_YORK, last_session_begun, session_after
from stockpick_assets.partitions import Window
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.resources.sources import universe
from stockpick_assets.settings import Settings, SettingsError

SESSIONS_AHEAD = 5
# Before the opening the pages' counts are made anew, 2.5 s an asset; after the close the day's last runs come.
AROUND_A_SESSION = timedelta(minutes=30)


def window(settings: Settings, source: MarketData, wall: datetime) -> Window:
    """The newest `settings.sessions` sessions of the source, and the tickers that any of them has.

    Where the newest is the exchange's own and the settings name no last session, SESSIONS_AHEAD to come follow.

    Raises SettingsError when the last session that the settings name is none of the source's, and UnknownMembership.
    """
    now = settings.clock.at(wall)
    if settings.last_session:
        now = datetime.combine(settings.last_session, time(23, 59), NEW_YORK)
    sessions = tuple(source.sessions(now, settings.sessions))
    if not sessions or (settings.last_session and sessions[-1].date != settings.last_session):
        raise SettingsError(
            f"the {settings.source} source has no session on {settings.last_session or now.date()}; "
            f"{'its newest before it is ' + sessions[-1].label() if sessions else 'it has none before it'}. "
            "Set STOCKPICK_LAST_SESSION to a session it has"
        )
    if not settings.last_session and sessions[-1] == last_session_begun(now):
        for _ in range(SESSIONS_AHEAD):
            sessions = (*sessions, session_after(sessions[-1]))
    return Window(sessions, universe(settings, source).over(session.date for session in sessions))


def is_between_sessions(window: Window, market: datetime) -> bool:
    """Whether the window may change at that market time: no session of it is on, about to begin or just over."""
    return not any(
        session.open - AROUND_A_SESSION <= market < session.close + AROUND_A_SESSION for session in window.sessions
    )
