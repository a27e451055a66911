"""The bars of each ticker's minute as the source answered, or the reason there is none. Every version is kept."""

from collections import Counter
from collections.abc import Iterator, Sequence

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.checks import checked, checks
from stockpick_assets.core.answers import Request, left_out
from stockpick_assets.core.expected import answers
from stockpick_assets.core.market_hours import last_closed_minute, minute_label
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.partitions import Selection, SelectionError
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.resources.now import Now


def raw_prices(flow: Flow) -> dg.AssetsDefinition:
    """The asset `raw_prices`: ticker × minute, rows in the schema RAW_PRICES."""

    @dg.asset(**flow.minutely(RAW_PRICES.name, description=__doc__, kinds={flow.source}), check_specs=checks(flow))
    def asset(
        context: dg.AssetExecutionContext, market_data: dg.ResourceParam[MarketData], now: dg.ResourceParam[Now]
    ) -> Iterator[dg.Output[pa.Table] | dg.AssetCheckResult]:
        selection = flow.selection(context)
        rows, left = answered(flow, market_data, now, selection, selection.tickers)
        counts = rows.group_by("reason").aggregate([([], "count_all")]).to_pylist()
        told = {f"reason {count['reason']}": count["count_all"] for count in counts}
        told |= {f"left out {kind}": count for kind, count in left.items()}
        yield flow.output(rows, ("ticker", "minute", "close", "volume", "reason"), told)
        yield from checked(rows, selection)

    return asset


def answered(
    flow: Flow, market_data: MarketData, now: Now, selection: Selection, tickers: Sequence[str]
) -> tuple[pa.Table, Counter[str]]:
    """The rows that answer the selection's minutes for these tickers, and how many the source sent that were left out.

    Raises SelectionError for a minute that has not closed.
    """
    wall = now.wall()
    market = now.clock.at(wall)
    closed = last_closed_minute(selection.sessions[-1], market, flow.bar_delay)
    if closed is None or selection.last > closed:
        newest = f"ask for minutes up to {minute_label(closed)}" if closed else "none of its session has"
        raise SelectionError(
            f"{flow.source}/raw_prices {selection}: {minute_label(selection.last)} has not closed at "
            f"{minute_label(market)} market time; {newest}"
        )
    left: Counter[str] = Counter()

    def ask(request: Request) -> pa.Table:
        rows = market_data.bars(request.session, request.first, request.last, request.tickers, market, wall)
        left.update(left_out(rows))
        return rows

    requests = [
        Request(
            session,
            max(session.open, selection.first),
            min(session.last_minute, selection.last),
            tuple(tickers),
            market,
            wall,
        )
        for session in selection.sessions
    ]
    rows = [answers(flow.source, request, flow.universe, flow.closings, ask) for request in requests]
    return pa.concat_tables(rows), left
