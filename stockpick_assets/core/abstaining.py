"""When a forecast is not to be relied on, in words with the numbers that say so. A reason never takes a number away.

What belongs here: the limits, and the sentences. What does not: what is measured (performance.py), and why a ticker has
no forecast at all (spark/scoring.py). A pick says the first of these that holds: no forecast, `doubt` about the model,
`missing` data, `no_edge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pyarrow as pa

from stockpick_assets.core.evaluation import Numbers, pooled
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.performance import LEAST_MINUTES, estimates, ic_estimates

SESSIONS = 10
# An IC is skill when it is more standard errors than this above zero. Of normal ICs around zero with errors 8 % too
# small (evaluation.OVERLAP_LAGS) one in 350 passes by one session, and one in 600 by ten. Without its effect the
# simulated exchange still has an IC of 0.002 for `average` and 0.003 for `linear`, part of it from rounding to cents.
# So more passed there: of stretches of ten sessions (100 tickers, four seeds, 60 sessions each) 2 % and 7 %, with 2
# errors 10 % and 41 %. With the effect, 0.035, all did; of 20 tickers 94 %, of 6 tickers 30 %.
SKILL_ERRORS = 3.0
# Ten sessions of 100 simulated tickers had slopes of 0.7 to 1.2 with the effect, of 0.1 to 1.5 without, and errors of
# 0.15 and 0.22 to 0.37: no alarm. A single session's slope was anything from -1.2 to 3.5.
SLOPE_WITHIN = (0.5, 2.0)
SLOPE_ERRORS = 2.0
# Of 100 simulated tickers the index was 0.002 to 0.1. That of `sig` was 0.25 after one session, 0.1 after two and less
# from then on; 1.6 in a session twice as volatile, 3.2 in one three times. Of four and six recorded tickers it was 0.04
# to 6 though nothing was wrong, as so few vary that much: hence also a multiple of what is usual.
MOST_DRIFT = 0.25
DRIFT_TIMES = 3.0
USUAL_SESSIONS = 3
# At most 9 % of 100 simulated tickers lacked a bar in any minute; of four recorded ones 1 % of the minutes lack two.
MOST_MISSING = 1 / 3
NO_EDGE = "no edge after cost"


@dataclass(frozen=True)
class Skill:
    """Whether a model's obtainable IC is skill, and in how many sessions it was measured; told: with the numbers."""

    proven: bool
    sessions: int
    told: str


def skill(performance: pa.Table, kind: str) -> Skill:
    """The skill of a kind of model over its newest SESSIONS of PERFORMANCE."""
    return _skill(_newest(performance, kind))


def doubt(performance: pa.Table, kind: str) -> str | None:
    """Why the model of the next session is not to be relied on; None where nothing speaks against it.

    performance: PERFORMANCE of the sessions before it; of `kind` the newest SESSIONS count.
    """
    newest = _newest(performance, kind)
    found = _skill(newest)
    return (_miscalibrated(newest) or _drifted(newest)) if found.proven else found.told


def sessions_said(count: int) -> str:
    """How many sessions, in words."""
    return f"{count} session{'' if count == 1 else 's'}"


def _newest(performance: pa.Table, kind: str) -> list[dict[str, Any]]:
    rows = (row for row in performance.to_pylist() if row["kind"] == kind)
    return sorted(rows, key=lambda row: row["session"])[-SESSIONS:]


def _skill(rows: Sequence[Mapping[str, Any]]) -> Skill:
    if not rows:
        told = "too little history: no forecast of this model has been measured in a session that is over"
        return Skill(False, 0, told)
    measured = ic_estimates(rows, "ic_obtainable")
    if not measured:
        takes = f"it takes {LEAST_MINUTES} minutes of two tickers whose scores and returns differ"
        told = f"no obtainable IC in {sessions_said(len(rows))}: {takes}"
        return Skill(False, 0, told)
    ic = pooled(measured)
    noise = SKILL_ERRORS * ic.error
    verdict = f"within noise of zero ({SKILL_ERRORS:g} errors)"
    if ic.value > noise:
        verdict = f"more than {SKILL_ERRORS:g} errors above zero"
    elif ic.value <= -noise:
        verdict = "below zero"
    told = f"obtainable IC over {sessions_said(len(measured))} is {ic.value:.3f} ± {ic.error:.3f}, {verdict}"
    return Skill(ic.value > noise, len(measured), told)


def _miscalibrated(rows: Sequence[Mapping[str, Any]]) -> str | None:
    measured = estimates(rows, "calibration_slope")
    if not measured:
        return None
    slope, (least, most) = pooled(measured), SLOPE_WITHIN
    if slope.value + SLOPE_ERRORS * slope.error >= least and slope.value - SLOPE_ERRORS * slope.error <= most:
        return None
    return (
        f"calibration slope over {sessions_said(len(measured))} is {slope.value:.2f} ± {slope.error:.2f}, "
        f"outside {least:g} to {most:g}"
    )


def _drifted(rows: Sequence[Mapping[str, Any]]) -> str | None:
    *before, newest = rows
    usual = [row["stability_index"] for row in before if row["stability_index"] is not None]
    if newest["stability_index"] is None or len(usual) < USUAL_SESSIONS:
        return None
    limit = max(MOST_DRIFT, DRIFT_TIMES * median(usual))
    if newest["stability_index"] <= limit:
        return None
    return (
        f"the feature {newest['stability_feature']} has drifted: its population stability index in session "
        f"{newest['session']} is {newest['stability_index']:.2f}, the limit {limit:.2f}"
    )


def missing(present: int, expected: int) -> str | None:
    """Why no pick of a minute is to be relied on, by how many of the tickers of the session have a bar in it."""
    lacking = expected - present
    if lacking <= MOST_MISSING * expected:
        return None
    return f"{lacking} of {expected} tickers have no bar in this minute"


def no_edge(expected_returns: Numbers, cost_bp: float) -> str | None:
    """Why no pick of a minute pays, by the obtainable returns (fractions) that are expected of its tickers.

    None where one exceeds the cost of a round trip, and where nothing is known of any.
    """
    if not expected_returns.size:
        return None
    best = float(expected_returns.max()) * BASIS_POINTS
    return (
        f"{NO_EDGE}: the best expected return is {best:z.1f} bp, the cost {cost_bp:.1f} bp" if best <= cost_bp else None
    )
