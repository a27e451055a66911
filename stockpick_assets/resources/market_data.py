"""What every source of bars is to the rest of stockpick: an interface, and the answer it gives.

What does not belong here: any one source (yahoo.py, recorded.py, simulated.py), or what the bars are used for.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session


class SourceUnreachable(StockpickError):
    """The source answered for no ticker at all."""


class MarketData(Protocol):
    """A source of one-minute bars."""

    def sessions(self, now: datetime, count: int) -> list[Session]:
        """The newest `count` sessions, ascending, that have begun at market time `now` and that it has bars of."""
        ...

    def tickers(self) -> tuple[str, ...]:
        """The tickers it knows, of any session, in alphabetical order."""
        ...

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        """One row for each ticker × minute of the session from `first` to `last`, in the schema RAW_PRICES.

        A row is the bar, or nulls and the reason there is none. `now` is market time: no bar that has not closed by
        then is in the answer, and asking for one is a ValueError. `wall` is the wall time written to `fetched_at`.
        One ticker's failure is that ticker's reason, never an exception. Raises SourceUnreachable when all of several
        tickers fail.
        """
        ...
