"""What is known of each ticker before a session opens, from completed sessions alone.

The common factors of the tickers' returns, and per ticker: how much it moves and trades, at which minutes, and how much
of a move it has taken back. What belongs here: how that follows from bars and training sets. What does not: what a
minute's features make of it (feature_set.py).

The recipe was measured on 100 tickers. With fewer, as many factors are taken as are the same share of the tickers: more
would leave little of a return, and 4 tickers have none.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stockpick_assets.core.grid import Grid, Matrix, carried_forward, lagged
from stockpick_assets.core.labels import HORIZON_MINUTES
from stockpick_assets.core.market_hours import Session, session_on
from stockpick_assets.core.schemas import FACTORS

SESSION_MINUTES = 390
BARS_SESSIONS, TRAINING_SESSIONS = 20, 12  # how many earlier sessions are read
SIG_SESSIONS, DRIFT_SESSIONS, VOLUME_SESSIONS, FACTOR_SESSIONS, RETURN_SESSIONS = 5, 10, 10, 15, 15
LEAST_RETURNS = 20  # of a session in which a ticker's spread can be told
BASIS = 8  # factors at most
BASIS_SHARE = 0.08  # factors a ticker
PROJECTION_STEPS = (2, 5, 10, 20)  # minutes
PROJECTION_SHARES = (0.12, 0.16, 0.20, 0.25)
RETURN_MINUTES = 30
VOLUME_MINUTES = 5
# What the forward return is regressed on, without a constant.
SLOPES = {"slope_e1": "neutral_e1", "slope_cmid": "neutral_cmid", "slope_es5": "neutral_es5"}


def factors(session: Session, tickers: Sequence[str], source: str, bars: pa.Table, training: pa.Table) -> pa.Table:
    """One row of FACTORS for each of the tickers, sorted.

    bars: RAW_PRICES of up to BARS_SESSIONS sessions before `session`. training: TRAINING_SET of up to TRAINING_SESSIONS
    before it. Either may have no row; what cannot be said then is null, and nothing is taken out of excess returns.
    """
    names = sorted(tickers)
    sessions: Any = pc.unique(bars["session"]).to_pylist()
    days: list[date] = sorted(sessions)
    grids = [Grid(session_on(day), tuple(names)) for day in days]
    past = [_Past(grid, bars) for grid in grids]
    columns = _from_bars(past, len(names)) | _from_training(training, names)
    drift = _neutral(columns["drift"], columns["basis"])
    given = {
        "session": pa.array([session.date] * len(names), pa.date32()),
        "source": pa.array([source] * len(names), pa.string()),
        "ticker": pa.array(names, pa.string()),
        "sessions": pa.array([len(days)] * len(names), pa.int32()),
        **{name: _column(values) for name, values in (columns | {"drift": drift}).items()},
    }
    return pa.table([given[name] for name in FACTORS.columns.names], schema=FACTORS.columns)


def aligned(stored: pa.Table, sessions: Sequence[date], tickers: Sequence[str]) -> pa.Table:
    """Rows of FACTORS, one for each of the sessions × tickers, sorted, whatever is stored of them.

    `projection` has the length and order of `tickers`. Of a ticker that is not stored nothing is known: its spread is
    null, its slopes are 0, and nothing is taken out of its excess returns, nor by them out of those of others.
    """
    names = sorted(tickers)
    return pa.concat_tables(_aligned(stored, session, names) for session in sessions)


def matched(bars: pa.Table, stored: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The bars and the FACTORS of their sessions, both of every ticker that any of the bars is of.

    bars: key and source of RAW_PRICES at least, one row a (minute, ticker). stored: FACTORS. Where a minute lacks a row
    of a ticker, because that is not of its session or was not answered yet, it gets one at the end that is null but for
    key and source.
    """
    tickers: Any = pc.unique(bars["ticker"])  # pyright: ignore[reportUnknownMemberType]
    sessions: Any = pc.unique(bars["session"])  # pyright: ignore[reportUnknownMemberType]
    minutes: Any = bars.group_by(["session", "minute", "source"]).aggregate([])
    minute, ticker = np.indices((minutes.num_rows, len(tickers))).reshape(2, -1)
    every = minutes.take(pa.array(minute)).append_column("ticker", tickers.take(pa.array(ticker)))
    if bars.num_rows < every.num_rows:
        key = ["session", "minute", "ticker"]
        lacking = every.join(bars.select(key), key, join_type="left anti")
        bars = pa.concat_tables([bars, lacking], promote_options="default")
    return bars, aligned(stored, sessions.to_pylist(), tickers.to_pylist())


