"""An exchange that does not exist: seeded bars of any ticker for any session, for use without a network.

What belongs here: how its prices, volumes and gaps come about. What does not: the rows and reasons they become
(core/answers.py). Nothing of it is market data, and everything made from it says `simulated`.

A ticker's bars follow from the seed, the ticker and the session alone, whoever asks, when, and for which others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from zlib import crc32

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.answers import Bars, Failure, Numbers, Request, raw_prices
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session, last_session_begun, session_before, sessions_until
from stockpick_assets.core.reasons import Reason

FOUNDED = date(2010, 1, 4)

# The planted effect: log prices carry a component that decays with this half-life (minutes) and whose standard
# deviation is this share of a minute's own volatility, so the five-minute return after a rise is a little lower.
REVERSION_HALF_LIFE = 2.0
REVERSION_SHARE = 0.5

# Share of ticker-sessions in which every minute trades.
COMPLETE_SHARE = 0.62

MARKET_VOLATILITY = 0.009  # standard deviation of a day's log return of the common factor
OVERNIGHT_SHARE = 0.3  # of a day's variance
LEVEL_MEMORY = 0.999  # of log prices from day to day: they wander by a factor of about 1.6 around their base

KEPT_SESSIONS = 8

_LISTING, _DAYS, _SESSION = range(3)  # what a stream of random numbers is for
_MARKET = ""  # stands where a ticker stands, for the common factor


@dataclass(frozen=True)
class _Listing:
    """What stays the same about the tickers; each field one value a ticker, as a column."""

    level: Numbers  # log price around which it wanders
    beta: Numbers
    volatility: Numbers  # standard deviation of its own daily log return, market aside
    half_spread: Numbers  # of the log price
    volume: Numbers  # shares in a minute of average activity
    complete: Numbers  # share of its sessions without a silent minute


class SimulatedExchange:
    """The `MarketData` of a made-up exchange with the sessions of XNYS from 2010 on."""

    def __init__(self, seed: int, tickers: Sequence[str]) -> None:
        self._seed = seed
        self._tickers = tuple(sorted(tickers))
        self._listing = self._listed()
        self._session_bars = lru_cache(maxsize=KEPT_SESSIONS)(self._traded)

    def sessions(self, now: datetime, count: int) -> list[Session]:
        """The newest `count` sessions, ascending, that have begun at market time `now`."""
        return sessions_until(last_session_begun(now).date, count)

    def tickers(self) -> tuple[str, ...]:
        """The tickers it knows, in alphabetical order."""
        return self._tickers

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        """See `MarketData.bars`. Raises StockpickError for a session before the exchange was founded."""
        request = Request(session, first, last, tuple(tickers), now, wall)
        if session.date <= FOUNDED:
            raise StockpickError(
                f"the simulated exchange has no session of {session.date}: it was founded on {FOUNDED}; "
                "choose a later session"
            )
        traded = self._session_bars(session)
        unlisted = Failure(Reason.NOT_LISTED, "the simulated exchange does not list it")
        return raw_prices("simulated", request, {ticker: traded.get(ticker, unlisted) for ticker in tickers})

    def _random(self, ticker: str, stream: int, day: int = 0) -> np.random.Generator:
        return np.random.default_rng((self._seed, crc32(ticker.encode()), stream, day))

    def _listed(self) -> _Listing:
        streams = [self._random(ticker, _LISTING) for ticker in self._tickers]
        normal = np.array([stream.standard_normal(5) for stream in streams])
        uniform = np.array([[stream.random()] for stream in streams])
        complete = uniform ** (1 / COMPLETE_SHARE - 1)  # which makes its mean the share
        level, beta, volatility, half_spread, volume = normal.T[:, :, None]
        return _Listing(
            level=4.8 + 0.7 * level,
            beta=np.clip(1 + 0.3 * beta, 0.3, 1.8),
            volatility=0.014 * np.exp(0.35 * volatility),
            half_spread=1.5e-4 * np.exp(0.4 * half_spread),
            volume=np.exp(9 + 1.5 * complete + 0.8 * volume),
            complete=complete,
        )

    def _levels(self, ticker: str, session: Session) -> tuple[float, float]:
        """Where a ticker's daily walk stood at the close before the session and stands at its close, in deviations."""
        days = [int(np.busday_count(FOUNDED, one.date)) for one in (session_before(session), session)]
        steps = self._random(ticker, _DAYS).standard_normal(days[1] + 1)
        before, after = (float(LEVEL_MEMORY ** np.arange(day, -1, -1) @ steps[: day + 1]) for day in days)
        return before, after

    def _traded(self, session: Session) -> dict[str, Bars]:
        """The bars of every ticker in a session. Arrays are tickers × minutes."""
        listing, count = self._listing, session.length
        streams = [self._random(ticker, _SESSION, session.date.toordinal()) for ticker in self._tickers]
        activity = 0.55 + 1.35 * np.linspace(-1, 1, count) ** 2
        volatility = listing.volatility * np.sqrt((1 - OVERNIGHT_SHARE) / count)

        mid = self._mid(session, streams, activity, volatility)
        above, below, shares = np.stack([stream.standard_normal((3, count)) for stream in streams], axis=1)
        first, last = np.stack([stream.choice([-1.0, 1.0], (2, count)) for stream in streams], axis=1)
        opening = mid[:, :-1] + first * listing.half_spread
        close = mid[:, 1:] + last * listing.half_spread
        high = _cents(np.maximum(opening, close) + 0.5 * volatility * abs(above))
        low = _cents(np.minimum(opening, close) - 0.5 * volatility * abs(below))
        opening, close = _cents(opening), _cents(close)
        volume = np.ceil(listing.volume * activity * np.exp(0.5 * shares))

        trades = ~self._silent(streams, activity)
        minutes = session.minutes().tz_localize(None).to_numpy()
        return {
            ticker: Bars(
                minutes[on], opening[row, on], high[row, on], low[row, on], close[row, on], volume[row, on], minutes
            )
            for row, (ticker, on) in enumerate(zip(self._tickers, trades, strict=True))
        }

    def _mid(
        self, session: Session, streams: Sequence[np.random.Generator], activity: Numbers, volatility: Numbers
    ) -> Numbers:
        """Log prices between bid and ask: at the open, and at the end of each minute (tickers × minutes + 1)."""
        steps = len(activity) + 1
        variance = np.concatenate([[OVERNIGHT_SHARE], (1 - OVERNIGHT_SHARE) * activity / activity.sum()])
        market_draws = self._random(_MARKET, _SESSION, session.date.toordinal()).standard_normal((1, steps))
        market = _bridge(market_draws, np.array([self._levels(_MARKET, session)]), variance)
        own_draws = np.array([stream.standard_normal(steps) for stream in streams])
        own = _bridge(own_draws, np.array([self._levels(ticker, session) for ticker in self._tickers]), variance)
        passing = _fading(np.array([stream.standard_normal(steps) for stream in streams]))
        listing = self._listing
        lasting = listing.level + listing.beta * MARKET_VOLATILITY * market + listing.volatility * own
        return lasting + REVERSION_SHARE * volatility * passing

    def _silent(self, streams: Sequence[np.random.Generator], activity: Numbers) -> NDArray[np.bool_]:
        """Which minutes have no trade: none in a complete session, else some, the quieter ones of the day first."""
        complete = np.array([[stream.random()] for stream in streams]) < self._listing.complete
        counts = np.array([[stream.lognormal(1.0, 0.9)] for stream in streams])
        counts = np.ceil(counts * (1 + 4 * (1 - self._listing.complete) ** 2))
        quietness = np.array([stream.exponential(size=len(activity)) for stream in streams]) * activity
        return (np.argsort(np.argsort(quietness)) < np.minimum(counts, len(activity) // 2)) & ~complete


def _bridge(normal: Numbers, level: Numbers, variance: Numbers) -> Numbers:
    """Brownian paths from `level[:, 0]`, where yesterday closed, to `level[:, 1]`, a step of variance 1 on average.

    normal: rows × steps of standard normal numbers. variance: of each step, in sum 1. Returns rows × steps.
    """
    steps = np.sqrt(variance) * normal
    steps += ((level[:, 1] - level[:, 0])[:, None] - steps.sum(axis=1, keepdims=True)) * variance
    return level[:, :1] + steps.cumsum(axis=1)


def _fading(normal: Numbers) -> Numbers:
    """Rows of standard normal numbers made into stationary autoregressions of order one, of variance 1."""
    memory = 0.5 ** (1 / REVERSION_HALF_LIFE)
    age = np.subtract.outer(np.arange(normal.shape[1]), np.arange(normal.shape[1]))
    weights = np.where(age >= 0, memory ** np.maximum(age, 0), 0.0)
    weights[:, 1:] *= np.sqrt(1 - memory**2)
    return normal @ weights.T


def _cents(log_price: Numbers) -> Numbers:
    return np.maximum(np.round(np.exp(log_price), 2), 0.01)
