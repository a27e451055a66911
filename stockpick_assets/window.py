"""Which sessions and tickers stockpick keeps live partitions for: decided from the settings and the source.

It moves once a day, when the code location is reloaded outside market hours.
"""

from datetime import datetime, time

from stockpick_assets.core.market_hours import NEW_YORK
from stockpick_assets.partitions import Window
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.settings import Settings, SettingsError


def window(settings: Settings, source: MarketData, wall: datetime) -> Window:
    """The newest `settings.sessions` sessions of the source, and its tickers or those the settings name.

    Raises SettingsError when the last session that the settings name is none of the source's.
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
    return Window(sessions, settings.tickers or source.tickers())