def _aligned(stored: pa.Table, session: date, names: list[str]) -> pa.Table:
    of_session: Any = pc.equal(stored["session"], pa.scalar(session, pa.date32()))  # pyright: ignore[reportUnknownMemberType]
    rows: Any = stored.filter(of_session).sort_by("ticker")  # pyright: ignore[reportUnknownMemberType]
    known: list[str] = rows["ticker"].to_pylist()
    if known == names:
        return rows.cast(FACTORS.columns)
    places = {ticker: place for place, ticker in enumerate(known)}
    common = [(new, places[ticker]) for new, ticker in enumerate(names) if ticker in places]
    new, old = (np.array([pair[side] for pair in common], dtype=np.int64) for side in (0, 1))
    projection = np.eye(len(names))
    if common:
        projection[np.ix_(new, new)] = np.array(rows["projection"].to_pylist(), dtype=float)[np.ix_(old, old)]
    unknown = _unknown(len(names))
    taken = rows.take(pa.array([places.get(ticker) for ticker in names], pa.int64()))
    given: dict[str, Any] = {
        "session": pa.array([session] * len(names), pa.date32()),
        "ticker": pa.array(names, pa.string()),
        "sessions": pc.fill_null(taken["sessions"], pa.scalar(0, pa.int32())),
        "projection": _column(projection),
        **{name: pc.coalesce(taken[name].combine_chunks(), _column(values)) for name, values in unknown.items()},
    }
    return pa.table(
        [given[name] if name in given else taken[name] for name in FACTORS.columns.names], schema=FACTORS.columns
    )


class _Past:
    """A completed session as matrices of minutes × tickers, in log prices carried forward."""

    def __init__(self, grid: Grid, bars: pa.Table) -> None:
        close, volume = grid.matrix(bars, "close"), grid.matrix(bars, "volume")
        self.prices = np.log(carried_forward(close))
        # A session that stopped early did not go on at its last prices.
        self.prices[np.flatnonzero(~np.isnan(close).all(axis=1)).max(initial=-1) + 1 :] = np.nan
        self.volumes = np.log1p(volume)
        self.dollars = close * volume
        returns = self.prices - lagged(self.prices, 1)
        counted = np.where((~np.isnan(returns)).sum(axis=0) >= LEAST_RETURNS, 1.0, np.nan)
        self.spread = np.sqrt(_mean((returns - _mean(returns, 0)) ** 2, 0)) * counted

    def changes(self, minutes: int) -> Matrix:
        """Overlapping log returns over so many minutes, in excess of their mean over the tickers; 0 where missing."""
        moved = (self.prices - lagged(self.prices, minutes))[minutes:]
        return np.nan_to_num(moved - _mean(moved, 1)[:, None])


def _from_bars(past: Sequence[_Past], count: int) -> dict[str, Matrix]:
    known = _unknown(count)
    if not past:
        return known | {
            "spread": np.full(count, np.nan),
            "sig_before": np.full(count, np.nan),
            "projection": np.eye(count),
        }
    spread, vectors = _eigenvectors([one.changes(HORIZON_MINUTES) for one in past[-FACTOR_SESSIONS:]])
    projection = _projection(past, count)
    chosen = vectors[:, : min(BASIS, round(BASIS_SHARE * count))]
    dollars = _mean(np.stack([_mean(one.dollars, 0) for one in past[-VOLUME_SESSIONS:]]), 0)
    return known | {
        "sig_before": _mean(np.stack([one.spread for one in past[-SIG_SESSIONS:]]), 0),
        "spread": spread,
        "basis": _basis(chosen),
        "label_basis": _basis(chosen * spread[:, None]),
        "projection": projection,
        "dollar_volume": _standardised(np.log(np.where(dollars > 0, dollars, np.nan))),
        "volume_at": _by_minute([_recent_mean(one.volumes) for one in past[-VOLUME_SESSIONS:]]),
        "return_at": _by_minute([_next_return(one, projection) for one in past[-RETURN_SESSIONS:]]),
    }


def _unknown(count: int) -> dict[str, Matrix]:
    """What stands for a ticker without a past, so that nothing is taken out or added."""
    none = np.full((count, SESSION_MINUTES), np.nan)
    zeros = {name: np.zeros(count) for name in (*SLOPES, "drift", "dollar_volume")}
    basis = np.zeros((count, BASIS))
    return zeros | {"basis": basis, "label_basis": basis, "volume_at": none, "return_at": none}


