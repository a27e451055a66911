"""Asset checks: what the graph says of its own data. Each holds rows against what was expected, by core/quality.py.

They are made by the asset they are of, from the rows it commits: a check that is a step of its own makes Dagster list
every partition of the window first, 1.1 s of a live minute with 118,000 of them.
"""

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.quality import coverage
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.partitions import Selection

EVERY_MINUTE_IS_ANSWERED = "every_minute_is_answered"


def answered_check(flow: Flow) -> dg.AssetCheckSpec:
    """What raw_prices declares of `answered`."""
    return dg.AssetCheckSpec(
        EVERY_MINUTE_IS_ANSWERED,
        asset=flow.key(RAW_PRICES.name),
        description="Every ticker × minute of the run has a bar, or a final reason for having none.",
    )


def answered(rows: pa.Table, selection: Selection) -> dg.AssetCheckResult:
    """Fails when a ticker's minute of the run has neither a bar nor a final reason for having none."""
    found = coverage(rows, selection.tickers, selection.minutes())
    return dg.AssetCheckResult(
        check_name=EVERY_MINUTE_IS_ANSWERED,
        passed=found.complete,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.text,
        metadata={"expected": found.expected, **found.reasons},
    )
