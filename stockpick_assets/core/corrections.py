"""Corrections: when what is found later of a pick is said again, in a message that takes the place of the one before.

What went out is not taken back: scores grade it as it was. What does not belong here: which versions of a pick the
table keeps (versions.py), the message's text (messages.py), or whether it was sent (relay.py).
"""

from datetime import datetime

from stockpick_assets.core.labels import BASIS_POINTS, HORIZON
from stockpick_assets.core.market_hours import MINUTE

MOVED_BP = 1.0
OPEN_FOR = MINUTE + HORIZON  # from the start of a minute on


def horizon_end(minute: datetime) -> datetime:
    """When the forecast of a minute is over: until then it may be acted on, and corrected."""
    return minute + OPEN_FOR


def corrects(price: float | None, rank: int | None, said_price: float | None, said_rank: int | None) -> bool:
    """Whether a pick differs enough from what was said of it last.

    It does when its rank is another, when its price has moved by more than MOVED_BP, or when only one has a price.
    """
    if price is None or said_price is None:
        return rank != said_rank or price is not said_price
    return rank != said_rank or abs(price - said_price) * BASIS_POINTS > said_price * MOVED_BP
