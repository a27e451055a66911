"""What the forecasts of five minutes ago turned out to be worth, keyed by the minute of grading."""

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.grading import scores as grade
from stockpick_assets.core.schemas import PICKS, RAW_PRICES, SCORES
from stockpick_assets.core.versions import stamped
from stockpick_assets.io_managers import Extent


def scores(flow: Flow) -> dg.AssetsDefinition:
    """The asset `scores`: ticker × minute, rows in the schema SCORES."""

    @dg.asset(
        **flow.minutely(SCORES.name, description=__doc__, kinds={"python"}),
        ins={
            "picks": flow.reads(PICKS.name, Extent.SESSION_SO_FAR),
            "bars": flow.reads(RAW_PRICES.name, Extent.SESSION_SO_FAR),
        },
    )
    def asset(context: dg.AssetExecutionContext, picks: pa.Table, bars: pa.Table) -> dg.Output[pa.Table]:
        selection = flow.selection(context)
        graded = pa.concat_tables(
            grade(picks, bars, session, selection.first, selection.last, selection.tickers, flow.cost_bp)
            for session in selection.sessions
        )
        metadata = {"graded": graded["ungraded"].null_count}
        return flow.output(
            stamped(graded, bars), ("ticker", "minute", "obtainable_return", "profitable", "ungraded"), metadata
        )

    return asset
