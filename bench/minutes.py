"""The flow's partitions filled with runs that compute nothing, for bench/ui_pages.py and bench/growth.py.

The assets have the product's keys and partitions, so that its own definitions show them; a run records what a run of
the product would, and its metadata is the number of its partitions.
"""

from datetime import date
from typing import Any

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.definitions import build_definitions, build_flow
from stockpick_assets.jobs import BACKFILL, FLOW
from stockpick_assets.partitions import Selection
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data
from stockpick_assets.settings import Settings

LAST_SESSION = date(2026, 11, 20)
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def simulated(tickers: int, sessions: int) -> Settings:
    """Settings of a simulated market of the first `tickers` of the NASDAQ-100, whose last session is LAST_SESSION."""
    chosen = ",".join(NASDAQ_100[:tickers])
    return Settings.load(source="simulated", last_session=LAST_SESSION, sessions=sessions, tickers=chosen)


def flow_of(settings: Settings) -> Flow:
    """The flow that the settings' definitions are made of."""
    return build_flow(settings, market_data(settings), wall_clock())


def trivial(flow: Flow, settings: Settings) -> dg.JobDefinition:
    """A job of five assets that compute nothing, declared as the flow's are and after the same assets."""
    graph = build_definitions(settings, wall_clock()).resolve_asset_graph()

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(
            **flow.minutely(name, description=None, kinds=set()), deps=sorted(graph.get(flow.key(name)).parent_keys)
        )
        def nothing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult(metadata={"partitions": len(context.partition_keys)})

        return nothing

    assets = [asset(name) for name in FLOW]
    job = dg.define_asset_job(BACKFILL, [one.key for one in assets])
    return dg.Definitions(assets=assets, jobs=[job], executor=dg.in_process_executor).resolve_job_def(BACKFILL)


def materialize(job: dg.JobDefinition, instance: dg.DagsterInstance, selection: Selection) -> str:
    """Run the job over a selection; the run's id."""
    return job.execute_in_process(instance=instance, tags=selection.tags(), run_config=QUIET).run_id
