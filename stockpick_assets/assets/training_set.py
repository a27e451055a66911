"""A closed session's features and labels, as known after its close: what models are fitted to."""

from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.factors import aligned
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FACTORS, FEATURE_ROWS, RAW_PRICES, TIMESTAMP, TRAINING_SET
from stockpick_assets.io_managers import Extent
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.training import LABELLED, training_rows


def training_set(flow: Flow) -> dg.AssetsDefinition:
    """The asset `training_set`: session, rows in the schema TRAINING_SET."""
    mapping = dg.LastPartitionMapping()

    @dg.asset(
        **flow.daily(TRAINING_SET.name, description=__doc__, kinds={"pyspark"}),
        ins={
            "features": flow.reads(FEATURE_ROWS.name, Extent.SESSION, mapping=mapping),
            "bars": flow.reads(RAW_PRICES.name, Extent.SESSION, mapping=mapping),
            "factors": flow.reads(FACTORS.name, Extent.SESSION, may_be_missing=True, mapping=mapping),
        },
    )
    def asset(
        context: dg.AssetExecutionContext,
        features: pa.Table,
        bars: pa.Table,
        factors: pa.Table,
        pyspark: PySparkResource,
    ) -> dg.Output[pa.Table]:
        spark = pyspark.spark_session
        # Of every ticker that has rows: one that has left the window since would otherwise be lost.
        tickers: list[Any] = pc.unique(features["ticker"]).to_pylist()
        known = aligned(factors, [date.fromisoformat(context.partition_key)], tickers)
        made = training_rows(frame(spark, features), frame(spark, bars), frame(spark, known))
        labelled = rows(made, LABELLED)
        # Of the features and not of the bars: where those are newer, the features are still to be made again.
        newest = pa.array([pc.max(features[BARS_FETCHED_AT]).as_py()] * labelled.num_rows, TIMESTAMP)
        return flow.output(
            labelled.append_column(BARS_FETCHED_AT, newest), ("ticker", "minute", "label", "obtainable_return")
        )

    return asset
