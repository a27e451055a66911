"""Asset checks: what the graph says of its own data. Each reads rows and asks core/quality.py."""

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.quality import coverage
from stockpick_assets.core.schemas import RAW_PRICES


def every_minute_is_answered(flow: Flow) -> dg.AssetChecksDefinition:
    """Fails when a ticker's minute of the run has neither a bar nor a final reason for having none."""

    @dg.asset_check(
        asset=flow.key(RAW_PRICES.name),
        name="every_minute_is_answered",
        description="Every ticker × minute of the run has a bar, or a final reason for having none.",
    )
    def check(context: dg.AssetCheckExecutionContext, rows: pa.Table) -> dg.AssetCheckResult:
        selection = flow.window.selection(context.partition_key_range)
        found = coverage(rows, selection.tickers, selection.minutes())
        return dg.AssetCheckResult(
            passed=found.complete,
            severity=dg.AssetCheckSeverity.ERROR,
            description=found.text,
            metadata={"expected": found.expected, **found.reasons},
        )

    return check
