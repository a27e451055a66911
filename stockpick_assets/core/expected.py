"""What is known of a ticker's minute without asking the source: it is not listed that day, or the exchange is closed.

What does not belong here: what the source's answers mean (answers.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from stockpick_assets.core.answers import Request, raw_prices
from stockpick_assets.core.bars import Failure
from stockpick_assets.core.closings import Closing
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.universe import Universe


def answers(
    source: str,
    request: Request,
    universe: Universe,
    closings: Sequence[Closing],
    ask: Callable[[Request], pa.Table],
) -> pa.Table:
    """The rows of `raw_prices` that answer a request, by minute and ticker.

    ask: answers a request with such rows. It is asked at most once: for the tickers that the universe has that day,
    from the first minute outside every closing to the last. Its rows of a minute inside a closing are left out.
    closings: ascending. Raises UnknownMembership, and what `ask` raises.
    """
    day = request.session.date
    minutes = [request.first + number * MINUTE for number in range((request.last - request.first) // MINUTE + 1)]
    listed = frozenset(universe.on(day))
    tickers = tuple(ticker for ticker in request.tickers if ticker in listed)
    strangers = tuple(ticker for ticker in request.tickers if ticker not in listed)
    known: list[pa.Table] = []
    if strangers:
        unlisted = replace(request, tickers=strangers)
        known.append(_known(source, unlisted, Reason.NOT_LISTED, f"not in the universe of {day}"))
    for closing in closings:
        inside = [minute for minute in minutes if closing.contains(minute)]
        minutes = [minute for minute in minutes if not closing.contains(minute)]
        if inside and tickers:
            closed = replace(request, first=inside[0], last=inside[-1], tickers=tickers)
            known.append(_known(source, closed, Reason.CLOSED, f"unscheduled closing: {closing}"))
    asked: list[pa.Table] = []
    if minutes and tickers:
        asked.append(ask(replace(request, first=minutes[0], last=minutes[-1], tickers=tickers)))
    if not known:
        return asked[0]
    grid = Grid(request.session, tuple(sorted(request.tickers)))
    # Of two rows of a minute the grid takes the later: what is known.
    return grid.take(pa.concat_tables(asked + known), grid.cells(request.first, request.last, request.tickers))


def _known(source: str, request: Request, reason: Reason, detail: str) -> pa.Table:
    return raw_prices(source, request, dict.fromkeys(request.tickers, Failure(reason, detail)))
