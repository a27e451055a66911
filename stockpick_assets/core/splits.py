"""Splits between two prices: bars are stored as traded, and compared in shares of one session.

What belongs here: into how many a share was split, as the source states it or as the prices show it, and bars given in
shares of after a split brought back to those that are stored. What does not: the stored bars, which are never
rewritten, and dividends: what was paid out is part of a day's change, as it is quoted everywhere, and no bar tells a
dividend from a fall.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.bars import PRICES
from stockpick_assets.core.grid import Grid, Matrix, carried_forward
from stockpick_assets.core.market_hours import MINUTE, Session, minute_label, session_before

# What prices alone can tell: into how many shares one is split, or how many become one. None is below 2, because a
# share does open a third lower, or half as much higher, on news: a 3:2 counts where it is stated.
RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50], dtype=np.float64)
# How far, as a logarithm, the opening may lie from the close it would have without any news. AMZN opened 2.4 % from it
# on the day of its 20:1. A fall by 52 % is 4.1 % from a 2:1; one by 48.5 to 51.5 % overnight cannot be told from it.
BAND = 0.03
# An adjusted history: nearly all prices of a session are the stored ones over one ratio, by more than any revision of
# all of them, but for the cents that were rounded. A spin-off that a source states as a split has any ratio.
ADJUSTED_BY, ADJUSTED_WITHIN, ADJUSTED_SHARE = 0.02, 0.005, 0.9
ADJUSTED_BARS = 5


@dataclass(frozen=True)
class Split:
    """So many shares one share became at the start of that minute; `stated` by the source, or seen in the prices."""

    ticker: str
    minute: datetime
    ratio: float
    stated: bool

    def __str__(self) -> str:
        ratio = Fraction(self.ratio).limit_denominator(100)
        seen = "" if self.stated else ", seen in the prices alone"
        return f"{self.ticker} {ratio.numerator}:{ratio.denominator} at {minute_label(self.minute)}{seen}"


def splits(bars: pa.Table, session: Session, tickers: Sequence[str]) -> tuple[Split, ...]:
    """The splits between the session before's last closes and the bars of this one, by ticker.

    bars: RAW_PRICES of both. A split that is stated is none where it widens the step from the close before it to the
    opening after it: a source that adjusts its history was then asked for the earlier bars after the split. Where none
    is stated by the first bar, an opening within BAND of a ratio of RATIOS, or its reverse, is one.
    """
    grid, previous = Grid(session, tuple(tickers)), last_closes(bars, session_before(session), tickers)
    opens, closes, stated = (grid.matrix(bars, column) for column in ("open", "close", "split"))
    found = [*_stated(opens, closes, stated, previous), *_seen(opens, stated, previous)]
    return tuple(
        Split(grid.tickers[column], session.open + minute * MINUTE, ratio, is_stated)
        for column, minute, ratio, is_stated in sorted(found)
    )


def factors(grid: Grid, found: Sequence[Split]) -> Matrix:
    """Into how many shares one of the session before has become, of the grid's shape: 1 without a split."""
    shares = np.ones(grid.shape)
    for split in found:
        shares[grid.index_of(split.minute) :, grid.tickers.index(split.ticker)] *= split.ratio
    return shares


def last_closes(bars: pa.Table, session: Session, tickers: Sequence[str]) -> NDArray[np.float64]:
    """The last close of each ticker in that session, NaN where there is none."""
    return carried_forward(Grid(session, tuple(tickers)).matrix(bars, "close"))[-1]


def in_stored_shares(answered: pa.Table, stored: pa.Table) -> pa.Table:
    """An answer about minutes that are stored already, in the shares that these were stored in; both RAW_PRICES.

    A source that adjusts its history gives the minutes before a split in shares of after it, without a word. Rows of
    such a ticker are brought back, and left out where a bar is stored: it is the same, but for the cents that were
    rounded. A ticker of which fewer than ADJUSTED_BARS bars are in both is taken as it is.
    """
    known = dict(zip(*(_keys(stored), stored["close"].to_pylist()), strict=True))
    steps: dict[str, list[float]] = {}
    for (minute, ticker), close in zip(_keys(answered), answered["close"].to_pylist(), strict=True):
        before = known.get((minute, ticker))
        if before is not None and close is not None:
            steps.setdefault(ticker, []).append(before / close)
    ratios = {ticker: ratio for ticker, found in steps.items() if (ratio := _adjusted_by(np.array(found))) != 1}
    if not ratios:
        return answered
    factor = np.array([ratios.get(ticker, 1.0) for _, ticker in _keys(answered)])
    columns: list[Any] = [answered[name] for name in answered.column_names]
    for name, power in {**dict.fromkeys(PRICES, 1), "volume": -1}.items():
        values = answered[name].to_numpy() * factor**power
        columns[answered.column_names.index(name)] = pa.array(values, from_pandas=True)
    told = [ticker in ratios and known.get((minute, ticker)) is not None for minute, ticker in _keys(answered)]
    return pa.table(columns, schema=answered.schema).filter(pa.array([not row for row in told], pa.bool_()))


def _keys(table: pa.Table) -> list[tuple[Any, Any]]:
    return list(zip(table["minute"].to_pylist(), table["ticker"].to_pylist(), strict=True))


def _adjusted_by(steps: NDArray[np.float64]) -> float:
    """The ratio that nearly all stored prices of a ticker are of those answered; 1 where there is none."""
    ratio = float(np.median(steps))
    alike = np.abs(np.log(steps / ratio)) < ADJUSTED_WITHIN
    adjusted = abs(np.log(ratio)) > ADJUSTED_BY and alike.mean() >= ADJUSTED_SHARE and len(steps) >= ADJUSTED_BARS
    return ratio if adjusted else 1.0


_Found = tuple[int, int, float, bool]  # column, minute of the session, ratio, whether it was stated


def _stated(opens: Matrix, closes: Matrix, stated: Matrix, previous: NDArray[np.float64]) -> Iterator[_Found]:
    for minute, column in np.argwhere(stated > 0):
        earlier, later = np.append(previous[column], closes[:minute, column]), opens[minute:, column]
        earlier, later = earlier[~np.isnan(earlier)], later[~np.isnan(later)]
        if not earlier.size or not later.size:
            continue
        ratio, step = float(stated[minute, column]), np.log(later[0] / earlier[-1])
        if abs(step + np.log(ratio)) < abs(step):
            yield int(column), int(minute), ratio, True


def _seen(opens: Matrix, stated: Matrix, previous: NDArray[np.float64]) -> Iterator[_Found]:
    first = np.argmax(~np.isnan(opens), axis=0)
    jump = previous / opens[first, np.arange(opens.shape[1])]
    ratios = np.concatenate([RATIOS, 1 / RATIOS])
    distance = np.abs(np.log(jump)[:, None] - np.log(ratios))
    for column in np.flatnonzero((distance < BAND).any(axis=1)):
        if np.isnan(stated[: first[column] + 1, column]).all():
            yield int(column), int(first[column]), float(ratios[distance[column].argmin()]), False
