"""The features, as data: one table that Spark computes, the model reads and the documentation prints.

39 features: six of the bar's shape, the return's residual and its sum of five minutes, three slopes and their products,
the drift, and the products of twelve conditioners with `n_cmid` and with `e1`. An expression is Spark SQL. What it may
name, all of it known when the minute closes:
- of the minute: `open high low close m` (minutes since the open), `log_volume` (log of 1 + volume);
- of the ticker's session so far: `sig` (spread of the one-minute log return), `carried_before` (newest close before
  the minute), `volatility_15`, `highest_15`, `lowest_15`, `mean_log_volume_30`, `zero_share_60`, `missing_share_60`;
- of the tickers of the minute: `excess` (log return minus its mean over them), `dispersion` (of `excess` in sig);
- of earlier sessions, from the table FACTORS: `slope_e1 slope_cmid slope_es5 drift dollar_volume`;
- a combined feature also the features before it and the conditioners; ES5 alone `e1_before`, the sum of e1 over the
  four minutes before.

SHAPES and E1 are made neutral: clipped to ±SHAPE_BOUND, demeaned across the tickers of the minute that have one, and
rid of their projection on the factors. At the end every feature is standardised across the tickers and clipped to
±BOUND. What does not belong here: how those steps run (spark/features.py), what the factors are (core/factors.py), or
what is done with a missing value (spark/training.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

# `sig` is half of the session: the standard deviation of its newest 60 one-minute log returns, and needs 20 of them;
# and half of the sessions before, `sig_before` of FACTORS. Where one is missing it is the other.
MINIMUM_RETURNS = 20
SIGMA_FLOOR = 1e-5
SHAPE_BOUND, BOUND = 8, 3


@dataclass(frozen=True)
class Conditioner:
    """What the effect of a bar's shape depends on; standardised, it enters a feature and is none itself.

    mean, spread: the frozen moments that it is standardised with, before it is clipped to ±BOUND.
    """

    name: str
    expression: str
    definition: str
    mean: float
    spread: float


@dataclass(frozen=True)
class Feature:
    """One feature of a (ticker, minute).

    expression: Spark SQL over the names in the module's docstring. unit: of the value before it is standardised.
    look_back: minutes of the session that it reads, its own included. source: what is known about the effect.
    """

    name: str
    expression: str
    definition: str
    unit: str
    look_back: int
    source: str


_BOUNCE = "Roll (1984): the last print of a bar is at the bid or the ask, and the next one as often on the other side"
_REVERSAL = "Lehmann (1990), Jegadeesh (1990): what moved against the market lately moves back"
_CONDITIONAL = "Campbell, Grossman and Wang (1993): how much moves back depends on volume and volatility"
_BY_TICKER = "the slope of the return on it differs by ticker and lasts from session to session"
_SIG = 61  # 60 returns need 61 closes

# Means and spreads were measured once, on one-minute bars of Yahoo in regular hours: AAPL and NVDA in five sessions of
# May 2025, MSFT and NVDA in six of August 2024; funds, whose returns are the market's, were left out. Those of a clock
# are exact, and of `dollar_volume`, which comes standardised, 0 and 1. A product is standardised across the tickers
# afterwards, so that of a conditioner that is one number for all of them only the side of the mean is left.
CONDITIONERS: tuple[Conditioner, ...] = (
    Conditioner("q_vol", "try_divide(volatility_15, sig)", "volatility of 15 minutes in sig", 0.90, 0.41),
    Conditioner("q_range", "try_divide(high - low, close) / sig", "range of the bar in sig", 1.43, 0.86),
    Conditioner("q_dollars", "dollar_volume", "log mean dollar volume of 10 earlier sessions", 0.0, 1.0),
    Conditioner("q_cent", "try_divide(0.01D, close) / sig", "one cent in sig", 0.073, 0.029),
    Conditioner("q_missing", "missing_share_60", "share of the last 60 minutes without a bar", 0.006, 0.045),
    Conditioner("q_zero", "zero_share_60", "share of the last 60 minutes without a price change", 0.050, 0.091),
    Conditioner("q_volume", "log_volume - mean_log_volume_30", "log volume minus its mean of 30 minutes", -0.024, 0.62),
    Conditioner("q_dispersion", "dispersion", "standard deviation of e1 across the tickers", 0.71, 0.68),
    Conditioner("q_range_15", "(ln(highest_15) - ln(lowest_15)) / sig", "range of 15 minutes in sig", 5.80, 2.88),
    Conditioner("q_time", "m / 390 - 0.5D", "share of the session that has passed, minus 1/2", -0.00128, 0.289),
    Conditioner("q_first", "IF(m < 32, 1D, 0D)", "whether it is one of the first 32 minutes", 0.0821, 0.274),
    Conditioner("q_last", "IF(m >= 352, 1D, 0D)", "whether it is one of the last 38 minutes", 0.0974, 0.297),
)

SHAPES: tuple[Feature, ...] = (
    Feature(
        name="n_cmid",
        expression="(ln(close) - ln((high + low) / 2)) / sig",
        definition="log of the close over the middle of its bar",
        unit="sig",
        look_back=_SIG,
        source=_BOUNCE,
    ),
    Feature(
        name="n_bar",
        expression="IF(high > low, try_divide(close - low, high - low) - 0.5D, 0D)",
        definition="place of the close within its bar, minus 1/2; 0 where high equals low",
        unit="share of the range",
        look_back=1,
        source=_BOUNCE,
    ),
    Feature(
        name="n_oc",
        expression="(ln(close) - ln(open)) / sig",
        definition="log of the close over the bar's own open",
        unit="sig",
        look_back=_SIG,
        source=_REVERSAL,
    ),
    Feature(
        name="n_upw",
        expression="try_divide(high - greatest(open, close), close) / sig",
        definition="upper shadow over the close",
        unit="sig",
        look_back=_SIG,
        source=_REVERSAL,
    ),
    Feature(
        name="n_dnw",
        expression="try_divide(least(open, close) - low, close) / sig",
        definition="lower shadow over the close",
        unit="sig",
        look_back=_SIG,
        source=_REVERSAL,
    ),
    Feature(
        name="n_og",
        expression="(ln(open) - ln(carried_before)) / sig",
        definition="log of the open over the newest close before it",
        unit="sig",
        look_back=_SIG,
        source=_BOUNCE,
    ),
)
E1 = Feature(
    name="e1",
    expression="excess / sig",
    definition="one-minute log return minus its mean over the tickers",
    unit="sig",
    look_back=_SIG,
    source=_REVERSAL,
)
ES5 = Feature(
    name="es5",
    expression="(e1 + coalesce(e1_before, 0)) / sqrt(5)",
    definition="sum of the last five e1, over √5",
    unit="sig",
    look_back=_SIG + 4,
    source=_REVERSAL,
)


def _slope(name: str, expression: str, definition: str) -> Feature:
    return Feature(name, expression, definition, "slope", 1, _BY_TICKER)


def _product(name: str, expression: str, look_back: int = _SIG, source: str = _CONDITIONAL) -> Feature:
    return Feature(name, expression, expression.replace("*", "×"), "sig", look_back, source)


COMBINED: tuple[Feature, ...] = (
    _slope("b_e1", "slope_e1", "slope of the return of five minutes on e1 in 12 earlier sessions"),
    _slope("b_cm", "slope_cmid", "the same on n_cmid"),
    _slope("b_e5", "slope_es5", "the same on es5"),
    _product("b_e1x", "slope_e1 * e1", source=_BY_TICKER),
    _product("b_cmx", "slope_cmid * n_cmid", source=_BY_TICKER),
    _product("b_e5x", "slope_es5 * es5", _SIG + 4, _BY_TICKER),
    Feature("n_drift", "drift", "mean return of five minutes in 10 earlier sessions", "sig", 1, _BY_TICKER),
    *(_product(f"cm_{q.name.removeprefix('q_')}", f"n_cmid * {q.name}") for q in CONDITIONERS),
    *(_product(f"e1_{q.name.removeprefix('q_')}", f"e1 * {q.name}") for q in CONDITIONERS),
)

FEATURES: tuple[Feature, ...] = (*SHAPES, E1, ES5, *COMBINED)
NAMES = [feature.name for feature in FEATURES]


def digest_of(features: Sequence[Feature], conditioners: Sequence[Conditioner], *constants: float) -> str:
    """12 hex digits that stand for what decides the features' numbers, in order; words about them do not.

    How the steps run and what the factors are is code and not in it.
    """
    formulas = [(feature.name, feature.expression) for feature in features]
    moments = [(item.name, item.expression, item.mean, item.spread) for item in conditioners]
    return sha256(json.dumps([formulas, moments, constants]).encode()).hexdigest()[:12]


DIGEST = digest_of(FEATURES, CONDITIONERS, MINIMUM_RETURNS, SIGMA_FLOOR, SHAPE_BOUND, BOUND)


@dataclass(frozen=True)
class Measure:
    """A column beside the features that no model is fitted to: what later steps measure with."""

    name: str
    definition: str


MEASURES: tuple[Measure, ...] = (
    Measure("sig", "spread of the one-minute log return"),
    Measure("return_1", "log return of the minute"),
    Measure("neutral_e1", "e1 before it is standardised"),
    Measure("neutral_cmid", "n_cmid before it is standardised"),
    Measure("neutral_es5", "es5 before it is standardised"),
    Measure("reversal", "a score of the obtainable return that fits nothing but the factors"),
)
