"""Asset checks: what the graph says of its own data. Each holds rows against what was expected, by core/quality.py.

They are made by the asset they are of, from the rows it commits: a check that is a step of its own makes Dagster list
every partition of the window first, 1.1 s of a live minute with 118,000 of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.quality import (
    COVERAGE_FLOOR,
    SILENCE_LIMIT,
    VOLUME_LIMIT,
    AnswerMatrix,
    Finding,
    answered,
    believed,
    covered,
    fresh,
    sized,
)
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.partitions import Selection


@dataclass(frozen=True)
class Check:
    """A check of raw_prices. An error is what is asked for again; a warning is for a person to look at."""

    name: str
    find: Callable[[AnswerMatrix], Finding]
    severity: dg.AssetCheckSeverity
    description: str


CHECKS = (
    Check(
        "every_minute_is_answered",
        answered,
        dg.AssetCheckSeverity.ERROR,
        "Every ticker × minute of the run has a bar, or a final reason for having none.",
    ),
    Check(
        "minutes_are_covered",
        covered,
        dg.AssetCheckSeverity.WARN,
        f"In each minute {COVERAGE_FLOOR:.0%} of the listed tickers have a bar.",
    ),
    Check(
        "volumes_are_believable",
        sized,
        dg.AssetCheckSeverity.WARN,
        f"At most {VOLUME_LIMIT:.0%} of the bars, of all tickers and of each, have a volume that is withheld or zero.",
    ),
    Check(
        "prices_are_believable",
        believed,
        dg.AssetCheckSeverity.WARN,
        "No bar of the run is quarantined: kept from everything that computes.",
    ),
    Check(
        "bars_are_fresh",
        fresh,
        dg.AssetCheckSeverity.WARN,
        f"Neither a ticker that usually trades nor all of them have been without a bar for {SILENCE_LIMIT} "
        "ticker-minutes up to the newest minute of the run.",
    ),
)


def checks(flow: Flow) -> list[dg.AssetCheckSpec]:
    """What raw_prices declares of `checked`."""
    asset = flow.key(RAW_PRICES.name)
    return [dg.AssetCheckSpec(check.name, asset=asset, description=check.description) for check in CHECKS]


def checked(rows: pa.Table, selection: Selection) -> Iterator[dg.AssetCheckResult]:
    """The result of every check, of the rows that answer a run's selection."""
    answers = AnswerMatrix.of(rows, selection.tickers, selection.minutes())
    for check in CHECKS:
        found = check.find(answers)
        yield dg.AssetCheckResult(
            check_name=check.name,
            passed=found.passed,
            severity=check.severity,
            description=found.text,
            metadata=found.numbers,
        )
