"""The jobs: the flow of a minute or a session, and what is made once a day. All run in one process.

The multiprocess executor would cost 5 s a step.
"""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

from stockpick_assets.assets.flow import Flow

FLOW = ("raw_prices", "features", "predictions", "picks", "scores")
LIVE, BACKFILL, UNIVERSE = "live", "backfill", "universe"
TRAINING_SET, PERFORMANCE, FACTORS, RETURN_MODEL = "training_set", "performance", "factors", "return_model"
ASK_AGAIN, RECOMPUTE = "ask_again", "recompute"
# The run coordinator of dagster.yaml launches runs of this priority at once; the others wait for their turn.
AT_ONCE = {"dagster/priority": "10"}


def jobs(flow: Flow) -> list[AssetJob]:
    """Every job of one source."""

    def job(name: str, assets: tuple[str, ...], description: str, tags: Mapping[str, str] | None = None) -> AssetJob:
        return dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*(flow.key(asset) for asset in assets)),
            description=description,
            tags=tags,
            executor_def=dg.in_process_executor,
        )

    return [
        job(LIVE, FLOW, "The flow of the minutes that have just closed, for every ticker.", AT_ONCE),
        job(BACKFILL, FLOW, "The flow of minutes long closed, for some tickers or all."),
        job(RECOMPUTE, FLOW[1:], "What revised bars have left out of date, for every ticker."),
        job(UNIVERSE, ("universe",), "The tickers of a session, and what it changed of them."),
        job(TRAINING_SET, ("training_set",), "A closed session's features and labels."),
        job(PERFORMANCE, ("performance",), "How the forecasts of a closed session turned out."),
        job(FACTORS, ("factors",), "What is known of each ticker before a session, from the sessions before it."),
        job(RETURN_MODEL, ("return_model",), "The models for a session, from the sessions before it."),
    ]
