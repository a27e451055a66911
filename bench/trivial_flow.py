"""Five assets that do nothing, on the partitions of the product, for bench/session.py: what a run of them takes is
Dagster's.
"""

from datetime import date
from typing import Any

import dagster as dg

from stockpick_assets.core.market_hours import sessions_until
from stockpick_assets.jobs import FLOW
from stockpick_assets.partitions import Window

JOB = "trivial_flow"
TICKERS = tuple(f"T{number:03d}" for number in range(100))
WINDOW = Window(tuple(sessions_until(date(2026, 11, 20), 5)), TICKERS)


def trivial_flow(window: Window) -> dg.Definitions:
    """A chain of assets with the names of the flow's, and a job of them, on the partitions of `window`."""

    def asset(name: str, before: str | None) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            partitions_def=window.ticker_minutes,
            backfill_policy=dg.BackfillPolicy.single_run(),
            deps=[before] if before else [],
        )
        def nothing() -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult()

        return nothing

    assets = [asset(name, before) for name, before in zip(FLOW, (None, *FLOW), strict=False)]
    job = dg.define_asset_job(JOB, [one.key for one in assets], executor_def=dg.in_process_executor)
    return dg.Definitions(assets=assets, jobs=[job], executor=dg.in_process_executor)


defs = trivial_flow(WINDOW)
