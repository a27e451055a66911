"""The MLlib model valid for a session, fitted to the training sets of earlier sessions only."""

import time
from datetime import date

import dagster as dg
import pyarrow as pa
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.schemas import RETURN_MODEL, TRAINING_SET
from stockpick_assets.io_managers import Extent, NewModel
from stockpick_assets.resources.now import Now
from stockpick_assets.spark.training import NAMES, fit

NO_TRAINING_SET = "no session before this one has a training set"
NOTHING_TO_LEARN = "the earlier sessions have too few different outcomes to fit a model to and to calibrate it on"


def return_model(flow: Flow) -> dg.AssetsDefinition:
    """The asset `return_model`: session, one row in the schema RETURN_MODEL and the model it names."""
    training = flow.reads(
        TRAINING_SET.name, Extent.EARLIER_SESSIONS, may_be_missing=True, mapping=dg.AllPartitionMapping()
    )

    @dg.asset(
        **flow.daily(RETURN_MODEL.name, description=__doc__, kinds={"pyspark"}),
        ins={"training": training},
        io_manager_key="model_io_manager",
    )
    def asset(
        context: dg.AssetExecutionContext, training: pa.Table, pyspark: PySparkResource, now: dg.ResourceParam[Now]
    ) -> dg.Output[NewModel]:
        session = date.fromisoformat(context.partition_key)
        began = time.monotonic()
        spark = pyspark.spark_session
        fitted = fit(spark, training, flow.cost_bp)
        row = {
            "session": session,
            "source": flow.source,
            "version": f"{session.isoformat()}-{context.run.run_id[:8]}",
            "features": NAMES,
            "cost_bp": flow.cost_bp,
            "seed": flow.seed,
            "spark_version": spark.version,
            "fitted_at": now.wall(),
            "fit_seconds": time.monotonic() - began,
        }
        if fitted is None:
            why = NOTHING_TO_LEARN if training.num_rows else NO_TRAINING_SET
            row |= {"abstain": why, "training_sessions": [], "rows": 0}
            return dg.Output(NewModel(row, None), metadata={"abstain": why})
        measured = fitted.measured
        row |= {
            "training_sessions": list(fitted.training_sessions),
            "rows": fitted.rows,
            "ic_sessions": [measured.session],
            "ic_close": [measured.ic_close],
            "ic_obtainable": [measured.ic_obtainable],
            "brier": measured.brier,
            "brier_base_rate": measured.brier_base_rate,
            "expected_return_per_score": measured.expected_return_per_score,
        }
        shown = {
            "training sessions": ", ".join(day.isoformat() for day in fitted.training_sessions),
            "rows": fitted.rows,
            "out-of-sample session": measured.session.isoformat(),
            "rank IC, close (not tradable)": measured.ic_close,
            "rank IC, obtainable": measured.ic_obtainable,
            "Brier score": measured.brier,
            "Brier score of the base rate": measured.brier_base_rate,
            "seconds": time.monotonic() - began,
        }
        return dg.Output(
            NewModel(row, fitted.pipeline), metadata={name: value for name, value in shown.items() if value is not None}
        )

    return asset
