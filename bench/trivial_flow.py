"""The flow's assets as runs that compute nothing, for bench/session.py, ui_pages.py and growth.py: what they take is
Dagster's.

They have the product's keys, partitions and parents, so that its own definitions show them; a run records what a run
of the product would, and its metadata is the number of its partitions.
"""

from datetime import date
from typing import Any

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.backfill import QUIET
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.definitions import build_definitions, build_flow
from stockpick_assets.jobs import BACKFILL, FLOW
from stockpick_assets.partitions import Selection
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data
from stockpick_assets.settings import Settings

LAST_SESSION = date(2026, 11, 20)


def simulated(tickers: int, sessions: int) -> Settings:
    """Settings of a simulated market of the first `tickers` of the NASDAQ-100, whose last session is LAST_SESSION."""
    chosen = ",".join(NASDAQ_100[:tickers])
    replay = {"replay_from": None, "replay_started_at": None}
    return Settings.load(source="simulated", last_session=LAST_SESSION, sessions=sessions, tickers=chosen, **replay)


def flow_of(settings: Settings) -> Flow:
    """The flow that the settings' definitions are made of."""
    return build_flow(settings, market_data(settings), wall_clock())


def trivial_flow(settings: Settings) -> dg.Definitions:
    """Five assets that compute nothing, declared as those of the settings' flow, and the job BACKFILL of them."""
    flow, graph = flow_of(settings), build_definitions(settings, wall_clock()).resolve_asset_graph()

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(
            **flow.minutely(name, description=None, kinds=set()), deps=sorted(graph.get(flow.key(name)).parent_keys)
        )
        def nothing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult(metadata={"partitions": len(context.partition_keys)})

        return nothing

    assets = [asset(name) for name in FLOW]
    job = dg.define_asset_job(BACKFILL, [one.key for one in assets], executor_def=dg.in_process_executor)
    return dg.Definitions(assets=assets, jobs=[job], executor=dg.in_process_executor)


def materialize(definitions: dg.Definitions, instance: dg.DagsterInstance, selection: Selection) -> str:
    """Run the job over a selection; the run's id."""
    job = definitions.resolve_job_def(BACKFILL)
    return job.execute_in_process(instance=instance, tags=selection.tags(), run_config=QUIET).run_id


@dg.definitions
def defs() -> dg.Definitions:
    """What the code server of bench/session.py loads."""
    return trivial_flow(simulated(100, 5))
