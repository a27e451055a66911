"""Which bars cannot be believed: rules with names, over the closed bars of one ticker in one session.

A bar whose price breaks a rule is quarantined; of one that breaks a rule on volume alone only the volume is withheld.
Nothing is repaired: a later revision of the source releases the minute. What does not belong here: which rows are bars
of the minutes asked for, and what becomes of a minute (answers.py).

Where a limit is said to be proven by clean bars: 40,206 bars in regular hours, 109 ticker-sessions of 2008 to 2025
from Yahoo and three others. What these rules cannot tell from the bars alone: a block trade from a volume that is
wrong once (clean sessions of ETFs hold minutes of 480 times the volume around them), and an answer that is wrong from
its first bar to its last in the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockpick_assets.core.bars import Bars, Numbers

# A price is a jump when it leaves the last believed close by more than this many times the ticker's median true range
# of a minute (high to low, the close before included), but at least by the floor. Of clean bars in tickers that quiet
# the farthest leaves by 1.6 %. The ceiling is what the exchange allows: a tier 1 share does not trade more than 10 %
# from its mean of five minutes without a halt (Limit Up-Limit Down, at the open and close, when it is widest). Where
# minutes are wider than that, three of them.
JUMP_MULTIPLE = 25
JUMP_FLOOR = 0.02
JUMP_CEILING = 0.10
JUMP_LEAST = 3

# The first bar may be this far from the previous close, as a factor: twice or half. After earnings a member of the
# NASDAQ-100 has fallen by 35 % in a day (Netflix on 2022-04-20).
OPENING_FACTOR = 2.0

# Bars at a new price, the first included, that make a jump a move: two wrong bars in a row confirm nothing.
CONFIRMED = 3

# So many flat bars in a row, without volume and at one price, are a feed that stands still; clean bars have none.
STALE_BARS = 5

# Bars of volume 0 whose prices move, in so many bars in a row, that make every volume around them doubtful. In clean
# bars there are 7, never two in one ticker-session; corrupt sessions alternate them with spikes.
ZEROS = 2
ZEROS_WITHIN = 15

# Sum of the minutes' volumes over the day's volume: .88 to .95 in normal sessions, 2.4 to 11.5 in corrupt ones.
SESSION_VOLUME_LIMIT = 1.5

Rows = NDArray[np.bool_]


class Scope(StrEnum):
    """What of a bar is not believed."""

    BAR = "bar"
    VOLUME = "volume"


@dataclass(frozen=True)
class Rule:
    """`breaks` says which of a ticker's bars, in time order, break the rule; it sees none that broke one before it."""

    name: str
    description: str
    scope: Scope
    breaks: Callable[[Bars], Rows]


def _different(bars: Bars) -> Rows:
    again = bars.minutes[1:] == bars.minutes[:-1]
    return np.append(again, False) | np.append(False, again) if len(bars) else np.zeros(0, dtype=np.bool_)


def _impossible_price(bars: Bars) -> Rows:
    lowest, highest = np.minimum(bars.open, bars.close), np.maximum(bars.open, bars.close)
    return ~((bars.low > 0) & (bars.low <= lowest) & (highest <= bars.high) & (bars.high < np.inf))


def _stale(bars: Bars) -> Rows:
    flat = bars.flat()
    starts = np.append(True, ~(flat[1:] & flat[:-1] & (bars.close[1:] == bars.close[:-1])))[: len(bars)]
    run = np.cumsum(starts) - 1
    return flat & (np.bincount(run)[run] >= STALE_BARS) if len(bars) else flat