def _eigenvectors(changes: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
    """The tickers' standard deviations, and the eigenvectors of their correlation, the largest first."""
    rows = np.concatenate(changes)
    spread = rows.std(axis=0)
    scaled = np.clip(rows / np.where(spread > 0, spread, 1.0), -5, 5)
    _, vectors = np.linalg.eigh(scaled.T @ scaled)
    return spread, vectors[:, ::-1]


def _basis(vectors: Matrix) -> Matrix:
    """An orthonormal basis of [1, vectors] without the constant, as BASIS columns, those to spare 0."""
    count, width = vectors.shape
    basis = np.zeros((count, BASIS))
    ortho, upper = np.linalg.qr(np.column_stack([np.ones(count), vectors]))
    independent = np.abs(np.diag(upper)) > 1e-9
    basis[:, :width] = ortho[:, 1:] * independent[1:]
    return basis


def _projection(past: Sequence[_Past], count: int) -> Matrix:
    """What takes the factors out of a minute's returns: the mean of projections over steps and numbers of factors."""
    parts: list[Matrix] = []
    for step in PROJECTION_STEPS:
        spread, vectors = _eigenvectors([one.changes(step) for one in past[-BARS_SESSIONS:]])
        for share in PROJECTION_SHARES:
            columns = np.column_stack([np.ones(count), vectors[:, : round(share * count)] * spread[:, None]])
            length = np.linalg.norm(columns, axis=0)
            columns /= np.where(length > 0, length, 1.0)
            parts.append(np.eye(count) - columns @ np.linalg.pinv(columns))
    return np.mean(parts, axis=0)


def _recent_mean(volumes: Matrix) -> Matrix:
    """Mean of the log volumes that the newest VOLUME_MINUTES minutes have."""
    return _mean(np.stack([volumes, *(lagged(volumes, minutes) for minutes in range(1, VOLUME_MINUTES))]), 0)


def _next_return(past: _Past, projection: Matrix) -> Matrix:
    """The return over the RETURN_MINUTES after each minute, factors taken out, in the session's own spread; NaN where
    the session ends before.
    """
    changes = past.changes(RETURN_MINUTES) @ projection.T
    after = np.full_like(past.prices, np.nan)
    after[: len(changes)] = changes
    spread = np.where(past.spread > 0, past.spread, np.nan)
    return np.clip(after / (spread * np.sqrt(RETURN_MINUTES)), -8, 8)


def _by_minute(sessions: Sequence[Matrix]) -> Matrix:
    """Mean over the sessions at each minute, as tickers × SESSION_MINUTES; a half-day knows the first ones only."""
    values = np.full((len(sessions), SESSION_MINUTES, sessions[0].shape[1]), np.nan)
    for number, matrix in enumerate(sessions):
        values[number, : len(matrix)] = matrix
    return _mean(values, 0).T


def _from_training(training: pa.Table, names: list[str]) -> dict[str, Matrix]:
    known = pa.array(names, pa.string())
    places: Any = pc.index_in(training["ticker"], known)  # pyright: ignore[reportUnknownMemberType]
    ticker = places.fill_null(len(names)).to_numpy().astype(np.int64)
    forward = training["neutral_forward"].to_numpy()

    def total(values: Matrix, rows: NDArray[np.bool_]) -> Matrix:
        counted = rows & ~np.isnan(values)
        return np.bincount(ticker[counted], values[counted], len(names) + 1)[:-1].astype(float)

    def slope(name: str) -> Matrix:
        value = np.where(np.isnan(forward), np.nan, training[name].to_numpy())
        every = np.ones(len(value), bool)
        both, square = total(value * forward, every), total(value**2, every)
        return np.divide(both, square, out=np.zeros(len(names)), where=square > 0)

    days = np.array(training["session"].to_numpy(), dtype="datetime64[D]")
    rows = np.isin(days, np.unique(days)[-DRIFT_SESSIONS:])
    count = total(np.where(np.isnan(forward), np.nan, 1.0), rows)
    drift = np.divide(total(forward, rows), count, out=np.full(len(names), np.nan), where=count > 0)
    slopes = {name: slope(measure) for name, measure in SLOPES.items()}
    return slopes | {"drift": drift}


def _neutral(values: Matrix, basis: Matrix) -> Matrix:
    """The values without their mean over the tickers that have one and without the factors; 0 where missing."""
    centred = np.nan_to_num(values - _mean(values, 0))
    return np.where(np.isnan(values), 0.0, centred - basis @ (basis.T @ centred))


def _standardised(values: Matrix) -> Matrix:
    """Distance from the mean in standard deviations, within 3; 0 where missing or where all are equal."""
    centred = values - _mean(values, 0)
    spread = np.sqrt(_mean(centred**2, 0))
    return np.clip(np.nan_to_num(centred / (spread if spread > 1e-9 else np.inf)), -3, 3)


def _mean(values: Matrix, axis: int) -> Matrix:
    """Mean of the values that exist, NaN without one."""
    counts = (~np.isnan(values)).sum(axis=axis)
    totals = np.nansum(values, axis=axis)
    return np.divide(totals, counts, out=np.full(np.shape(totals), np.nan), where=counts > 0)


def _column(values: Matrix) -> Any:
    """An Arrow column of numbers, or of lists where a ticker has several; null for NaN."""
    numbers = pa.array(values.ravel(), pa.float64(), from_pandas=True)
    if values.ndim == 1:
        return numbers
    ends = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
    return pa.ListArray.from_arrays(ends, numbers)  # pyright: ignore[reportUnknownMemberType]
