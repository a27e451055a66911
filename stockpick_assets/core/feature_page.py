"""docs/features.md, written from the tables it describes: features, conditioners, measures and indicators.

What belongs here: how the page reads. What does not: anything about a feature, which feature_set.py and indicators.py
say. `make docs` writes the page, and a test holds it to what is returned here.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from stockpick_assets.core.feature_set import CONDITIONERS, FEATURES, MEASURES
from stockpick_assets.core.indicators import INDICATORS

# What runs on Spark; a reader wants to know what it means.
_LEFT_OUT = "expression"

_PAGE = """\
# Features and indicators

What the table `features` holds of each ticker's minute. This page is written by `make docs` from the tables in
`stockpick_assets/core/feature_set.py` and `stockpick_assets/core/indicators.py`: change those, not this.

All of it is known when the minute closes. A minute computed live is the same as in a backfill. A value that does not
exist is null. `sig` as a unit is the spread of the ticker's one-minute log return; $ is the price as traded.

## Features

What the models are fitted to. Each is standardised across the tickers of the minute and clipped to ±3; the unit is that
of the value before. The look-back is in minutes of the session, the minute's own included.

{features}

## Conditioners

What the effect of a feature depends on. A conditioner is standardised and clipped to ±3 before it enters a feature; it
is no column of the table.

{conditioners}

## Measures

Columns beside the features that no model is fitted to: what later steps measure with.

{measures}

## Indicators

Shown, and never learnt from. Each is of one ticker within one session: nothing of the day before enters. It is raw, in
its own unit, and counts the bars that stand: a minute without a bar is not counted, and has no indicator. The look-back
is in bars; "session" is all of them so far. An indicator is null until as many bars as it needs are there.

{indicators}

Other charts may show other numbers. Most carry their averages over from the day before. TA-Lib starts both means of
`macd` at bar 26. Lean counts the range of the first bar into its average true range, and starts its on-balance volume
with the first bar's volume. A moving VWAP of so many bars, and an RSI of plain means, are other indicators. How a mean
was seeded fades: after 100 bars the seed of Wilder's smoothing weighs (13/14)^100, less than 0.1 %.
"""


def feature_page() -> str:
    """The page, Markdown."""
    return _PAGE.format(
        features=_table(FEATURES),
        conditioners=_table(CONDITIONERS),
        measures=_table(MEASURES),
        indicators=_table(INDICATORS),
    )


def _table(items: Sequence[Any]) -> str:
    """One row an item of a dataclass, one column a field, as the class declares them."""
    names = [field.name for field in fields(items[0]) if field.name != _LEFT_OUT]
    head = [name.replace("look_back", "look-back") for name in names]
    rows = [[_cell(name, getattr(item, name)) for name in names] for item in items]
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *rows))


def _cell(field: str, value: object) -> str:
    if field == "name":
        return f"`{value}`"
    return "session" if value is None else str(value).replace("|", "\\|")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