def _jumps(bars: Bars) -> tuple[Rows, Rows]:
    """The bars that jump and return, and those at the end that jumped and are not confirmed by `CONFIRMED` bars."""
    returning, unconfirmed = np.zeros(len(bars), dtype=np.bool_), np.zeros(len(bars), dtype=np.bool_)
    if not len(bars):
        return returning, unconfirmed
    high, low, close = np.log(bars.high), np.log(bars.low), np.log(bars.close)
    before = np.append(close[0], close[:-1])
    ranges = np.maximum(high, before) - np.minimum(low, before)
    usual = np.sort(ranges)[(len(bars) - 1) // 2]  # of two the smaller: one wrong bar of two does not widen it
    limit = float(max(JUMP_FLOOR, JUMP_LEAST * usual, min(JUMP_MULTIPLE * usual, JUMP_CEILING)))
    level, within = _start(bars, high, low, close, limit)
    if not (_away(high[0], low[0], level) > within or (_away(high[1:], low[1:], close[:-1]) > limit).any()):
        return returning, unconfirmed
    row = 0
    while row < len(bars):
        stop = row
        while stop < min(row + CONFIRMED, len(bars)) and _away(high[stop], low[stop], level) > within:
            stop += 1
        if stop == row:
            level, within, row = close[row], limit, row + 1
        elif stop - row == CONFIRMED and np.ptp(close[row:stop]) <= limit:
            level, within, row = close[stop - 1], limit, stop
        elif stop - row == CONFIRMED:
            returning[row], row = True, row + 1
        elif stop < len(bars):
            returning[row:stop], row = True, stop
        else:
            unconfirmed[row:], row = True, stop
    return returning, unconfirmed


def _away(high: Any, low: Any, level: Any) -> Any:
    return np.maximum(high - level, level - low)


def _start(bars: Bars, high: Numbers, low: Numbers, close: Numbers, limit: float) -> tuple[float, float]:
    """The log price that the first bar is held against, and how far from it that bar may be.

    The previous close while too few bars follow, or where the first bar is out of all proportion to it, before and
    after a split at the opening; else the middle one of the first three closes.
    """
    first_three = float(np.median(close[:CONFIRMED])), limit
    if bars.previous_close is None or not 0 < bars.previous_close < np.inf:
        return first_three
    ratio = float(np.prod([ratio for start, ratio in bars.splits.items() if start <= bars.minutes[0]]))
    levels = np.log(bars.previous_close / np.array([1.0, ratio]))
    level = float(levels[np.argmin(_away(high[0], low[0], levels))])
    within = float(np.log(OPENING_FACTOR))
    if len(bars) < CONFIRMED or _away(high[0], low[0], level) > within:
        return level, within
    return first_three


def _returns(bars: Bars) -> Rows:
    return _jumps(bars)[0]


def _unconfirmed(bars: Bars) -> Rows:
    return _jumps(bars)[1]


def _impossible_volume(bars: Bars) -> Rows:
    return ~(np.isfinite(bars.volume) & (bars.volume >= 0))


def _zero(bars: Bars) -> Rows:
    moved = bars.high > bars.low
    moved[1:] |= bars.close[1:] != bars.close[:-1]
    return (bars.volume == 0) & moved


def _alternating(bars: Bars) -> Rows:
    zeros = _zero(bars)
    if np.count_nonzero(zeros) < ZEROS:
        return np.zeros(len(bars), dtype=np.bool_)
    width = min(ZEROS_WITHIN, len(bars))
    windows = np.lib.stride_tricks.sliding_window_view(zeros, width).sum(axis=1) >= ZEROS
    return np.convolve(windows, np.ones(width)) > 0


def _spike(bars: Bars) -> Rows:
    return bars.volume > (np.inf if bars.day_volume is None else bars.day_volume)


def _session_volume(bars: Bars) -> Rows:
    day = np.inf if bars.day_volume is None else bars.day_volume
    return np.full(len(bars), bars.volume.sum() > SESSION_VOLUME_LIMIT * day)


RULES: Sequence[Rule] = (
    Rule("different bars", "Two bars of one minute differ.", Scope.BAR, _different),
    Rule(
        "impossible price",
        "A price is missing, infinite, not above zero, or outside low to high.",
        Scope.BAR,
        _impossible_price,
    ),
    Rule("stale price", "Bar after bar is flat, at one price and without volume.", Scope.BAR, _stale),
    Rule("jump", "A price leaves the bars around it by far more than is normal and returns.", Scope.BAR, _returns),
    Rule(
        "unconfirmed jump",
        "A price leaves the bars before it by far more than is normal, and too few bars after it confirm that.",
        Scope.BAR,
        _unconfirmed,
    ),
    Rule("impossible volume", "The volume is missing, infinite or negative.", Scope.VOLUME, _impossible_volume),
    Rule("volume spike", "The volume of the minute is more than that of the day.", Scope.VOLUME, _spike),
    Rule(
        "session volume",
        f"The minutes' volumes add up to more than {SESSION_VOLUME_LIMIT:g} times that of the day.",
        Scope.VOLUME,
        _session_volume,
    ),
    Rule(
        "alternating zeros",
        "Volumes of zero, though the price moves, stand again and again between the others.",
        Scope.VOLUME,
        _alternating,
    ),
    Rule("zero volume", "The volume is zero though the price moves.", Scope.VOLUME, _zero),
)


def broken(bars: Bars) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each bar the name of the rule that its price breaks, and of the one that its volume breaks; "" for none.

    bars: of one ticker and session, closed, on the minute, in time order (`Bars.ordered`). A bar whose price breaks a
    rule is no evidence for the volume of others.
    """
    by_price = _first_broken(bars, Scope.BAR, np.arange(len(bars)))
    by_volume = _first_broken(bars, Scope.VOLUME, np.flatnonzero(by_price == ""))
    return by_price, by_volume


def _first_broken(bars: Bars, scope: Scope, rows: NDArray[np.integer]) -> NDArray[Any]:
    found = np.full(len(bars), "", dtype=object)
    left = bars.take(rows) if len(rows) < len(bars) else bars
    for rule in RULES:
        if rule.scope is scope and (breaks := rule.breaks(left)).any():
            found[rows[breaks]] = rule.name
            rows = rows[~breaks]
            left = bars.take(rows)
    return found
