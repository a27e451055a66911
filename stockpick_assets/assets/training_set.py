"""A closed session's features and labels, as known after its close: what models are fitted to."""

import dagster as dg
import pyarrow as pa
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.schemas import FEATURE_ROWS, RAW_PRICES, TRAINING_SET
from stockpick_assets.io_managers import Extent
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.training import training_rows


def training_set(flow: Flow) -> dg.AssetsDefinition:
    """The asset `training_set`: session, rows in the schema TRAINING_SET."""
    mapping = dg.LastPartitionMapping()

    @dg.asset(
        **flow.daily(TRAINING_SET.name, description=__doc__, kinds={"pyspark"}),
        ins={
            "features": flow.reads(FEATURE_ROWS.name, Extent.SESSION, mapping=mapping),
            "bars": flow.reads(RAW_PRICES.name, Extent.SESSION, mapping=mapping),
        },
    )
    def asset(features: pa.Table, bars: pa.Table, pyspark: PySparkResource) -> dg.Output[pa.Table]:
        spark = pyspark.spark_session
        labelled = rows(training_rows(spark, frame(spark, features), frame(spark, bars)), TRAINING_SET)
        return flow.output(labelled, ("ticker", "minute", "label", "obtainable_return"))

    return asset
