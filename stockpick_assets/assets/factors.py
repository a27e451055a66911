"""What is known of each ticker before a session opens: common factors, slopes and habits, from completed sessions.

Of what it reads, only the bars are declared: the training sets are made of features, which are made of factors, and
though no partition depends on itself, Dagster's graph of assets may have no cycle.
"""

from datetime import date

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.factors import BARS_SESSIONS, SLOPES, TRAINING_SESSIONS
from stockpick_assets.core.factors import factors as compute
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import FACTORS, RAW_PRICES, TRAINING_SET
from stockpick_assets.io_managers import earlier
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import versions_read

BAR_COLUMNS = ("session", "minute", "ticker", "close", "volume")
TRAINING_COLUMNS = ("session", "ticker", *SLOPES.values(), "neutral_forward")


def factors(flow: Flow) -> dg.AssetsDefinition:
    """The asset `factors`: session, rows in the schema FACTORS, one a ticker."""
    bars = dg.AssetDep(flow.key(RAW_PRICES.name), partition_mapping=dg.LastPartitionMapping())

    @dg.asset(**flow.daily(FACTORS.name, description=__doc__, kinds={"python"}), deps=[bars])
    def asset(context: dg.AssetExecutionContext, tables: Tables) -> dg.Output[pa.Table]:
        session, store = session_on(date.fromisoformat(context.partition_key)), tables.store()
        bars = earlier(store, RAW_PRICES.name, session, BARS_SESSIONS, BAR_COLUMNS)
        training = earlier(store, TRAINING_SET.name, session, TRAINING_SESSIONS, TRAINING_COLUMNS)
        made = compute(session, flow.window.tickers, flow.source, bars, training)
        metadata = {
            "sessions": made["sessions"][0].as_py(),
            "tables read": str(versions_read(bars, training)),
        }
        return flow.output(made, ("ticker", "sig_before", "slope_e1", "drift"), metadata)

    return asset
