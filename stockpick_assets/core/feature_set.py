"""The features, as data: one table that Spark computes, the model reads and the documentation prints.

An expression is Spark SQL. What it may name:
- a bar-shape feature and a conditioner: `open high low close volume` of the minute's own bar, `m` (minutes since the
  open), and what spark/features.py derives for each minute from the bars of the session up to it: `sig` (spread of the
  ticker's one-minute log return), `carried_before` (newest close before the minute), `market_excess` (the minute's log
  return minus its mean over tickers), `volatility_15`, `mean_log_volume_30`, `zero_share_60`;
- a combined feature: bar-shape features, conditioners, `m`, and the window `previous_4` (the four minutes before).

Bar-shape features are clipped to ±8 and demeaned across the tickers of the minute, conditioners are standardised
across them, and at the end every feature is standardised across them and clipped to ±3. What does not belong here: how
those steps run (spark/features.py), or what is done with a missing value (spark/training.py).
"""

from dataclasses import dataclass

# `sig` is the standard deviation of the newest 60 one-minute log returns of the session, and needs 10 of them: its
# standard error is then 24 %, for forecasts that begin ten minutes after the open.
MINIMUM_RETURNS = 10
SIGMA_FLOOR = 1e-5


@dataclass(frozen=True)
class Conditioner:
    """What the effect of a bar's shape depends on; standardised, it enters a feature and is none itself."""

    name: str
    expression: str
    definition: str


@dataclass(frozen=True)
class Feature:
    """One feature of a (ticker, minute).

    expression: Spark SQL over the names in the module's docstring. combined: whether it is made of other features
    instead of the minute's bar. unit: of the value before it is standardised. look_back: minutes of the session that
    it reads, its own included. source: what is known about the effect.
    """

    name: str
    expression: str
    definition: str
    unit: str
    look_back: int
    source: str
    combined: bool = False


_BOUNCE = "Roll (1984): the last print of a bar is at the bid or the ask, and the next one as often on the other side"
_REVERSAL = "Lehmann (1990), Jegadeesh (1990): what moved against the market lately moves back"
_CONDITIONAL = "Campbell, Grossman and Wang (1993): how much moves back depends on volume and volatility"
_SIG = 61  # 60 returns need 61 closes

CONDITIONERS: tuple[Conditioner, ...] = (
    Conditioner("q_vol", "try_divide(volatility_15, sig)", "volatility of 15 minutes over that of 60"),
    Conditioner("q_range", "try_divide(high - low, close) / sig", "range of the bar in sig"),
    Conditioner("q_volume", "ln(1 + volume) - mean_log_volume_30", "log volume minus its mean of 30 minutes"),
    Conditioner("q_zero", "zero_share_60", "share of the last 60 minutes without a price change"),
)

_SHAPES: tuple[Feature, ...] = (
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
        expression="CASE WHEN high > low THEN (close - low) / (high - low) - 0.5 ELSE 0 END",
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
    Feature(
        name="e1",
        expression="market_excess / sig",
        definition="one-minute log return minus its mean over the tickers",
        unit="sig",
        look_back=_SIG,
        source=_REVERSAL,
    ),
)


def _interaction(name: str, expression: str, definition: str) -> Feature:
    return Feature(name, expression, definition, "sig", _SIG, _CONDITIONAL, combined=True)


_COMBINED: tuple[Feature, ...] = (
    Feature(
        name="es5",
        expression="(e1 + coalesce(sum(e1) OVER previous_4, 0)) / sqrt(5)",
        definition="sum of the last five e1, over √5",
        unit="sig",
        look_back=_SIG + 4,
        source=_REVERSAL,
        combined=True,
    ),
    _interaction("cm_vol", "n_cmid * q_vol", "n_cmid × q_vol"),
    _interaction("cm_range", "n_cmid * q_range", "n_cmid × q_range"),
    _interaction("cm_volume", "n_cmid * q_volume", "n_cmid × q_volume"),
    _interaction("cm_zero", "n_cmid * q_zero", "n_cmid × q_zero"),
    _interaction("cm_first", "n_cmid * IF(m < 32, 1, 0)", "n_cmid in the session's first 32 minutes, else 0"),
    _interaction("cm_last", "n_cmid * IF(m >= 352, 1, 0)", "n_cmid from minute 352 of the session on, else 0"),
)

FEATURES: tuple[Feature, ...] = (*_SHAPES, *_COMBINED)


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
    Measure("reversal", "minus es5: a score of the obtainable return that fits nothing"),
)
