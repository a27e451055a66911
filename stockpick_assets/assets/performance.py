"""How each kind of model did in a session that is over, by the forecasts it made there before anyone knew.

Sessions before it are read in code and not as inputs, which would read every session there is: the training sets of the
newest twelve, in the columns that are compared with, and nineteen of this table itself. So is return_model, which says
of which kind the session's version is: it is made of this table, and Dagster's graph may have no cycle.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from statistics import mean, stdev
from typing import Any

import dagster as dg
import pyarrow as pa

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.performance import REFERENCE, REFERENCE_SESSIONS, champion_version
from stockpick_assets.core.performance import performance as measure
from stockpick_assets.core.schemas import PERFORMANCE, PREDICTIONS, RETURN_MODEL, TRAINING_SET
from stockpick_assets.io_managers import Extent, earlier
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store

ICIR_SESSIONS = 20
FEWEST_SESSIONS = 5  # a standard deviation of fewer is off by more than a third
# By column of PERFORMANCE the name that Dagster plots it under from session to session.
PLOTTED = {
    "ic_obtainable": "IC obtainable",
    "ic_close": "IC close (not tradable)",
    "hit_rate": "hit rate",
    "turnover": "turnover",
    "brier": "Brier score",
    "brier_base_rate": "Brier score of the base rate",
    "brier_volatility": "Brier score of volatility alone",
    "calibration_slope": "calibration slope",
    "stability_index": "stability index",
}
PLOTTED_IN_BP = {
    "top_return": "top pick before cost, bp",
    "top_return_after_cost": "top pick after cost, bp",
}
ICIR = f"ICIR obtainable, {ICIR_SESSIONS} sessions"


def performance(flow: Flow) -> dg.AssetsDefinition:
    """The asset `performance`: session, rows in the schema PERFORMANCE."""
    mapping = dg.LastPartitionMapping()

    @dg.asset(
        **flow.daily(PERFORMANCE.name, description=__doc__, kinds={"python"}),
        ins={
            "training": flow.reads(TRAINING_SET.name, Extent.SESSION),
            "predictions": flow.reads(PREDICTIONS.name, Extent.SESSION, mapping=mapping),
        },
    )
    def asset(
        context: dg.AssetExecutionContext, training: pa.Table, predictions: pa.Table, tables: dg.ResourceParam[Tables]
    ) -> dg.Output[pa.Table]:
        store, session = tables.store(), session_on(date.fromisoformat(context.partition_key))
        reference = earlier(store, TRAINING_SET.name, session, REFERENCE_SESSIONS, REFERENCE)
        champion = _kind(store, champion_version(predictions))
        measured = measure(predictions, training, reference, session, flow.source, flow.cost_bp, champion)
        past = earlier(store, PERFORMANCE.name, session, ICIR_SESSIONS - 1, ("champion", "ic_obtainable"))
        return flow.output(measured, (), _plotted(measured.to_pylist(), past.to_pylist()))

    return asset


def _kind(store: Store, version: str | None) -> str | None:
    """The kind of a model's version; None of a version that return_model does not know. Raises StoreError."""
    models = store.read_if_written(RETURN_MODEL.name, ("version", "kind")).to_pylist()
    return next((model["kind"] for model in models if model["version"] == version), None)


def _plotted(rows: Sequence[Mapping[str, Any]], past: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the materialization says of the champion; a measure that does not exist is left out, as nothing plots it."""
    shown: dict[str, Any] = {"kinds": ", ".join(row["kind"] for row in rows) or "none"}
    champion = next((row for row in rows if row["champion"]), None)
    if champion is None:
        return shown | {"champion": "none"}
    shown |= {"champion": champion["kind"], "forecasts": champion["forecasts"]}
    shown |= {name: champion[column] for column, name in PLOTTED.items() if champion[column] is not None}
    in_bp = {name: champion[column] for column, name in PLOTTED_IN_BP.items()}
    shown |= {name: value * BASIS_POINTS for name, value in in_bp.items() if value is not None}
    if champion["stability_feature"] is not None:
        shown["feature that moved most"] = champion["stability_feature"]
    ics = [row["ic_obtainable"] for row in (*past, champion) if row["champion"] and row["ic_obtainable"] is not None]
    if len(ics) >= FEWEST_SESSIONS and stdev(ics) > 0:
        shown[ICIR] = mean(ics) / stdev(ics)
    if champion["reliability_p"]:
        shown["reliability"] = dg.MetadataValue.md(_reliability(champion))
    return shown


def _reliability(champion: Mapping[str, Any]) -> str:
    bins = zip(*(champion[f"reliability_{name}"] for name in ("p", "paid", "count")), strict=True)
    lines = [f"| {said:.1%} | {paid:.1%} | {count:,} |" for said, paid, count in bins]
    return "\n".join(["| said | paid | forecasts |", "| ---: | ---: | ---: |", *lines])
