"""From rows of performance, models and decisions to what the Trust page shows: pure, Arrow in and out.

What does not belong here: measuring (core/performance.py), reading (data.py), drawing (charts.py), or layout (views/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stockpick_assets.core.abstaining import doubt, sessions_said, skill
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.performance import joined_reliability, mean_briers
from stockpick_assets.core.registry import Decision, in_use
from stockpick_assets.core.schemas import NAIVE
from streamlit_app.rows import SESSIONS_NEEDED

SESSIONS_SHOWN = 20
OBTAINABLE, CLOSE = "obtainable", "close: not tradable"
BEFORE_COST, AFTER_COST = "before cost", "after cost"


@dataclass(frozen=True)
class Verdict:
    """Whether the champion is any good: skill, no skill, abstaining or too early, and the numbers that say so."""

    word: str
    because: str


def verdict(performance: pa.Table, decision: Decision, models: pa.Table, cost_bp: float) -> Verdict:
    """What may be said of the champion, in the words in which its picks abstain.

    performance: rows PERFORMANCE. decision: the one that holds for the newest session of `models`, rows RETURN_MODEL.
    cost_bp: what forecasts are graded at.
    """
    found = skill(performance, decision.kind)
    reason = _abstains(decision, models, cost_bp) or doubt(performance, decision.kind)
    if found.sessions < SESSIONS_NEEDED:
        measured = f"{found.sessions} of the {SESSIONS_NEEDED} sessions that it takes have been measured"
        return Verdict("too early", f"{measured}; the model abstains: {reason}" if reason else measured)
    if reason and reason != found.told:
        return Verdict("abstaining", f"{reason}; {found.told}")
    return Verdict("skill" if found.proven else "no skill", found.told)


def newest(performance: pa.Table) -> list[dict[str, Any]]:
    """The rows of the newest 20 sessions, by session and kind."""
    days: set[Any] = set(performance["session"].to_pylist())
    shown = sorted(days)[-SESSIONS_SHOWN:]
    rows = [row for row in performance.to_pylist() if row["session"] in shown]
    return sorted(rows, key=lambda row: (row["session"], row["kind"]))


def extent(sessions: int, forecasts: int | None = None) -> str:
    """How much a figure rests on, and that it is too early where it is less than five sessions."""
    said = sessions_said(sessions)
    said += "" if forecasts is None else f", {forecasts:,} forecasts"
    return said if sessions >= SESSIONS_NEEDED else f"too early: {said}"


def reliability(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The champions' forecasts joined by p_profit: columns p_profit and paid in per cent, and forecasts, ascending."""
    found = joined_reliability(rows)
    return pa.table(
        {
            "p_profit": pa.array([100 * said for said in found.probability], pa.float64()),
            "paid": pa.array([100 * paid for paid in found.came_true], pa.float64()),
            "forecasts": pa.array(found.count, pa.int64()),
        }
    )


def brier_words(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The mean Brier scores of the sessions that have all three; None where there are fewer than five of them."""
    found = mean_briers(rows)
    if found is None or found.sessions < SESSIONS_NEEDED:
        return None
    return (
        f"Brier score {found.own:.4f}, of the base rate {found.base_rate:.4f}, of volatility alone "
        f"{found.volatility:.4f} (lower is better; {found.sessions} sessions)"
    )


def ics(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The champions' ICs by session and label: columns session (text), label, ic, low and high, one error from it."""
    points: list[dict[str, Any]] = []
    for row in rows:
        for label, name in ((OBTAINABLE, "ic_obtainable"), (CLOSE, "ic_close")):
            ic, error = row[name], row[f"{name}_error"] or 0.0
            if ic is not None:
                ends = {"ic": ic, "low": ic - error, "high": ic + error}
                points.append({"session": row["session"].isoformat(), "label": label, **ends})
    return _table(points, session=pa.string(), label=pa.string(), ic=pa.float64(), low=pa.float64(), high=pa.float64())


def top_returns(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Mean return of the champions' top picks: columns session (text), cost (before or after it) and bp."""
    points = [
        {"session": row["session"].isoformat(), "cost": cost, "bp": row[name] * BASIS_POINTS}
        for row in rows
        for cost, name in ((BEFORE_COST, "top_return"), (AFTER_COST, "top_return_after_cost"))
        if row[name] is not None
    ]
    return _table(points, session=pa.string(), cost=pa.string(), bp=pa.float64())


def ics_of_kinds(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Obtainable IC of every kind by session: columns session (text), kind, ic and role.

    role: champion, challenger, or baseline, which naive is.
    """
    points = [
        {
            "session": row["session"].isoformat(),
            "kind": row["kind"],
            "ic": row["ic_obtainable"],
            "role": "champion" if row["champion"] else "baseline" if row["kind"] == NAIVE else "challenger",
        }
        for row in rows
        if row["ic_obtainable"] is not None
    ]
    return _table(points, session=pa.string(), kind=pa.string(), ic=pa.float64(), role=pa.string())


def _abstains(decision: Decision, models: pa.Table, cost_bp: float) -> str | None:
    days: set[Any] = set(models["session"].to_pylist())
    row = in_use(models, decision, max(days), cost_bp) if days else None
    return row["abstain"] if row else None


def _table(points: Sequence[Mapping[str, Any]], **columns: pa.DataType) -> pa.Table:
    return pa.Table.from_pylist([dict(point) for point in points], schema=pa.schema(columns))
