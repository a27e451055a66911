"""The features in pandas and numpy, from their written definitions and by other means than Spark: the tests' oracle.

Nothing is taken from the feature table: a window is cut out and looked at, minute by minute.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

Frame = pd.DataFrame  # minutes × tickers of one session


def features(bars: pa.Table) -> pd.DataFrame:
    """Features by (session, minute, ticker), columns in any order."""
    rows = bars.to_pandas()
    sessions = [_of_session(group) for _, group in rows.groupby("session")]
    return pd.concat(sessions).sort_index()


def _of_session(rows: pd.DataFrame) -> pd.DataFrame:
    def grid(column: str) -> Frame:
        return rows.pivot(index="minute", columns="ticker", values=column).astype(float)

    opens, highs, lows, closes = (grid(column) for column in ("open", "high", "low", "close"))
    volumes = np.log1p(grid("volume"))
    traded = closes.notna()
    minute = np.arange(len(closes))

    carried = closes.ffill()
    returns = np.log(carried).diff()
    spread = _windowed(returns, 60, lambda newest: newest.std() if len(newest) >= 10 else np.nan).clip(lower=1e-5)
    short = _windowed(returns, 15, lambda newest: newest.std() if len(newest) else np.nan)
    unchanged = _windowed(returns, 60, lambda newest: (newest == 0).mean() if len(newest) else np.nan)
    usual_volume = _windowed(volumes, 30, lambda newest: newest.mean() if len(newest) else np.nan)

    own = returns.where(traded)
    excess = own.sub(own.mean(axis=1), axis=0)
    shape = {
        "n_cmid": np.log(closes / ((highs + lows) / 2)) / spread,
        "n_bar": ((closes - lows) / (highs - lows)).where(highs > lows, 0.5).where(traded) - 0.5,
        "n_oc": np.log(closes / opens) / spread,
        "n_upw": (highs - np.maximum(opens, closes)) / closes / spread,
        "n_dnw": (np.minimum(opens, closes) - lows) / closes / spread,
        "n_og": np.log(opens / carried.shift()) / spread,
        "e1": excess / spread,
    }
    shape = {name: _demeaned(values.clip(-8, 8)) for name, values in shape.items()}
    condition = {
        "cm_vol": short / spread,
        "cm_range": (highs - lows) / closes / spread,
        "cm_volume": volumes - usual_volume,
        "cm_zero": unchanged,
    }
    combined = {name: shape["n_cmid"] * _standardised(values.where(traded)) for name, values in condition.items()}
    combined["es5"] = shape["e1"].rolling(5, min_periods=1).sum().where(shape["e1"].notna()) / np.sqrt(5)
    combined["cm_first"] = shape["n_cmid"].mul(minute < 32, axis=0)
    combined["cm_last"] = shape["n_cmid"].mul(minute >= 352, axis=0)

    stacked = {name: _standardised(values).stack() for name, values in {**shape, **combined}.items()}
    answer = pd.DataFrame(stacked)
    answer["session"] = rows["session"].iloc[0]
    return answer.set_index("session", append=True).reorder_levels(["session", "minute", "ticker"])


def _windowed(values: Frame, minutes: int, of: Callable[[np.ndarray], float]) -> Frame:
    """`of` each ticker's values that exist among the newest `minutes`."""
    answer = values.copy()
    for column in values:
        series = values[column].to_numpy()
        windows = [series[max(0, end - minutes) : end] for end in range(1, len(series) + 1)]
        answer[column] = [of(window[~np.isnan(window)]) for window in windows]
    return answer


def _demeaned(values: Frame) -> Frame:
    return values.sub(values.mean(axis=1), axis=0)


def _standardised(values: Frame) -> Frame:
    deviation = values.std(axis=1, ddof=0)
    varies = deviation > 1e-9
    return _demeaned(values).div(deviation.where(varies, 1.0), axis=0).mul(varies.astype(float), axis=0).clip(-3, 3)
