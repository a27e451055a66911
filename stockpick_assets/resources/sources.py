"""The source of bars that the settings name, and the tickers that it is asked for."""

from stockpick_assets.core.budget import Limits
from stockpick_assets.core.universe import Universe, checked_tickers, data_as_of, ever_members
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.settings import Settings


def market_data(settings: Settings) -> MarketData:
    """The source, ready to be asked. A source's libraries are loaded only when it is the one that is used."""
    tickers = checked_tickers((*(settings.tickers or ever_members()), *settings.extra_tickers))
    if settings.source == "recorded":
        from stockpick_assets.resources.recorded import RecordedBars

        assert settings.bars is not None  # Settings refuses a recorded source without its file
        return RecordedBars(settings.bars)
    if settings.source == "yahoo":
        from stockpick_assets.resources.yahoo import YahooMarketData
        from stockpick_assets.resources.yahoo_budget import YahooBudget

        account = settings.yahoo_budget or settings.home / "yahoo_budget.sqlite"
        return YahooMarketData(settings.yahoo_url, tickers, YahooBudget(account, yahoo_limits(settings), settings.seed))
    from stockpick_assets.resources.simulated import SimulatedExchange

    return SimulatedExchange(settings.seed, tickers, effect=settings.simulated_effect)


def yahoo_limits(settings: Settings) -> Limits:
    """What requests to Yahoo keep within. A live minute is one for each ticker of the newest membership, not for each
    that ever was a member: those 166 would leave history nothing of 150 requests a minute.
    """
    live = len(Universe(settings.tickers, settings.extra_tickers).on(data_as_of()))
    return Limits(settings.yahoo_requests_a_minute, settings.yahoo_in_flight, live, settings.yahoo_timeout_seconds)


def universe(settings: Settings, source: MarketData) -> Universe:
    """The tickers of each session: those that the settings name, or the file's; else the members of the NASDAQ-100."""
    of_file = source.tickers() if settings.source == "recorded" else ()
    return Universe(settings.tickers or of_file, settings.extra_tickers)
