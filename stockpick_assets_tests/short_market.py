"""A simulated market whose sessions end early, for tests that walk through several of them."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from stockpick_assets.core.market_hours import MINUTE, Session, session_on
from stockpick_assets.proof import removed
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.resources.simulated_troubles import NO_TROUBLES
from stockpick_assets.walk_forward import Market, market_of_source


def short_market(days: Sequence[date], *, tickers: int, minutes: int, seed: int = 3, effect: bool = True) -> Market:
    """The first minutes of these sessions of so many tickers, `T00` on."""
    names = [f"T{number:02d}" for number in range(tickers)]
    exchange = SimulatedExchange(seed, names, NO_TROUBLES, effect)
    whole = market_of_source("simulated", exchange, [session_on(day) for day in days], names)

    def first_minutes(session: Session) -> pa.Table:
        return removed(whole.versions(session), session.open + (minutes - 1) * MINUTE)

    return Market(whole.source, whole.sessions, whole.tickers, first_minutes)
