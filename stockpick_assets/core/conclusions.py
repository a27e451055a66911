"""What the sessions of an evaluation say together, and what can be concluded from so many of so many tickers.

What does not belong here: how a session is measured (performance.py), or who becomes champion by it (registry.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stockpick_assets.core.abstaining import NO_EDGE, SKILL_ERRORS, sessions_said
from stockpick_assets.core.evaluation import Estimate, Numbers, pooled
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.performance import LEAST_MINUTES, ic_estimates, mean_briers
from stockpick_assets.core.registry import LEAST_SESSIONS
from stockpick_assets.core.schemas import NAIVE

# What a linear model on the features of core/feature_set.py had on 100 real tickers in the last 7 of 29 sessions of
# spring 2026. It was designed on the first 22.
USUAL_TICKERS, USUAL_SESSIONS, USUAL_IC = 100, 7, 0.013
FEW_TICKERS = 20
NO_MODEL = (
    "no model is measured: it takes an earlier session of two tickers to learn from, and a session of "
    f"{LEAST_MINUTES} minutes of two tickers to be measured in"
)

MEANS = ("hit_rate", "turnover", "brier", "brier_base_rate", "brier_volatility", "calibration_slope")


@dataclass(frozen=True)
class Summary:
    """One kind of model over all sessions.

    sessions: how many have an obtainable IC of it. ic_close, ic_obtainable: rank IC, pooled. icir_close,
    icir_obtainable: mean over standard deviation of the sessions' ICs. top_return, top_return_after_cost: of the top
    picks, as fractions. means: of the other columns of PERFORMANCE. None where it cannot be told.
    """

    kind: str
    sessions: int
    ic_close: Estimate | None
    icir_close: float | None
    ic_obtainable: Estimate | None
    icir_obtainable: float | None
    top_return: Estimate | None
    top_return_after_cost: Estimate | None
    means: Mapping[str, float | None]


def summaries(performance: pa.Table) -> list[Summary]:
    """A summary of each kind of PERFORMANCE, in the order of the rows."""
    rows = performance.to_pylist()
    return [_summary(kind, [row for row in rows if row["kind"] == kind]) for kind in dict.fromkeys(_kinds(rows))]


def conclusions(performance: pa.Table, tickers: int) -> list[str]:
    """Sentences with the numbers that carry them."""
    rows = performance.to_pylist()
    found = summaries(performance)
    if not found:
        return [NO_MODEL]
    named = _champion(rows)
    said = [_skill(summary) for summary in found]
    if all(summary.kind == NAIVE for summary in found):
        said.append(NO_MODEL)
    naive = [row for row in rows if row["kind"] == NAIVE]
    said += [_against(kind, rows, naive) for kind in dict.fromkeys(_kinds(rows)) if kind != NAIVE and naive]
    for summary in found:
        if summary.kind == named:
            said += [*_cost(summary), *_probability([row for row in rows if row["kind"] == named])]
    return [*filter(None, said), *_size(found, tickers)]


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["kind"] for row in rows]


def _champion(rows: Sequence[Mapping[str, Any]]) -> str | None:
    return next((row["kind"] for row in reversed(rows) if row["champion"]), None)


def _summary(kind: str, rows: Sequence[Mapping[str, Any]]) -> Summary:
    return Summary(
        kind,
        len(_values(rows, "ic_obtainable")),
        _pooled(rows, "ic_close"),
        _ratio(rows, "ic_close"),
        _pooled(rows, "ic_obtainable"),
        _ratio(rows, "ic_obtainable"),
        _by_session(_values(rows, "top_return")),
        _by_session(_values(rows, "top_return_after_cost")),
        {name: _mean(rows, name) for name in MEANS},
    )


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> Numbers:
    return np.array([row[name] for row in rows if row[name] is not None], dtype=float)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = _values(rows, name)
    return float(values.mean()) if values.size else None


def _ratio(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = _values(rows, name)
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return float(values.mean()) / deviation if deviation > 0 else None


def _pooled(rows: Sequence[Mapping[str, Any]], name: str) -> Estimate | None:
    found = ic_estimates(rows, name)
    return pooled(found) if found else None


def _by_session(values: Numbers) -> Estimate | None:
    """The mean over sessions of what has no error in any one of them: its error is by their differences."""
    if values.size < 2:
        return None
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))


def _skill(summary: Summary) -> str:
    ic = summary.ic_obtainable
    if ic is None:
        return f"{summary.kind}: no obtainable IC could be measured"
    told = f"{summary.kind}: obtainable IC {ic.value:+.4f} ± {ic.error:.4f} over {sessions_said(summary.sessions)}"
    if ic.value > SKILL_ERRORS * ic.error:
        return f"{told}, more than noise"
    if ic.value < -SKILL_ERRORS * ic.error:
        return f"{told}, worse than noise"
    return f"{told}, within noise of 0"


def _against(kind: str, rows: Sequence[Mapping[str, Any]], naive: Sequence[Mapping[str, Any]]) -> str | None:
    ics = {row["session"]: row["ic_obtainable"] for row in naive}
    gains = [
        row["ic_obtainable"] - ics[row["session"]]
        for row in rows
        if row["kind"] == kind and row["ic_obtainable"] is not None and ics.get(row["session"]) is not None
    ]
    gain = _by_session(np.array(gains))
    if gain is None:
        return None
    noise, verdict = SKILL_ERRORS * gain.error, "not told from"
    if gain.value > noise:
        verdict = "better than"
    elif gain.value < -noise:
        verdict = "worse than"
    return f"{kind} against naive: {gain.value:+.4f} ± {gain.error:.4f} by session, {verdict} naive reversal"


def _cost(champion: Summary) -> list[str]:
    paid = champion.top_return_after_cost
    if paid is None:
        return []
    bp, error = paid.value * BASIS_POINTS, paid.error * BASIS_POINTS
    verdict = "an edge after cost" if bp > SKILL_ERRORS * error else NO_EDGE
    return [f"{champion.kind}, the champion: its top pick returns {bp:+.2f} ± {error:.2f} bp after cost, {verdict}"]


def _probability(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = mean_briers(rows)
    if found is None:
        return []
    better = [
        f"{'below' if found.own < other else 'not below'} {other:.5f} of {name}"
        for name, other in (("the base rate", found.base_rate), ("volatility alone", found.volatility))
    ]
    said = f"Brier score {found.own:.5f} over {sessions_said(found.sessions)}, {' and '.join(better)}"
    return [f"p_profit: {said}; lower is better"]


def _size(found: Sequence[Summary], tickers: int) -> list[str]:
    said: list[str] = []
    errors = [summary.ic_obtainable.error for summary in found if summary.ic_obtainable]
    least = SKILL_ERRORS * max(errors, default=0.0)
    if least > USUAL_IC:
        said.append(
            f"an obtainable IC below {least:.3f} cannot be told from none here; that of a linear model was {USUAL_IC} "
            f"on {USUAL_TICKERS} tickers over {USUAL_SESSIONS} sessions of 2026 that it was not designed on"
        )
    if tickers < FEW_TICKERS:
        said.append(
            f"{tickers} ticker{'' if tickers == 1 else 's'}: too few to take out what they have in common, which is "
            f"most of a forecast's strength; nothing here speaks for or against it on {USUAL_TICKERS}"
        )
    most = max(summary.sessions for summary in found)
    if most < LEAST_SESSIONS:
        told = f"an ICIR says little, and no model is promoted on fewer than {LEAST_SESSIONS}"
        said.append(f"{sessions_said(most)}: {told}")
    return said
