"""Between Arrow tables and Spark frames. On one machine tables go to Spark as Arrow: a session is 3 MB."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stockpick_assets.core.schemas import TableSchema


def frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    """The table as a Spark frame; the session's time zone must be UTC."""
    return spark.createDataFrame(table.replace_schema_metadata(None))


def rows(frame: DataFrame, schema: TableSchema) -> pa.Table:
    """The frame's rows in the declared columns, types and key order.

    Raises pyarrow.ArrowInvalid when a column cannot hold its type.
    """
    table = frame.select(*schema.columns.names).toArrow().cast(schema.columns)
    return table.sort_by([(column, "ascending") for column in schema.key])


def rows_of(frame: DataFrame, schema: TableSchema, last: datetime, tickers: Sequence[str]) -> pa.Table:
    """The same, of the minutes up to `last` and of `tickers` alone."""
    chosen = frame.where((F.col("minute") <= F.lit(last)) & F.col("ticker").isin(list(tickers)))
    return rows(chosen, schema)
