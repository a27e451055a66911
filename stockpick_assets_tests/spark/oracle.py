"""The features in pandas and numpy, from their written definitions and by other means than Spark: the tests' oracle.

Nothing is taken from the feature table but the frozen moments: a window is cut out and looked at, minute by minute, and
a projection is a product of matrices.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from stockpick_assets.core.feature_set import CONDITIONERS

Frame = pd.DataFrame  # minutes × tickers of one session

FROZEN = {q.name: (q.mean, q.spread) for q in CONDITIONERS}


def features(bars: pa.Table, factors: pa.Table) -> pd.DataFrame:
    """Features and measures by (session, minute, ticker), columns in any order; factors: rows FACTORS, aligned."""
    known = {day: group.set_index("ticker").sort_index() for day, group in factors.to_pandas().groupby("session")}
    sessions = [_of_session(group, known[day]) for day, group in bars.to_pandas().groupby("session")]
    return pd.concat(sessions).sort_index()


def _of_session(rows: pd.DataFrame, daily: pd.DataFrame) -> pd.DataFrame:
    def grid(column: str) -> Frame:
        return rows.pivot(index="minute", columns="ticker", values=column).astype(float)

    def of_day(column: str) -> Frame:
        return pd.DataFrame([daily[column]] * len(closes), closes.index).astype(float)

    def of_minute(column: str) -> Frame:
        values = {ticker: np.array(daily.at[ticker, column], float)[: len(closes)] for ticker in closes}
        return pd.DataFrame(values, closes.index)

    opens, highs, lows, closes = (grid(column) for column in ("open", "high", "low", "close"))
    volumes = np.log1p(grid("volume"))
    traded = closes.notna()
    minute = np.arange(len(closes))

    carried = closes.ffill()
    returns = np.log(carried).diff()
    today = _windowed(returns, 60, lambda newest: newest.std() if len(newest) >= 20 else np.nan)
    before = of_day("sig_before")
    sig = (today / 2 + before / 2).fillna(today).fillna(before).clip(lower=1e-5)
    short = _windowed(returns, 15, lambda newest: newest.std() if len(newest) else np.nan)
    unchanged = _windowed(returns, 60, lambda newest: (newest == 0).mean() if len(newest) else np.nan)
    usual_volume = _windowed(volumes, 30, lambda newest: newest.mean() if len(newest) else np.nan)
    highest = _windowed(highs, 15, lambda newest: newest.max() if len(newest) else np.nan)
    lowest = _windowed(lows, 15, lambda newest: newest.min() if len(newest) else np.nan)

    own = returns.where(traded)
    surprise = (_demeaned(own) / sig).clip(-8, 8)
    basis = np.stack(daily["basis"].to_list())

    def neutral(values: Frame) -> Frame:
        cut = _demeaned(values.clip(-8, 8))
        return cut - cut.fillna(0).to_numpy() @ basis @ basis.T

    shape = {
        "n_cmid": neutral(np.log(closes / ((highs + lows) / 2)) / sig),
        "n_bar": neutral(((closes - lows) / (highs - lows)).where(highs > lows, 0.5).where(traded) - 0.5),
        "n_oc": neutral(np.log(closes / opens) / sig),
        "n_upw": neutral((highs - np.maximum(opens, closes)) / closes / sig),
        "n_dnw": neutral((np.minimum(opens, closes) - lows) / closes / sig),
        "n_og": neutral(np.log(opens / carried.shift()) / sig),
        "e1": neutral(surprise),
    }
    cmid, e1 = shape["n_cmid"], shape["e1"]
    es5 = e1.rolling(5, min_periods=1).sum().where(e1.notna()) / np.sqrt(5)
    of_all = {
        "q_dispersion": surprise.std(axis=1, ddof=1),
        "q_time": pd.Series(minute / 390 - 0.5, closes.index),
        "q_first": pd.Series((minute < 32).astype(float), closes.index),
        "q_last": pd.Series((minute >= 352).astype(float), closes.index),
    }
    condition = {name: pd.DataFrame(dict.fromkeys(closes, values)) for name, values in of_all.items()} | {
        "q_vol": short / sig,
        "q_range": (highs - lows) / closes / sig,
        "q_dollars": of_day("dollar_volume"),
        "q_cent": 0.01 / closes / sig,
        "q_missing": (~traded).astype(float).rolling(60, min_periods=1).mean(),
        "q_zero": unchanged,
        "q_volume": volumes - usual_volume,
        "q_range_15": np.log(highest / lowest) / sig,
    }
    frozen = {name: ((values - FROZEN[name][0]) / FROZEN[name][1]).clip(-3, 3) for name, values in condition.items()}
    combined = {
        "es5": es5,
        "b_e1": of_day("slope_e1"),
        "b_cm": of_day("slope_cmid"),
        "b_e5": of_day("slope_es5"),
        "b_e1x": of_day("slope_e1") * e1,
        "b_cmx": of_day("slope_cmid") * cmid,
        "b_e5x": of_day("slope_es5") * es5,
        "n_drift": of_day("drift"),
        **{name.replace("q_", "cm_"): cmid * values for name, values in frozen.items()},
        **{name.replace("q_", "e1_"): e1 * values for name, values in frozen.items()},
    }
    answer = {name: _standardised(values.where(traded)).clip(-3, 3) for name, values in {**shape, **combined}.items()}
    answer |= {"sig": sig.where(traded), "return_1": own, "neutral_e1": e1, "neutral_cmid": cmid, "neutral_es5": es5}

    projection = np.stack(daily["projection"].to_list())
    residual = (surprise * sig).fillna(0) @ projection.T
    residual.columns = closes.columns
    recent = residual.ewm(halflife=2).mean()
    volume = _windowed(volumes, 5, lambda newest: newest.mean() if len(newest) else np.nan) - of_minute("volume_at")
    volume = _demeaned(volume.where(traded)).clip(-2, 2).fillna(0)
    core = -recent * np.exp(-volume - of_day("dollar_volume") / 2)
    late = (residual.cumsum() / sig).div(np.sqrt(minute + 1), axis=0).where(np.tile(minute[:, None] >= 355, len(daily)))
    parts = {"core": core.where(sig.notna()), "late": late, "usual": of_minute("return_at")}
    parts = {name: _standardised(values.where(traded)) for name, values in parts.items()}
    some = parts["core"].notna() | parts["late"].notna() | parts["usual"].notna()
    whole = parts["core"].fillna(0) + 0.5 * parts["late"].fillna(0) + 0.2 * parts["usual"].fillna(0)
    answer["reversal"] = whole.where(some)

    table = pd.DataFrame({name: values.stack(future_stack=True) for name, values in answer.items()})
    table["session"] = rows["session"].iloc[0]
    return table.set_index("session", append=True).reorder_levels(["session", "minute", "ticker"])


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
    return _demeaned(values).div(deviation.where(varies, 1.0), axis=0).mul(varies.astype(float), axis=0)
