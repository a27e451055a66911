"""What a forecast is worth: the two returns over the five minutes after it, defined once.

`obtainable`: bought at the next minute's open, sold at the close five minutes after the forecast minute. `close`: from
the forecast minute's own close, which is not tradable: most of what it shows is the last print bouncing between bid
and ask. Minutes are clock minutes of one session, and a bar must stand at both ends. What does not belong here: who is
graded by them (grading.py), or what is fitted to them (spark/training.py).
"""

import numpy as np

from stockpick_assets.core.grid import Matrix
from stockpick_assets.core.market_hours import MINUTE

HORIZON_MINUTES = 5
HORIZON = MINUTE * HORIZON_MINUTES
ENTRY_MINUTES = 1
BASIS_POINTS = 1e4  # in a return of 1


def profitable_above(cost_bp: float) -> float:
    """The return, as a fraction, that a forecast has to exceed after a cost in basis points."""
    return cost_bp / BASIS_POINTS


def forward_returns(opens: Matrix, closes: Matrix) -> tuple[Matrix, Matrix]:
    """The obtainable and the close return of a forecast at each minute, as fractions.

    opens, closes: minutes of one session × tickers, NaN where there is no bar. The answers have their shape, NaN where
    a bar is missing.
    """
    obtainable, close = np.full_like(closes, np.nan), np.full_like(closes, np.nan)
    exits = closes[HORIZON_MINUTES:]
    obtainable[: len(exits)] = exits / opens[ENTRY_MINUTES : ENTRY_MINUTES + len(exits)] - 1
    close[: len(exits)] = exits / closes[: len(exits)] - 1
    return obtainable, close


def _after(minutes: int) -> str:
    return f"(PARTITION BY session, ticker ORDER BY m RANGE BETWEEN {minutes} FOLLOWING AND {minutes} FOLLOWING)"


# The same in Spark SQL, for rows of `open` and `close` with `m`, a count of minutes; null where a bar is missing.
_AT_EXIT = f"max(close) OVER {_after(HORIZON_MINUTES)}"
OBTAINABLE_RETURN = f"try_divide({_AT_EXIT}, max(open) OVER {_after(ENTRY_MINUTES)}) - 1"
CLOSE_RETURN = f"try_divide({_AT_EXIT}, close) - 1"

# What models are fitted to: the percentile, among the rows of its minute, of the close return with the market and the
# factors taken out (`neutral_close`); halfway through equal ones, minus 1/2, so that the mean is 0.
LABEL = """(
    (rank() OVER (PARTITION BY session, minute ORDER BY neutral_close) - 1)
        / count(*) OVER (PARTITION BY session, minute)
    + cume_dist() OVER (PARTITION BY session, minute ORDER BY neutral_close)
) / 2 - 0.5"""
