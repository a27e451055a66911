"""The tickers of a session: the members of the NASDAQ-100 that day or those that the settings name, and what changed.

Nothing is made of this table: raw_prices and the partitions take the tickers from the same function (core/universe.py),
so that no minute waits for it. It is there to be read: who was asked for when, since when, and from how old a record.
"""

from datetime import date

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.market_hours import session_before, session_on
from stockpick_assets.core.schemas import UNIVERSE


def universe(flow: Flow) -> dg.AssetsDefinition:
    """The asset `universe`: session, rows in the schema UNIVERSE: one a ticker, and one for each that left with it."""

    @dg.asset(**flow.daily(UNIVERSE.name, description=__doc__, kinds={"python"}))
    def asset(context: dg.AssetExecutionContext) -> dg.Output[pa.Table]:
        session = session_on(date.fromisoformat(context.partition_key))
        entries = flow.universe.entries(session.date, session_before(session).date)
        as_of = flow.universe.as_of
        if flow.universe.is_outdated(session.date):
            context.log.warning(
                f"{flow.source}/universe {session.label()}: the record of the NASDAQ-100 ends {as_of} and lacks a "
                "yearly change; install a newer stockpick, or name the tickers in STOCKPICK_TICKERS"
            )
        rows = [
            {
                "session": session.date,
                "source": flow.source,
                "ticker": entry.ticker,
                "name": entry.name,
                "member": entry.member,
                "change": entry.change,
                "detail": entry.detail,
                "data_as_of": as_of,
            }
            for entry in entries
        ]
        changed = ", ".join(f"{entry.ticker} {entry.change}" for entry in entries if entry.change)
        metadata = {
            "dagster/row_count": len(rows),
            "source": flow.source,
            "members": sum(entry.member for entry in entries),
            "changes": changed or "none",
            "data as of": str(as_of or "the settings"),
        }
        return dg.Output(pa.Table.from_pylist(rows, schema=UNIVERSE.columns), metadata=metadata)

    return asset
