"""What forecasts turned out to be worth five minutes later, or why that cannot be said.

What does not belong here: what a return is (labels.py), or how good many forecasts were together (evaluation.py).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.labels import ENTRY_MINUTES, HORIZON, HORIZON_MINUTES, forward_returns, profitable_above
from stockpick_assets.core.market_hours import Session, minute_label
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import BARS_FETCHED_AT, SCORES

NOT_STORED = "raw_prices has no row"


class Ungraded(StrEnum):
    """Why there is no grade. The words begin `scores.ungraded`; a detail may follow in brackets.

    A missing bar's detail is its reason (halted, no_trade, closed, …). CLOSED is not in the table: the last five
    forecasts of a session have no minute of grading in it. `never_graded` says it of them.
    """

    TOO_EARLY = "the session is younger than a forecast's horizon"
    NO_PICK = "no pick was made at the forecast minute"
    ABSTAINED = "the forecast abstained"
    NO_ENTRY = "no bar at the entry minute"
    NO_EXIT = "no bar at the exit minute"
    CLOSED = "the session closes before the forecast's horizon"


class NothingToGrade(StockpickError):
    """The minutes to be graded have no bars at all."""


def scores(
    picks: pa.Table,
    bars: pa.Table,
    session: Session,
    first: datetime,
    last: datetime,
    tickers: Sequence[str],
    cost_bp: float,
) -> pa.Table:
    """One grade for each of the session's minutes from `first` to `last` × `tickers`, in key order.

    The columns are those of SCORES but for bars_fetched_at. A row is keyed by the minute of grading; the forecast is
    that of five minutes before. picks: PICKS of the session from its open. bars: RAW_PRICES from its open to `last`.
    The returns, before and after `cost_bp`, are stated wherever the bars stand; `profitable` (the obtainable return
    exceeds the cost) only where there was a forecast. One that abstains and has a rank is graded like any other. Raises
    NothingToGrade.
    """
    grid = Grid(session, tuple(sorted(tickers)))
    cells = grid.cells(first, last, tickers)
    forecast = cells.earlier(HORIZON_MINUTES)
    exits, entries = (grid.take(bars, place) for place in (cells, forecast.earlier(-ENTRY_MINUTES)))
    source = next(filter(None, exits["source"].to_pylist()), None)
    if source is None:
        raise NothingToGrade(
            f"no bars of {minute_label(first)} to {minute_label(last)} in session {session.label()} to grade with; "
            "materialize raw_prices first"
        )
    returns = forward_returns(grid.matrix(bars, "open"), grid.matrix(bars, "close"))
    obtainable, close = (grid.at(matrix, forecast) for matrix in returns)

    picked = grid.take(picks, forecast)
    graded = picked["rank"].is_valid().to_numpy() & ~np.isnan(obtainable)
    why: list[str | None] = [None] * len(graded)
    told = (picked["minute"], picked["rank"], picked["abstain"], entries["reason"], exits["reason"])
    told = [column.to_pylist() for column in told]
    for row in np.flatnonzero(~graded):
        why[row] = _why(forecast.minutes[row], *(column[row] for column in told))
    cost = profitable_above(cost_bp)
    columns: dict[str, Any] = {
        **grid.keys(cells, source),
        "forecast_minute": grid.minutes(forecast),
        "rank": picked["rank"],
        "p_profit": picked["p_profit"],
        "obtainable_return": pa.array(obtainable, from_pandas=True),
        "close_return": pa.array(close, from_pandas=True),
        "obtainable_after_cost": pa.array(obtainable - cost, from_pandas=True),
        "close_after_cost": pa.array(close - cost, from_pandas=True),
        "profitable": pa.array(obtainable > cost, mask=~graded),
        "ungraded": pa.array(why, pa.string()),
    }
    schema = SCORES.without(BARS_FETCHED_AT).columns
    return pa.table([columns[name] for name in schema.names], schema=schema)


def never_graded(forecast_minute: datetime, session: Session) -> str | None:
    """Why a forecast of the session can have no grade, whatever comes; None where it can have one."""
    return Ungraded.CLOSED if forecast_minute + HORIZON > session.last_minute else None


def _why(
    forecast: int, made: datetime | None, rank: int | None, abstain: str | None, entry: str | None, exit_: str | None
) -> str:
    if forecast < 0:
        return Ungraded.TOO_EARLY
    if made is None:
        return Ungraded.NO_PICK
    if rank is None:
        return f"{Ungraded.ABSTAINED} ({abstain})"
    if entry != Reason.PRESENT:
        return f"{Ungraded.NO_ENTRY} ({entry or NOT_STORED})"
    return f"{Ungraded.NO_EXIT} ({exit_ or NOT_STORED})"
