"""The picks: each minute's forecasts in order, beside what the prices did.

What does not belong here: the message of a pick (messages.py), or what it turned out to be worth (grading.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.abstaining import missing, no_edge
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.grid import Grid, Matrix, carried_forward, lagged
from stockpick_assets.core.market_hours import Session, minute_label, session_before
from stockpick_assets.core.probability import WINDOW_MINUTES, pop_window
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import OF_MESSAGE, PICKS
from stockpick_assets.core.splits import factors, last_closes, splits

RANKED = [name for name in PICKS.columns.names if name not in OF_MESSAGE]
NOT_MADE = "no prediction was made for this minute"


class NothingToRank(StockpickError):
    """The minutes to be ranked have no predictions at all."""


def picks(
    predictions: pa.Table,
    bars: pa.Table,
    session: Session,
    first: datetime,
    last: datetime,
    tickers: Sequence[str],
    selected: Sequence[str],
    cost_bp: float,
) -> pa.Table:
    """One pick for each of the session's minutes from `first` to `last` × `selected` tickers, in key order.

    The columns are those of PICKS but for OF_MESSAGE. predictions: PREDICTIONS of these minutes and all `tickers`,
    among which a pick is ranked. bars: RAW_PRICES of the previous session, and of this one from its open to `last`.

    rank: 1 is the highest score of the minute; equal scores in the order of tickers; null without one. price: newest
    close of the session. change_day: price over the previous session's last close, minus 1. change_5m: price over that
    of five clock minutes before, minus 1. pop_window compares bars only: a carried price is no record. The three
    count in shares of the previous session. Each is null where one of its prices is missing. abstain: the prediction's
    own reason, else why no pick of the minute is to be relied on: too many of `tickers` lack a bar, or none is expected
    to return more than `cost_bp`; it takes nothing from the numbers. Raises NothingToRank.
    """
    grid = Grid(session, tuple(sorted(tickers)))
    cells = grid.cells(first, last, selected)
    predicted = grid.take(predictions, cells)
    source = next(filter(None, predicted["source"].to_pylist()), None)
    if source is None:
        raise NothingToRank(
            f"no predictions of {minute_label(first)} to {minute_label(last)} in session {session.label()} to rank; "
            "materialize predictions first"
        )
    closes = grid.matrix(bars, "close")
    previous = last_closes(bars, session_before(session), grid.tickers)
    worth = closes * factors(grid, splits(bars, session, grid.tickers))
    held = carried_forward(worth)
    matrices = {
        "rank": _ranks(grid.matrix(predictions, "score")),
        "price": carried_forward(closes),
        "change_day": held / previous - 1,
        "change_5m": held / lagged(held, WINDOW_MINUTES) - 1,
        "pop_window": pop_window(worth / previous - 1),
    }
    schema = PICKS.empty().select(RANKED).schema
    kinds = dict(zip(schema.names, schema.types, strict=True))
    told: Any = pc.if_else(predicted["minute"].is_valid(), predicted["abstain"], NOT_MADE)
    marks: Any = pa.array(_marks(grid, predictions, bars, closes, cost_bp), pa.string())
    columns: dict[str, Any] = {
        **grid.keys(cells, source),
        **{name: pa.array(grid.at(matrix, cells), kinds[name], from_pandas=True) for name, matrix in matrices.items()},
        "abstain": pc.coalesce(told, marks.take(pa.array(cells.minutes))),
    }
    return pa.table([columns[name] if name in columns else predicted[name] for name in RANKED], schema=schema)


def _marks(grid: Grid, predictions: pa.Table, bars: pa.Table, closes: Matrix, cost_bp: float) -> list[str | None]:
    """Of each minute of the session why none of its picks is to be relied on."""
    away = pa.array([Reason.NOT_LISTED, Reason.DELISTED], pa.string())
    is_away: Any = pc.is_in(bars["reason"], away)  # pyright: ignore[reportUnknownMemberType]
    listed = grid.matrix(bars.append_column("away", is_away), "away") != 1
    returns = grid.matrix(predictions, "expected_obtainable_return")
    return [
        missing(int(present.sum()), int(expected.sum()))
        or no_edge(expected_returns[~np.isnan(expected_returns)], cost_bp)
        for present, expected, expected_returns in zip(~np.isnan(closes), listed, returns, strict=True)
    ]


def _ranks(scores: Matrix) -> Matrix:
    """Rank of each score within its minute, the highest first, equal ones from left to right; NaN without one."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, scores.shape[1] + 1)[None, :], axis=1)
    return np.where(np.isnan(scores), np.nan, ranks)
