"""The indicators that people look for, as data: what each is, in which unit, and by which of several conventions.

They are shown and never learnt from. Each is of one ticker within one session, over the bars that stand: a minute
without a bar is not counted. It is null until the bars it needs are there. What does not belong here: how they are
computed (spark/indicators.py), or the features (feature_set.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Indicator:
    """One indicator of a (ticker, minute), raw, in its own unit.

    look_back: bars of the session that it reads, its own included; None for all of them so far. needs: bars from which
    on it has a value. convention: the choice made where libraries differ. source: who defined it.
    """

    name: str
    definition: str
    unit: str
    look_back: int | None
    needs: int
    convention: str
    source: str


_WILDER = "Wilder (1978), New Concepts in Technical Trading Systems"
_APPEL = "Appel (1979), The Moving Average Convergence-Divergence Trading Method"
_BOLLINGER = "Bollinger (2001), Bollinger on Bollinger Bands"
_GRANVILLE = "Granville (1963), New Key to Stock Market Profits"
_BERKOWITZ = "Berkowitz, Logue and Noser (1988), The Total Cost of Transactions on the NYSE"
_ROBERTS = "Roberts (1959), Control Chart Tests Based on Geometric Moving Averages"
_USAGE = "common usage"
_SMOOTHED = "Wilder's smoothing: weight 1/14, seeded with the mean of the first 14"
_SEEDED = "seeded with the mean of its first values, as many as its length"
_POPULATION = "population standard deviation: divided by 20, not 19"

INDICATORS: tuple[Indicator, ...] = (
    Indicator(
        name="rsi_14",
        definition="relative strength index: smoothed rise of the close over smoothed rise plus smoothed fall",
        unit="0 to 100",
        look_back=None,
        needs=15,
        convention=f"{_SMOOTHED} changes; null while the close has not moved at all",
        source=_WILDER,
    ),
    Indicator(
        name="macd",
        definition="exponential mean of the close over 12 bars minus that over 26",
        unit="$",
        look_back=None,
        needs=26,
        convention=f"each mean {_SEEDED}, at bar 12 and at bar 26",
        source=_APPEL,
    ),
    Indicator(
        name="macd_signal",
        definition="exponential mean of macd over 9 bars",
        unit="$",
        look_back=None,
        needs=34,
        convention=_SEEDED,
        source=_APPEL,
    ),
    Indicator(
        name="macd_histogram",
        definition="macd minus macd_signal",
        unit="$",
        look_back=None,
        needs=34,
        convention="not doubled",
        source=_APPEL,
    ),
    Indicator(
        name="bollinger_middle",
        definition="mean of the close over 20 bars",
        unit="$",
        look_back=20,
        needs=20,
        convention="simple mean",
        source=_BOLLINGER,
    ),
    Indicator(
        name="bollinger_upper",
        definition="bollinger_middle plus two standard deviations of those 20 closes",
        unit="$",
        look_back=20,
        needs=20,
        convention=_POPULATION,
        source=_BOLLINGER,
    ),
    Indicator(
        name="bollinger_lower",
        definition="bollinger_middle minus two standard deviations of those 20 closes",
        unit="$",
        look_back=20,
        needs=20,
        convention=_POPULATION,
        source=_BOLLINGER,
    ),
    Indicator(
        name="atr_14",
        definition="average true range: smoothed distance from the lower of low and close before to the higher of high "
        "and close before",
        unit="$",
        look_back=None,
        needs=15,
        convention=f"{_SMOOTHED} true ranges, of which the first is that of the second bar",
        source=_WILDER,
    ),
    Indicator(
        name="vwap",
        definition="volume-weighted mean of the session's prices so far",
        unit="$",
        look_back=None,
        needs=1,
        convention="a bar's price is (high + low + close) / 3; a bar whose volume is not known is left out; null while "
        "there is no volume",
        source=_BERKOWITZ,
    ),
    Indicator(
        name="obv",
        definition="on-balance volume: sum of the volumes of bars that closed higher minus those that closed lower",
        unit="shares",
        look_back=None,
        needs=1,
        convention="0 at the first bar; a bar whose volume is not known is left out",
        source=_GRANVILLE,
    ),
    Indicator(
        name="ema_20",
        definition="exponential mean of the close over 20 bars",
        unit="$",
        look_back=None,
        needs=20,
        convention=f"weight 2/21, {_SEEDED}",
        source=_ROBERTS,
    ),
    Indicator(
        name="sma_20",
        definition="mean of the close over 20 bars",
        unit="$",
        look_back=20,
        needs=20,
        convention="simple mean",
        source=_USAGE,
    ),
)
