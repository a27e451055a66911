"""One-minute bars from a Parquet file, replayed as if they came live.

The file has the columns ticker, timestamp (start of the bar, with a time zone), open, high, low, close and volume;
only regular trading hours are replayed. What a missing minute means is decided from the whole file, so that it comes
out the same live and backfilled: it had no trade when it lies between the first and the last row of its day (of any
ticker, before and after hours included) and, where the day has several tickers, another ticker has that minute.
Otherwise nothing was recorded, and the minute is lost. Which rows make a bar is decided in core/answers.py.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stockpick_assets.core.answers import Request, raw_prices
from stockpick_assets.core.bars import PRICES, Bars, Failure
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import NEW_YORK, Session, sessions_between
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.universe import checked_tickers

COLUMNS = ("ticker", "timestamp", *PRICES, "volume")
KEPT_SESSIONS = 8


class RecordingError(StockpickError):
    """The file of recorded bars cannot be replayed, or does not hold what was asked of it."""


class RecordedBars:
    """The `MarketData` of one file of recorded bars.

    Raises RecordingError when `path` is not a Parquet file of such bars or holds none in regular trading hours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        rows = _read(path)
        local = rows["timestamp"].dt.tz_convert(NEW_YORK)
        self._rows = rows.assign(date=local.dt.date, timestamp=rows["timestamp"].dt.tz_localize(None))
        self._sessions = self._recorded_sessions()
        try:
            self._tickers = checked_tickers(rows["ticker"].unique())
        except ValueError as error:
            raise RecordingError(f"the column ticker of {path} cannot be used: {error}") from None
        self._session_bars = lru_cache(maxsize=KEPT_SESSIONS)(self._recorded)

    def sessions(self, now: datetime, count: int) -> list[Session]:
        """The newest `count` sessions of the file, ascending, that have begun at market time `now`."""
        return [session for session in self._sessions if session.open <= now][-count:]

    def tickers(self) -> tuple[str, ...]:
        """The tickers of the file, in alphabetical order."""
        return self._tickers

    def session(self, day: date) -> Session:
        """The file's session of that date. Raises RecordingError, naming its sessions, when it has none."""
        for session in self._sessions:
            if session.date == day:
                return session
        raise RecordingError(
            f"{self._path} has no session of {day}; it holds {len(self._sessions)}: "
            f"{', '.join(session.label() for session in self._sessions)}"
        )

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        """See `MarketData.bars`. Raises RecordingError for a session the file does not hold."""
        request = Request(session, first, last, tuple(tickers), now, wall)
        recorded = self._session_bars(self.session(session.date))
        unrecorded = Failure(Reason.LOST, f"{self._path.name} has no row of this ticker on {session.date}")
        begun = np.datetime64(now.replace(tzinfo=None), "us")
        answers = {
            ticker: recorded[ticker].take(recorded[ticker].minutes <= begun) if ticker in recorded else unrecorded
            for ticker in tickers
        }
        return raw_prices("recorded", request, answers)

    def _recorded_sessions(self) -> list[Session]:
        if self._rows.empty:
            raise RecordingError(f"{self._path} has no rows; choose a file with bars of 9:30 to 16:00 New York")
        stamps = np.sort(self._rows["timestamp"].to_numpy())
        recorded = [
            session
            for day in sorted(self._rows["date"].unique())
            for session in sessions_between(day, day)
            if np.isin(session.minutes().tz_localize(None).to_numpy(), stamps).any()
        ]
        if not recorded:
            raise RecordingError(
                f"{self._path} has no bar in regular trading hours: its {len(stamps)} rows run from "
                f"{stamps[0]} to {stamps[-1]} UTC; "
                "choose a file with bars of 9:30 to 16:00 New York"
            )
        return recorded

    def _recorded(self, session: Session) -> dict[str, Bars]:
        """The file's rows of a session's day, by ticker, with what the file shows of the minutes it does not have."""
        rows = self._rows[self._rows["date"] == session.date]
        minutes = session.minutes().tz_localize(None).to_numpy()
        stamps = rows["timestamp"].to_numpy()
        recorded = minutes[(minutes >= stamps.min()) & (minutes <= stamps.max())]
        if rows["ticker"].nunique() > 1:
            recorded = np.intersect1d(recorded, stamps)
        lost = Failure(Reason.LOST, f"{self._path.name} has no row of any ticker in this minute")
        return {
            str(ticker): Bars(
                minutes=of_ticker["timestamp"].to_numpy(),
                **{name: of_ticker[name].to_numpy() for name in (*PRICES, "volume")},
                silent=recorded,
                absent=lost,
            )
            for ticker, of_ticker in rows.groupby("ticker")
        }


def _read(path: Path) -> pd.DataFrame:
    """The file's rows: ticker as text, timestamp in UTC to the microsecond, the others as float64."""
    if not path.is_file():
        raise RecordingError(f"there is no file of recorded bars at {path}; name one that is there")
    try:
        missing = sorted(set(COLUMNS) - set(pq.read_schema(path).names))
        if missing:
            raise RecordingError(
                f"{path} lacks the column {', '.join(missing)}; a file of recorded bars has {', '.join(COLUMNS)}"
            )
        table = pq.read_table(path, columns=list(COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path} cannot be read as Parquet: {error}") from error
    stamp = table.schema.field("timestamp").type
    if not pa.types.is_timestamp(stamp) or stamp.tz is None:
        raise RecordingError(f"the column timestamp of {path} is {stamp}; it must be a timestamp with a time zone")
    types = {"ticker": pa.string(), "timestamp": pa.timestamp("us", tz="UTC")}
    types |= dict.fromkeys((*PRICES, "volume"), pa.float64())
    table = pa.Table.from_arrays([_cast(table, name, kind, path) for name, kind in types.items()], list(types))
    if table["ticker"].null_count or table["timestamp"].null_count:
        raise RecordingError(f"{path} has rows without a ticker or timestamp; remove them and try again")
    return table.to_pandas()


def _cast(table: pa.Table, column: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    try:
        return table[column].cast(kind)
    except pa.ArrowException as error:
        raise RecordingError(f"the column {column} of {path} is of the wrong type: {error}") from error
