"""The trading of the simulated exchange: each ticker's prices, volumes and minutes without a trade in a session.

What does not belong here: what befalls a ticker or its bars beside trading (simulated_troubles.py).

A ticker's trading follows from the seed, the ticker and the session alone, whichever others are listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stockpick_assets.core.bars import Numbers
from stockpick_assets.core.market_hours import Session, session_before

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

# Share of a day's volume that its minute bars sum to, the auctions left out: as recorded of the real market.
LEAST_COUNTED, MOST_COUNTED = 0.88, 0.95

_MARKET = ""  # stands where a ticker stands, for the common factor


class Stream(IntEnum):
    """What random numbers are for. Each purpose has its own, so that no trouble moves a price."""

    LISTING = 0
    DAYS = 1
    SESSION = 2
    LIFE = 3
    TROUBLES = 4


def random_numbers(seed: int, ticker: str, stream: Stream, day: int = 0) -> np.random.Generator:
    """Random numbers that are the same in every process. day: ordinal of the session's date, 0 for none."""
    return np.random.default_rng((seed, crc32(ticker.encode()), stream, day))


@dataclass(frozen=True)
class Trading:
    """A session as traded. Arrays are tickers × minutes; in a minute without a trade they hold what would have been.

    counted: share of the day's volume that the minutes sum to, as a column.
    """

    open: Numbers
    high: Numbers
    low: Numbers
    close: Numbers
    volume: Numbers
    traded: NDArray[np.bool_]
    counted: Numbers


@dataclass(frozen=True)
class _Listing:
    """What stays the same about the tickers; each field one value a ticker, as a column."""

    level: Numbers  # log price around which it wanders
    beta: Numbers
    volatility: Numbers  # standard deviation of its own daily log return, market aside
    half_spread: Numbers  # of the log price
    volume: Numbers  # shares in a minute of average activity
    complete: Numbers  # share of its sessions without a silent minute


class Market:
    """Makes the trading of `tickers`. effect: whether returns carry the planted reversion."""

    def __init__(self, seed: int, tickers: Sequence[str], effect: bool) -> None:
        self._seed = seed
        self._tickers = tickers
        self._reversion = REVERSION_SHARE if effect else 0.0
        self._listing = self._listed()

    def trading(self, session: Session, premium: Numbers) -> Trading:
        """A session's trading. premium: by how much each log price stands above its own walk, as a column."""
        listing, count = self._listing, session.length
        streams = [random_numbers(self._seed, *self._of_session(ticker, session)) for ticker in self._tickers]
        activity = 0.55 + 1.35 * np.linspace(-1, 1, count) ** 2
        volatility = listing.volatility * np.sqrt((1 - OVERNIGHT_SHARE) / count)

        mid = premium + self._mid(session, streams, activity, volatility)
        above, below, shares = np.stack([stream.standard_normal((3, count)) for stream in streams], axis=1)
        first, last = np.stack([stream.choice([-1.0, 1.0], (2, count)) for stream in streams], axis=1)
        opening = mid[:, :-1] + first * listing.half_spread
        close = mid[:, 1:] + last * listing.half_spread
        high = np.maximum(opening, close) + 0.5 * volatility * abs(above)
        low = np.minimum(opening, close) - 0.5 * volatility * abs(below)
        return Trading(
            _cents(opening),
            _cents(high),
            _cents(low),
            _cents(close),
            volume=np.ceil(listing.volume * activity * np.exp(0.5 * shares - premium)),
            traded=~self._silent(streams, activity),
            counted=np.array([[stream.uniform(LEAST_COUNTED, MOST_COUNTED)] for stream in streams]),
        )

    def _of_session(self, ticker: str, session: Session) -> tuple[str, Stream, int]:
        return ticker, Stream.SESSION, session.date.toordinal()

    def _listed(self) -> _Listing:
        streams = [random_numbers(self._seed, ticker, Stream.LISTING) for ticker in self._tickers]
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
        steps = random_numbers(self._seed, ticker, Stream.DAYS).standard_normal(days[1] + 1)
        before, after = (float(LEVEL_MEMORY ** np.arange(day, -1, -1) @ steps[: day + 1]) for day in days)
        return before, after

    def _mid(
        self, session: Session, streams: Sequence[np.random.Generator], activity: Numbers, volatility: Numbers
    ) -> Numbers:
        """Log prices between bid and ask: at the open, and at the end of each minute (tickers × minutes + 1)."""
        steps = len(activity) + 1
        variance = np.concatenate([[OVERNIGHT_SHARE], (1 - OVERNIGHT_SHARE) * activity / activity.sum()])
        market_draws = random_numbers(self._seed, *self._of_session(_MARKET, session)).standard_normal((1, steps))
        market = _bridge(market_draws, np.array([self._levels(_MARKET, session)]), variance)
        own_draws = np.array([stream.standard_normal(steps) for stream in streams])
        own = _bridge(own_draws, np.array([self._levels(ticker, session) for ticker in self._tickers]), variance)
        passing = _fading(np.array([stream.standard_normal(steps) for stream in streams]))
        listing = self._listing
        lasting = listing.level + listing.beta * MARKET_VOLATILITY * market + listing.volatility * own
        return lasting + self._reversion * volatility * passing

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
