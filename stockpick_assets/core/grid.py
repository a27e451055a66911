"""A session as matrices of minutes × tickers, for what compares the minutes of a ticker or the tickers of a minute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stockpick_assets.core.market_hours import MINUTE, Session
from stockpick_assets.core.schemas import TIMESTAMP

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Places in a grid: the minute and the ticker index of each. A minute outside the session has no row or value."""

    minutes: Indices
    tickers: Indices

    def earlier(self, minutes: int) -> "Cells":
        """The places that many clock minutes before."""
        return Cells(self.minutes - minutes, self.tickers)


@dataclass(frozen=True)
class Grid:
    """The minutes of a session by the tickers, in the order given."""

    session: Session
    tickers: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Minutes of the session, number of tickers."""
        return self.session.length, len(self.tickers)

    def index_of(self, minute: datetime) -> int:
        """The minute's place in the session, from 0; negative before it."""
        return int((minute - self.session.open) / MINUTE)

    def cells(self, first: datetime, last: datetime, tickers: Sequence[str]) -> Cells:
        """The places of the session's minutes from `first` to `last` × `tickers`, in key order."""
        minutes = np.arange(max(self.index_of(first), 0), min(self.index_of(last) + 1, self.session.length))
        columns = np.array(sorted(self.tickers.index(ticker) for ticker in tickers), dtype=np.int64)
        return Cells(np.repeat(minutes, len(columns)), np.tile(columns, len(minutes)))

    def matrix(self, table: pa.Table, column: str) -> Matrix:
        """A numeric column as float64 of the grid's shape; NaN where there is no row or no value."""
        rows, places = self._rows_in(table)
        values = np.full(self.shape, np.nan)
        values[places.minutes, places.tickers] = table[column].cast(pa.float64()).to_numpy()[rows]
        return values

    def at(self, matrix: Matrix, cells: Cells) -> Matrix:
        """The value of each place, NaN outside the session."""
        inside = self._inside(cells)
        values = np.full(len(cells.minutes), np.nan)
        values[inside] = matrix[cells.minutes[inside], cells.tickers[inside]]
        return values

    def take(self, table: pa.Table, cells: Cells) -> pa.Table:
        """The row of each place, nulls where the table has none."""
        rows, places = self._rows_in(table)
        numbers = np.full(self.shape, np.nan)
        numbers[places.minutes, places.tickers] = rows
        return table.take(pa.array(self.at(numbers, cells), pa.int64(), from_pandas=True))

    def minutes(self, cells: Cells) -> Any:
        """The minute of each place as an Arrow array, null outside the session."""
        starts = self._opening + cells.minutes * np.timedelta64(1, "m")
        return pa.array(starts, TIMESTAMP, mask=~self._inside(cells))

    def keys(self, cells: Cells, source: str) -> dict[str, Any]:
        """The columns `session minute ticker source` of these places."""
        count = len(cells.minutes)
        return {
            "session": pa.array([self.session.date] * count, pa.date32()),
            "minute": self.minutes(cells),
            "ticker": pa.array(self.tickers, pa.string()).take(pa.array(cells.tickers, pa.int64())),
            "source": pa.array([source] * count, pa.string()),
        }

    @property
    def _opening(self) -> np.datetime64:
        return np.datetime64(self.session.open.replace(tzinfo=None), "us")

    def _inside(self, cells: Cells) -> NDArray[np.bool_]:
        return (cells.minutes >= 0) & (cells.minutes < self.session.length)

    def _rows_in(self, table: pa.Table) -> tuple[Indices, Cells]:
        """Numbers and places of the table's rows that are of the session and of these tickers."""
        minutes = (table["minute"].cast(pa.timestamp("us")).to_numpy() - self._opening) // np.timedelta64(1, "m")
        known = pa.array(self.tickers, pa.string())
        # Ten times as fast as looking each ticker up in a dictionary.
        columns: Any = pc.index_in(table["ticker"], known)  # pyright: ignore[reportUnknownMemberType]
        tickers = columns.fill_null(-1).to_numpy().astype(np.int64)
        cells = Cells(minutes.astype(np.int64), tickers)
        rows = np.flatnonzero(self._inside(cells) & (tickers >= 0))
        return rows, Cells(cells.minutes[rows], tickers[rows])


def lagged(values: Matrix, minutes: int) -> Matrix:
    """The value of that many minutes before, NaN in the session's first ones."""
    before = np.full_like(values, np.nan)
    before[minutes:] = values[: max(len(values) - minutes, 0)]
    return before


def carried_forward(values: Matrix) -> Matrix:
    """The newest value up to each minute, NaN before the first."""
    index = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(index, axis=0), axis=0)
