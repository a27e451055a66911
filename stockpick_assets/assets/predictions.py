"""The session's models applied to each ticker's features: scores, expected returns, probability of profit."""

from collections.abc import Mapping
from datetime import date

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.schemas import FEATURE_ROWS, PREDICTIONS, RETURN_MODEL
from stockpick_assets.io_managers import Extent
from stockpick_assets.partitions import SelectionError
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import READ, SessionModels, abstained, predict


def predictions(flow: Flow) -> dg.AssetsDefinition:
    """The asset `predictions`: ticker × minute, rows in the schema PREDICTIONS."""
    models = flow.reads(RETURN_MODEL.name, Extent.SESSION, may_be_missing=True, mapping=dg.LastPartitionMapping())

    @dg.asset(
        **flow.minutely(PREDICTIONS.name, description=__doc__, kinds={"pyspark"}),
        ins={"features": flow.reads(FEATURE_ROWS.name, Extent.MINUTES), "models": models},
    )
    def asset(
        context: dg.AssetExecutionContext,
        features: pa.Table,
        models: Mapping[date, SessionModels],
        pyspark: PySparkResource,
    ) -> dg.Output[pa.Table]:
        selection = flow.selection(context)
        features = features.filter(pc.is_in(features["ticker"], pa.array(flow.window.tickers)))
        minutes = len(selection.minutes())
        if features.num_rows < minutes * len(flow.window.tickers):
            raise SelectionError(
                f"{flow.source}/predictions {selection}: forecasts compare all tickers of a minute, and of features "
                f"there are {features.num_rows} rows for {minutes} minutes of {len(flow.window.tickers)} tickers; "
                "materialize features of these minutes for all tickers first"
            )
        parts = [PREDICTIONS.empty()]
        for session in selection.sessions:
            of_session = features.filter(pc.equal(features["session"], pa.scalar(session.date, pa.date32())))
            if session.date in models:
                known = frame(pyspark.spark_session, of_session.select(READ))
                parts.append(rows(predict(models[session.date], known), PREDICTIONS))
            else:
                parts.append(abstained(of_session, f"session {session.date} has no model"))
        made = pa.concat_tables(parts)
        made = made.filter(pc.is_in(made["ticker"], pa.array(selection.tickers)))
        versions = sorted(version for version in pc.unique(made["model_version"]).to_pylist() if version)
        metadata = {"models": ", ".join(versions) or "none", "forecasts": made.num_rows - made["score"].null_count}
        return flow.output(made, ("ticker", "minute", "score", "p_profit", "abstain"), metadata)

    return asset
