"""The bars that a command walks through: of a file, or of the table raw_prices."""

from datetime import UTC, date, datetime
from pathlib import Path

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session
from stockpick_assets.resources.recorded import RecordedBars
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets.walk_forward import Market, Terms, market_of_source, market_of_store

_END = datetime(9999, 1, 1, tzinfo=UTC)
_ALL = 1_000_000  # sessions


def market(settings: Settings, file: Path | None) -> Market:
    """The sessions of the file or, where none is named, of the settings' source in the store.

    Raises RecordingError for a file that is none of bars, StoreError, and StockpickError where there is no session.
    """
    if file is None:
        return market_of_store(Store.from_settings(settings))
    source = RecordedBars(file)
    return market_of_source("recorded", source, source.sessions(_END, _ALL), settings.tickers or source.tickers())


def newest(found: Market, sessions: int | None) -> Market:
    """Its newest so many sessions; all of them where no number is given."""
    if sessions is None or sessions >= len(found.sessions):
        return found
    return found.until(found.sessions[-1], sessions - 1)


def terms(settings: Settings, fit_after: int = 1) -> Terms:
    """What the settings say of models."""
    return Terms(settings.kinds, settings.cost_bp, settings.seed, fit_after)


def session_of(found: Market, day: date) -> Session:
    """The market's session of that date. Raises StockpickError where it has none."""
    for session in found.sessions:
        if session.date == day:
            return session
    ends = f"{found.sessions[0].label()} to {found.sessions[-1].label()}"
    raise StockpickError(f"{found.source} has no bars of {day}; its sessions ({len(found.sessions)}) are {ends}")
