"""Training sets written by hand, for tests of models: features drawn at random, and on request one that tells."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.feature_set import NAMES
from stockpick_assets.core.labels import HORIZON_MINUTES
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import FACTORS, FEATURE_ROWS, PREDICTIONS, TRAINING_SET

TELLING = "n_cmid"


def training_set(
    days: Sequence[date], *, effect: float = 1.0, tickers: int = 8, minutes: int = 40, seed: int = 1
) -> pa.Table:
    """TRAINING_SET of the sessions' first minutes; every third minute `n_oc` is missing.

    effect: both returns, in spreads of five minutes, per `n_cmid` and `reversal`; the rest of them has a spread of 1.
    """
    return pa.concat_tables(_session(day, effect, tickers, minutes, seed) for day in days)


def _session(day: date, effect: float, tickers: int, minutes: int, seed: int) -> pa.Table:
    random = np.random.default_rng([seed, day.toordinal()])
    size = minutes * tickers
    rows = pd.DataFrame({name: np.clip(random.normal(size=size), -3, 3) for name in NAMES})
    rows["minute"] = np.repeat(session_on(day).minutes()[:minutes].to_numpy(), tickers)
    rows["ticker"] = [f"T{number:02d}" for number in range(tickers)] * minutes
    rows["session"], rows["source"] = day, "simulated"
    rows["sig"] = np.tile(np.geomspace(5e-4, 1e-3, tickers), minutes)
    rows["reversal"] = random.normal(size=size)
    told = effect * (rows[TELLING] + rows["reversal"]) + random.normal(size=size)
    spread = rows["sig"] * np.sqrt(HORIZON_MINUTES)
    rows["close_return"] = spread * told
    rows["obtainable_return"] = rows["close_return"] + 1e-5 * random.normal(size=size)
    rows["label"] = rows.groupby("minute")["close_return"].rank(pct=True) - 0.5
    rows.loc[np.repeat(np.arange(minutes) % 3 == 0, tickers), "n_oc"] = np.nan
    columns = [
        pa.array(rows[field.name], field.type, from_pandas=True) if field.name in rows else pa.nulls(size, field.type)
        for field in TRAINING_SET.columns
    ]
    return pa.table(columns, schema=TRAINING_SET.columns)


def features_of(training: pa.Table) -> pa.Table:
    """What was known of these rows at their minute: FEATURE_ROWS, without indicators, which no model reads."""
    nothing = pa.nulls(training.num_rows, pa.float64())
    known = [training[name] if name in training.column_names else nothing for name in FEATURE_ROWS.columns.names]
    return pa.table(known, schema=FEATURE_ROWS.columns)


def of(table: pa.Table, *days: date) -> pa.Table:
    """The rows of these sessions."""
    return table.filter(pc.is_in(table["session"], pa.array(days, pa.date32())))


def replaced(table: pa.Table, column: str, values: Sequence[float | None] | np.ndarray) -> pa.Table:
    """The table with other numbers in a column."""
    index = table.column_names.index(column)
    return table.set_column(index, column, pa.array(values, pa.float64()))


def predictions(training: pa.Table, kinds: Sequence[str], *, seed: int = 2) -> pa.Table:
    """PREDICTIONS of these rows: of each kind a score that tells half of what the returns depend on."""
    random = np.random.default_rng(seed)
    telling = training[TELLING].to_numpy() + random.normal(size=training.num_rows)
    given = {name: training[name] for name in ("session", "minute", "ticker", "source")}
    given |= {f"score_{kind}": pa.array(telling * 0.1) for kind in kinds}
    nothing = pa.nulls(training.num_rows)
    return pa.table(
        [given.get(field.name, nothing.cast(field.type)) for field in PREDICTIONS.columns], schema=PREDICTIONS.columns
    )


def factors(days: Sequence[date], tickers: int, *, seed: int | None = 3) -> pa.Table:
    """FACTORS of the sessions: orthonormal bases orthogonal to the constant; of noughts without a seed."""
    rows: list[dict[str, object]] = []
    for day in days:
        bases = np.zeros((2, tickers, 8))
        if seed is not None:
            random = np.random.default_rng([seed, day.toordinal()])
            drawn = random.normal(size=(2, tickers, 8))
            bases = np.linalg.qr(drawn - drawn.mean(axis=1, keepdims=True))[0]
        for number in range(tickers):
            basis, label_basis = (matrix[number].tolist() for matrix in bases)
            rows.append({"session": day, "ticker": f"T{number:02d}", "basis": basis, "label_basis": label_basis})
    return pa.Table.from_pylist(rows, schema=FACTORS.columns)
