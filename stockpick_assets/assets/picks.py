"""The picks of each minute: every ticker's rank among all, its changes and probabilities, and the message to send."""

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.messages import Origin, with_messages
from stockpick_assets.core.ranking import picks as rank
from stockpick_assets.core.schemas import PICKS, PREDICTIONS, RAW_PRICES
from stockpick_assets.core.splits import splits
from stockpick_assets.io_managers import Extent
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import versions_read


def picks(flow: Flow) -> dg.AssetsDefinition:
    """The asset `picks`: ticker × minute, rows in the schema PICKS."""

    @dg.asset(
        **flow.minutely(PICKS.name, description=__doc__, kinds={"python"}),
        ins={
            "predictions": flow.reads(PREDICTIONS.name, Extent.MINUTES),
            "bars": flow.reads(RAW_PRICES.name, Extent.TWO_SESSIONS),
        },
    )
    def asset(
        context: dg.AssetExecutionContext,
        predictions: pa.Table,
        bars: pa.Table,
        now: dg.ResourceParam[Now],
        tables: Tables,
    ) -> dg.Output[pa.Table]:
        selection = flow.selection(context)
        ranked = pa.concat_tables(
            rank(
                predictions,
                bars,
                session,
                selection.first,
                selection.last,
                flow.window.tickers,
                selection.tickers,
                flow.cost_bp,
            )
            for session in selection.sessions
        )
        origin = Origin(versions_read(predictions, bars), tables.store().uri(""), context.run.run_id, now.wall())
        made = with_messages(ranked, origin, now.market())
        found = [split for session in selection.sessions for split in splits(bars, session, flow.window.tickers)]
        metadata = {"splits": "; ".join(map(str, found))} if found else {}
        return flow.output(made, ("ticker", "minute", "rank", "p_profit", "abstain"), metadata)

    return asset
