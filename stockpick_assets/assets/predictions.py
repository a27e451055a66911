"""The session's model applied to each ticker's features: score, expected excess return, probability of profit."""

from collections.abc import Mapping
from datetime import date

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.schemas import FEATURE_ROWS, PREDICTIONS, RETURN_MODEL
from stockpick_assets.io_managers import Extent
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import Model, abstained, predict


def predictions(flow: Flow) -> dg.AssetsDefinition:
    """The asset `predictions`: ticker × minute, rows in the schema PREDICTIONS."""
    models = flow.reads(RETURN_MODEL.name, Extent.SESSION, may_be_missing=True, mapping=dg.LastPartitionMapping())

    @dg.asset(
        **flow.minutely(PREDICTIONS.name, description=__doc__, kinds={"pyspark"}),
        ins={"features": flow.reads(FEATURE_ROWS.name), "models": models},
    )
    def asset(features: pa.Table, models: Mapping[date, Model], pyspark: PySparkResource) -> dg.Output[pa.Table]:
        spark = pyspark.spark_session
        parts = [PREDICTIONS.empty()]
        for group in features.group_by("session").aggregate([]).sort_by("session").to_pylist():
            session: date = group["session"]
            of_session = features.filter(pc.equal(features["session"], pa.scalar(session, pa.date32())))
            model = models.get(session)
            if model is None:
                parts.append(abstained(of_session, f"session {session} has no model"))
            else:
                parts.append(rows(predict(model, frame(spark, of_session)), PREDICTIONS))
        made = pa.concat_tables(parts)
        versions = sorted(version for version in pc.unique(made["model_version"]).to_pylist() if version)
        metadata = {"models": ", ".join(versions) or "none", "forecasts": made.num_rows - made["score"].null_count}
        return flow.output(made, ("ticker", "minute", "score", "p_profit", "abstain"), metadata)

    return asset
