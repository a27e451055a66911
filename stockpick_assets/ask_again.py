"""Asks again for minutes that were answered before: those without a final reason, and those that may have been revised.

An op and no materialization. Sweeping a session as one would be 39,000 events of 1.7 kB each, 26 times a day, for a few
revised bars: it leaves one observation of raw_prices instead, and what a revision touches is materialized again by the
job `recompute`. What does not belong here: when this is done (sensors/heal.py, sensors/sweep.py).
"""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
import pyarrow as pa
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from stockpick_assets.assets.flow import Flow
from stockpick_assets.assets.raw_prices import answered
from stockpick_assets.checks import checked
from stockpick_assets.core.market_hours import minute_from_label, minute_label
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.io_managers import Bounds, Extent, append_new_versions, commit_metadata, read
from stockpick_assets.jobs import ASK_AGAIN
from stockpick_assets.partitions import Selection
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables

OP = "ask"


class Minutes(dg.Config):
    """What is asked for again: minutes of one session, both ends included, as their partition keys say them.

    tickers: all of the window where none is named.
    """

    first: str
    last: str
    tickers: list[str]


def ask_again_job(flow: Flow) -> dg.JobDefinition:
    """The job `ask_again`."""

    @dg.op(name=OP, description=__doc__)
    def op(
        context: dg.OpExecutionContext,
        config: Minutes,
        market_data: dg.ResourceParam[MarketData],
        now: dg.ResourceParam[Now],
        tables: dg.ResourceParam[Tables],
    ) -> None:
        store = tables.store()
        selection = flow.window.select(minute_from_label(config.first), minute_from_label(config.last))
        bounds, metadata = Bounds.of(selection.keys), commit_metadata(context.run_id, selection.keys)
        tickers = config.tickers or selection.tickers
        rows, left = answered(flow, market_data, now, selection, tickers)
        version, added = append_new_versions(store, rows, bounds, metadata, now)
        said = f"{minute_label(selection.first)} to {minute_label(selection.last)} New York"
        told = {
            "minutes": rows.num_rows,
            "tickers": len(tickers),
            "left out": left.total(),
            "new versions": added,
            "table version": version,
        }
        context.log.info(f"raw_prices of {said} was asked for again: {told}")
        context.log_event(
            dg.AssetObservation(flow.key(RAW_PRICES.name), description=f"asked again: {said}", metadata=told)
        )
        _report_checks(context.instance, flow, read(store, RAW_PRICES.name, Extent.PARTITIONS, bounds), selection)

    @dg.job(name=ASK_AGAIN, description="Minutes without a final reason, or that the source may have revised.")
    def job() -> None:
        op()

    return job


def again(first: datetime, last: datetime, tickers: Sequence[str] = ()) -> dg.RunRequest:
    """The request for a run of the job. See Minutes."""
    minutes = {"first": minute_label(first), "last": minute_label(last), "tickers": list(tickers)}
    return dg.RunRequest(run_config={"ops": {OP: {"config": minutes}}})


def _report_checks(instance: dg.DagsterInstance, flow: Flow, rows: pa.Table, selection: Selection) -> None:
    """Let the checks say how the minutes stand now: what they said when these were first answered may be mended."""
    for result in checked(rows, selection):
        assert result.check_name is not None  # `checked` gives each its name
        instance.report_runless_asset_event(
            AssetCheckEvaluation(
                asset_key=flow.key(RAW_PRICES.name),
                check_name=result.check_name,
                passed=result.passed,
                metadata=result.metadata,
                severity=result.severity,
                description=result.description,
            )
        )
