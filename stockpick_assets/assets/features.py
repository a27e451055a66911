"""The Spark features and indicators of each ticker's minute, from the session so far: nothing later than its close."""

import dagster as dg
import pyarrow as pa
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.factors import matched
from stockpick_assets.core.quality import UNANSWERED, coverage
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FACTORS, FEATURE_ROWS, RAW_PRICES
from stockpick_assets.core.versions import stamped
from stockpick_assets.io_managers import Extent
from stockpick_assets.partitions import SelectionError
from stockpick_assets.spark.features import READ
from stockpick_assets.spark.features import features as compute
from stockpick_assets.spark.frames import frame, rows_of
from stockpick_assets.spark.indicators import with_indicators

COMPUTED = FEATURE_ROWS.without(BARS_FETCHED_AT)


def features(flow: Flow) -> dg.AssetsDefinition:
    """The asset `features`: ticker × minute, rows in the schema FEATURE_ROWS."""

    @dg.asset(
        **flow.minutely(FEATURE_ROWS.name, description=__doc__, kinds={"pyspark"}),
        ins={
            "bars": flow.reads(RAW_PRICES.name, Extent.SESSION_SO_FAR),
            "factors": flow.reads(FACTORS.name, Extent.SESSION, may_be_missing=True, mapping=dg.LastPartitionMapping()),
        },
    )
    def asset(
        context: dg.AssetExecutionContext, bars: pa.Table, factors: pa.Table, pyspark: PySparkResource
    ) -> dg.Output[pa.Table]:
        selection = flow.selection(context)
        found = coverage(bars, flow.window.tickers, selection.minutes())
        if UNANSWERED in found.reasons:
            raise SelectionError(
                f"{flow.source}/features {selection}: features compare all tickers of a minute, and some lack a row of "
                f"raw_prices ({found.text}); materialize raw_prices of these minutes for all tickers first"
            )
        spark = pyspark.spark_session
        # Of the bars and not of the window: rows of a ticker that left the window are compared too.
        every, daily = matched(bars.select(READ), factors)
        given = frame(spark, every)
        computed = compute(given, frame(spark, daily), selection.first)
        computed = with_indicators(computed, given, selection.first)
        rows = rows_of(computed, COMPUTED, selection.last, selection.tickers)
        return flow.output(stamped(rows, bars), ("ticker", "minute", "e1", "reversal"))

    return asset
