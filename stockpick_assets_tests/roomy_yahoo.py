"""Yahoo as stockpick asks it, with a budget of its own in which there is room, for tests of what becomes of answers."""

from collections.abc import Sequence

from stockpick_assets.core.budget import Limits
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget


def yahoo(url: str, tickers: Sequence[str], in_flight: int = 2, timeout: float = 10) -> YahooMarketData:
    """The source at that address."""
    limits = Limits(a_minute=1000, in_flight=in_flight, live=len(tickers), timeout=timeout)
    return YahooMarketData(url, tickers, YahooBudget(":memory:", limits, seed=7))
