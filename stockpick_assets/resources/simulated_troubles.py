"""What befalls the tickers and bars of the simulated exchange, and how often: what a real source is feared for.

What does not belong here: prices and volumes, and the minutes in which nothing trades (simulated_prices.py), or the
rows and reasons that come of it (core/answers.py). docs/simulated.md shows the rates as a table.

What befalls a ticker's session follows from the seed, the ticker and the session; what is told of it, from the market
time of the question too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stockpick_assets.core.bars import Bars, Failure, Minutes, Numbers
from stockpick_assets.core.market_hours import Session
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.simulated_prices import Trading


@dataclass(frozen=True)
class Troubles:
    """How often each happens: a share of minutes with a trade, of a ticker's sessions, or of a ticker's business days.

    Each is rare enough to leave most minutes whole, and what is worth a look comes up within some sessions of a hundred
    tickers. A late bar turns a check red until its minute is asked for again: eight of 39,000 minutes a session.
    """

    late: float = 1 / 5_000  # of minutes: the bar is not there when the minute closes
    revised: float = 1 / 1_000  # of minutes: close and volume are those of a part of the trades at first
    halted: float = 1 / 200  # of sessions: the ticker does not trade for a while
    bad_volume: float = 1 / 400  # of sessions: volume is spikes that alternate with zeros
    split: float = 1 / 780  # of days: once in three years, several times what large companies do
    delisted: float = 1 / 4_000  # of days: once in fifteen years; some weeks later another company has the ticker


USUAL_TROUBLES = Troubles()
NO_TROUBLES = Troubles(late=0, revised=0, halted=0, bad_volume=0, split=0, delisted=0)

LATE_MINUTES = 2.0  # mean time by which a late bar is late: one in twelve later than an answer counts as missing

FIRST_SHARE = (0.4, 0.95)  # of its volume that a bar has before it is revised: 0.55 in a recorded revision
REVISED_MINUTES = 4.0  # mean time to the revision, from a minute after the close on
REVISED_LATER_SHARE = 0.05  # of revisions that come so many hours after the close instead
REVISED_LATER_HOURS = (1, 24)

# A pause lasts five minutes and is prolonged by five at even odds, as the exchange's volatility pauses may be: a half
# hour or more is one in 32. One halt in fifty is for news that comes before the opening, and lasts the session.
HALT_STEP = 5
HALT_ALL_SESSION_SHARE = 0.02

BAD_VOLUME_MULTIPLE = (2.4, 11.5)  # of the day's volume that such minutes sum to: as recorded in March 2026

SPLIT_RATIOS = (2.0, 2.0, 3.0, 4.0, 10.0, 0.2)  # drawn evenly; the last is five shares made into one

UNLISTED_DAYS = (10.0, 40.0)  # business days from a delisting to the ticker's next listing

# Lives begin long before any session, so that the first ones find tickers at every stage, and last a century.
_BEGUN = date(1990, 1, 1)
_LIFE = 26_100  # business days


@dataclass(frozen=True)
class Life:
    """A ticker's splits and listings. Times are business days since a common beginning, ascending.

    splits: the beginning, then every split. ratios: how many shares one share becomes at the end of each stretch that
    begins so. delisted, listed_again: in turns.
    """

    splits: Numbers
    ratios: Numbers
    delisted: Numbers
    listed_again: Numbers

    @classmethod
    def drawn(cls, stream: np.random.Generator, troubles: Troubles) -> Self:
        """Gaps between splits are half to one and a half of the mean; between delistings they have no memory."""
        splits, delistings = (1 + int(2 * _LIFE * rate) for rate in (troubles.split, troubles.delisted))
        gaps = _mean_gap(troubles.split) * stream.uniform(0.5, 1.5, splits)
        ratios = stream.choice(SPLIT_RATIOS, splits)
        listed = _mean_gap(troubles.delisted) * stream.exponential(size=delistings)
        unlisted = stream.uniform(*UNLISTED_DAYS, delistings)
        listed_again = np.cumsum(listed + unlisted)
        return cls(np.concatenate([[0.0], gaps.cumsum()]), ratios, listed_again - unlisted, listed_again)

    def premium(self, day: date) -> float:
        """By how much its log price stands above what it wanders around: from nothing after a split to the next one."""
        now = _days(day)
        past = _past(self.splits, now) - 1
        since, until = self.splits[past : past + 2]
        return float(np.log(self.ratios[past]) * (now - since) / (until - since))

    def split(self, before: date, day: date) -> float | None:
        """How many shares one share became at the opening of `day`; `before` is the session before."""
        was, now = (_past(self.splits, _days(one)) for one in (before, day))
        return float(self.ratios[was - 1]) if was < now else None

    def absence(self, day: date) -> Failure | None:
        """Why there is no trading that day, if there is none: first nobody has the ticker, then somebody soon will."""
        now = _days(day)
        newest = _past(self.delisted, now) - 1
        if newest < 0 or self.listed_again[newest] <= now:
            return None
        delisted, listed_again = self.delisted[newest], self.listed_again[newest]
        if now < (delisted + listed_again) / 2:
            return Failure(Reason.DELISTED, f"the simulated exchange delisted it as of {_day(delisted)}")
        return Failure(Reason.NOT_LISTED, f"the simulated exchange lists it from {_day(listed_again)} on")


@dataclass(frozen=True)
class Tape:
    """All that will ever be told of a session. Arrays are tickers × minutes; times are minutes after the opening.

    told: the trading as told once it is settled. first_close, first_volume: what is told until `revised_at`.
    there_at: when a minute's bar is there. day_volume: shares truly traded up to the end of each minute.
    """

    minutes: Minutes
    told: Trading
    halted: NDArray[np.bool_]
    there_at: Numbers
    revised_at: Numbers
    first_close: Numbers
    first_volume: Numbers
    day_volume: Numbers

    def bars(self, row: int, elapsed: float, splits: Mapping[np.datetime64, float]) -> Bars:
        """What is told of a ticker `elapsed` minutes after the opening, of the minutes that have closed by then."""
        closed = np.s_[row, : int(min(elapsed, len(self.minutes)))]
        minutes, told = self.minutes[closed[1]], self.told
        traded, halted = told.traded[closed], self.halted[closed]
        there = traded & (self.there_at[closed] <= elapsed)
        revised = self.revised_at[closed] <= elapsed
        close = np.where(revised, told.close[closed], self.first_close[closed])
        volume = np.where(revised, told.volume[closed], self.first_volume[closed])
        return Bars(
            minutes[there],
            told.open[closed][there],
            told.high[closed][there],
            told.low[closed][there],
            close[there],
            volume[there],
            silent=minutes[~traded & ~halted],
            splits=splits,
            day_volume=float(self.day_volume[closed][-1]),
            halted=minutes[halted],
        )


def taped(session: Session, trading: Trading, streams: Sequence[np.random.Generator], troubles: Troubles) -> Tape:
    """What becomes of a session's trading, ticker by ticker, with the random numbers of each."""
    count = session.length
    late, delay, revised, later, soon, share, place = np.stack([stream.random((7, count)) for stream in streams], 1)
    halt, begin, all_session, bad, phase, multiple = np.array([stream.random(6) for stream in streams]).T[:, :, None]
    pause = HALT_STEP * np.array([[stream.geometric(0.5)] for stream in streams])

    minute = np.arange(count, dtype=np.float64)
    begin = np.floor(begin * count)
    paused = (begin <= minute) & (minute < begin + pause) | (all_session < HALT_ALL_SESSION_SHARE)
    halted = (halt < troubles.halted) & paused
    traded = trading.traded & ~halted
    day_volume = np.round((trading.volume * traded).cumsum(axis=1) / trading.counted)

    spike = 2 * _between(BAD_VOLUME_MULTIPLE, multiple) / trading.counted * ((minute + (phase < 0.5)) % 2)
    volume = np.where(bad < troubles.bad_volume, np.ceil(trading.volume * spike), trading.volume)

    closes_at = minute + 1.0
    there_at = closes_at + np.where(late < troubles.late, _exponential(LATE_MINUTES, delay), 0.0)
    minutes_later = np.where(
        later < REVISED_LATER_SHARE, 60 * _between(REVISED_LATER_HOURS, soon), 1 + _exponential(REVISED_MINUTES, soon)
    )
    revised_at = np.where(revised < troubles.revised, closes_at + minutes_later, 0)
    return Tape(
        session.minutes().tz_localize(None).to_numpy(),
        replace(trading, volume=volume, traded=traded),
        halted,
        there_at,
        revised_at,
        first_close=np.round(_between((trading.low, trading.high), place), 2),
        first_volume=np.ceil(volume * _between(FIRST_SHARE, share)),
        day_volume=day_volume,
    )


def _between(bounds: tuple[Numbers | float, Numbers | float], uniform: Numbers) -> Numbers:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _exponential(mean: float, uniform: Numbers) -> Numbers:
    return -mean * np.log1p(-uniform)


def _mean_gap(rate: float) -> float:
    return 1 / rate if rate else np.inf


def _days(day: date) -> int:
    return int(np.busday_count(_BEGUN, day))


def _day(days: float) -> date:
    return date.fromisoformat(str(np.busday_offset(_BEGUN, int(np.ceil(days)), roll="forward")))


def _past(times: Numbers, now: float) -> int:
    return int(np.searchsorted(times, now, side="right"))
