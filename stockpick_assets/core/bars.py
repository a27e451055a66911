"""The rows of one ticker as a source returned them, before anything is decided about them.

What does not belong here: which of them can be believed (quarantine.py), and what a missing one means (answers.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stockpick_assets.core.reasons import Reason

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")

Minutes = NDArray[np.datetime64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """There is no bar, for this reason; `detail` says what the source said."""

    reason: Reason
    detail: str


def _never() -> Minutes:
    return np.array([], dtype="datetime64[us]")


@dataclass(frozen=True)
class Bars:
    """The rows a source returned for one ticker, as it returned them: any order, any minute, believable or not.

    minutes: datetime64[us], UTC. The others: float64 of the same length, NaN where the source had nothing.
    silent: minutes of which the source shows that nothing traded, should they have no row here.
    absent: what it means when a minute has no row and is not silent; None while that may still change.
    splits: by the start of the minute from which it holds, how many shares one share became.
    day_volume: shares that the source says were traded in the session so far, the newest bar asked for included; None
        where it does not say.
    halted: minutes of which the source knows that trading was halted, should they have no row here.
    previous_close: the last price of the session before, where the source says it.
    """

    minutes: Minutes
    open: Numbers
    high: Numbers
    low: Numbers
    close: Numbers
    volume: Numbers
    silent: Minutes
    absent: Failure | None = None
    splits: Mapping[np.datetime64, float] = field(default_factory=dict[np.datetime64, float])
    day_volume: float | None = None
    halted: Minutes = field(default_factory=_never)
    previous_close: float | None = None

    def __len__(self) -> int:
        return len(self.minutes)

    def quoted(self) -> NDArray[np.bool_]:
        """Which rows hold any price at all: a row of nulls says no more than no row."""
        return ~(np.isnan(self.open) & np.isnan(self.high) & np.isnan(self.low) & np.isnan(self.close))

    def flat(self) -> NDArray[np.bool_]:
        """Which rows have one price and no volume: no bar of a minute in which something traded."""
        return (self.volume == 0) & (self.open == self.close) & (self.high == self.low) & (self.high == self.close)

    def values(self) -> Numbers:
        """Open, high, low, close and volume, one row each."""
        return np.stack([self.open, self.high, self.low, self.close, self.volume])

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Bars":
        """The same with only these rows, in this order."""
        return replace(self, minutes=self.minutes[rows], **{name: getattr(self, name)[rows] for name in COLUMNS})

    def ordered(self) -> "Bars":
        """The rows by minute and then by value, a repeated one once: the same whatever their order was."""
        values = self.values() + 0.0  # of the two zeros, the positive one
        order = np.lexsort((*values[::-1], self.minutes))
        minutes, values = self.minutes[order], values[:, order]
        equal = (values[:, 1:] == values[:, :-1]) | (np.isnan(values[:, 1:]) & np.isnan(values[:, :-1]))
        first = np.append(True, (minutes[1:] != minutes[:-1]) | ~equal.all(axis=0))[: len(minutes)]
        return replace(self, minutes=minutes[first], **dict(zip(COLUMNS, values[:, first], strict=True)))


def no_bars(absent: Failure | None = None) -> Bars:
    """The answer of a source that returned no row."""
    none = np.array([], dtype=np.float64)
    return Bars(_never(), none, none, none, none, none, _never(), absent)


def as_traded(bars: Bars) -> Bars:
    """Bars whose source gives prices before a split in shares of after it, brought back to what was traded.

    A price before the start of a split is times its ratio and a volume divided by it, for every split in `splits`;
    `previous_close` is taken to be of before the first row.
    """
    if not bars.splits:
        return bars
    ratios = np.ones(len(bars))
    before = 1.0
    for start, ratio in bars.splits.items():
        ratios[bars.minutes < start] *= ratio
        before *= ratio if (bars.minutes < start).any() else 1.0
    prices = {name: getattr(bars, name) * ratios for name in PRICES}
    previous = None if bars.previous_close is None else bars.previous_close * before
    return replace(bars, **prices, volume=bars.volume / ratios, previous_close=previous)
