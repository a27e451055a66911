"""The models valid for a session, one a kind, fitted to the training sets of earlier sessions only.

What their scores are worth is learnt from the forecasts of earlier sessions, and whether they are to be relied on and
which is champion from how those did. Both are read in code: they are made of models, and Dagster's graph may have no
cycle, though by sessions there is none. So are the training sets: as an input they would be those of every session.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster_pyspark import PySparkResource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.champions import decide
from stockpick_assets.core.abstaining import SESSIONS as DOUBT_SESSIONS
from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.calibration import CALIBRATION_SESSIONS
from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.schemas import KINDS, PERFORMANCE, PREDICTIONS, RETURN_MODEL, TRAINING_SET
from stockpick_assets.io_managers import NewModels, commit_metadata, earlier
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.spark.training import FIT_SESSIONS, LEARNT_FROM, FittedModel, fit
from stockpick_assets.store import versions_read

# Of a forecast what calibration learns from; the rest of PREDICTIONS is the champion's alone.
FORECASTS = ("session", *PREDICTIONS.key, *(f"score_{kind}" for kind in KINDS))


def return_model(flow: Flow) -> dg.AssetsDefinition:
    """The asset `return_model`: session, a row in the schema RETURN_MODEL for each kind and the models they name."""
    training_set = dg.AssetDep(flow.key(TRAINING_SET.name), partition_mapping=dg.AllPartitionMapping())

    @dg.asset(
        **flow.daily(RETURN_MODEL.name, description=__doc__, kinds={"pyspark"}),
        deps=[training_set],
        io_manager_key="model_io_manager",
    )
    def asset(
        context: dg.AssetExecutionContext,
        pyspark: PySparkResource,
        tables: dg.ResourceParam[Tables],
        now: dg.ResourceParam[Now],
    ) -> dg.Output[NewModels]:
        session, run = date.fromisoformat(context.partition_key), context.run.run_id[:8]
        began = time.monotonic()
        spark = pyspark.spark_session
        store = tables.store()
        training = earlier(store, TRAINING_SET.name, session_on(session), FIT_SESSIONS, LEARNT_FROM)
        predictions = earlier(store, PREDICTIONS.name, session_on(session), CALIBRATION_SESSIONS, FORECASTS)
        fitted = fit(spark, training, predictions, flow.kinds, flow.cost_bp, flow.seed)
        shared = {
            "session": session,
            "source": flow.source,
            "features": NAMES,
            "features_digest": DIGEST,
            "cost_bp": flow.cost_bp,
            "tables": json.dumps(versions_read(training, predictions)),
            "seed": flow.seed,
            "spark_version": spark.version,
            "fitted_at": now.wall(),
            "fit_seconds": time.monotonic() - began,
        }
        measured = earlier(store, PERFORMANCE.name, session_on(session), DOUBT_SESSIONS)
        rows = [
            {**shared, "version": f"{session}-{model.kind}-{run}", **_told(model, doubt(measured, model.kind))}
            for model in fitted
        ]
        pipelines = {model.kind: model.pipeline for model in fitted if model.pipeline is not None}
        keys = context.partition_key_range
        champion = decide(store, session, flow.kinds, now.wall(), commit_metadata(context.run.run_id, keys))
        shown = {"champion": champion.choice, "why": champion.why, **_shown(rows)}
        return dg.Output(NewModels(rows, pipelines), metadata=shown)

    return asset


def _told(model: FittedModel, doubted: str | None) -> dict[str, Any]:
    """What a row of RETURN_MODEL says of a model. doubted: why it is not to be relied on, though it was fitted."""
    worth, measured = model.worth, model.measured
    told: dict[str, Any] = {
        "kind": model.kind,
        "abstain": model.abstain or doubted,
        "training_sessions": list(model.training_sessions),
        "rows": model.rows,
    }
    if worth is not None:
        told |= {
            "calibration": worth.coefficients,
            "expected_return_per_score": worth.return_per_score,
            "expected_obtainable_per_score": worth.obtainable_per_score,
        }
    if measured is not None:
        told |= {
            "ic_sessions": measured.sessions,
            "ic_close": measured.ic_close,
            "ic_obtainable": measured.ic_obtainable,
            "brier": measured.brier,
            "brier_base_rate": measured.brier_base_rate,
            "brier_volatility": measured.brier_volatility,
        }
    return told


def _shown(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a person wants to see of the models."""
    shown: dict[str, Any] = {"rows": rows[0]["rows"], "seconds": rows[0]["fit_seconds"]}
    for kind, told in {told["kind"]: told for told in rows}.items():
        numbers = {
            "abstain": told["abstain"],
            "rank IC, close (not tradable)": told.get("ic_close", [None])[-1],
            "rank IC, obtainable": told.get("ic_obtainable", [None])[-1],
            "Brier score": told.get("brier"),
            "Brier score of the base rate": told.get("brier_base_rate"),
            "Brier score of volatility alone": told.get("brier_volatility"),
        }
        shown |= {f"{kind}: {name}": value for name, value in numbers.items() if value is not None}
    return shown
