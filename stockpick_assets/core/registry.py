"""The registry of models: which one a session uses, and what makes another the champion.

CHAMPIONS is a log of decisions. A decision names a kind, of which each session uses the version fitted for it, or pins
one version; it holds from a session on until a newer one does, and never for an earlier session. What does not belong
here: fitting and measuring models, and reading or writing the log (champions.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.schemas import CHAMPIONS, KINDS, NAIVE

FIRST = "average"
RULE, PERSON, DEFAULT = "rule", "person", "default"

# A challenger must be better by more than a difference that means nothing, and by more than differences vary. Of three
# kinds of equal skill (IC .012 a session, deviation .006, correlation .7), in 20 times 250 sessions, the champion
# changes 2 times by this rule, 6 times with two errors and 10 times without; one better by .008 is found in 5 to 10.
LEAST_SESSIONS, MOST_SESSIONS = 5, 60
LEAST_GAIN = 0.002
ERRORS = 3.0


class RegistryError(StockpickError):
    """A decision that cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Decision:
    """A row of CHAMPIONS but for its source.

    session: the first that it holds for. version: the one that is pinned, or None. decided_by: RULE, PERSON, or
    DEFAULT for the champion before any decision, whose times are the earliest there are.
    """

    session: date
    kind: str
    version: str | None
    decided_at: datetime
    decided_by: str
    reason: str

    @property
    def choice(self) -> str:
        """What is champion, in words."""
        if self.version:
            return f"{self.version} ({self.kind}), pinned"
        return f"{self.kind}, each session the model fitted for it"

    @property
    def why(self) -> str:
        """Who decided it and for what reason, in words."""
        if self.decided_by == DEFAULT:
            return self.reason
        return (
            f"decided by {'the rule' if self.decided_by == RULE else 'a person'} from {self.session} on: {self.reason}"
        )

    def rows(self, source: str) -> pa.Table:
        """One row in the schema CHAMPIONS."""
        return pa.Table.from_pylist([asdict(self) | {"source": source}], schema=CHAMPIONS.columns)


def champion(champions: pa.Table, session: date, kinds: Sequence[str]) -> Decision:
    """The decision that holds for the session: the newest of those for it or an earlier one.

    champions: rows CHAMPIONS. kinds: those that are fitted. A decision for a kind that no longer is, is passed over,
    unless it pins a version. Where none is left the champion is FIRST, or the first kind there is.
    """
    for row in sorted(champions.to_pylist(), key=itemgetter("decided_at"), reverse=True):
        if row["session"] <= session and (row["version"] or row["kind"] in kinds):
            del row["source"]
            return Decision(**row)
    first = FIRST if FIRST in kinds else kinds[0]
    return Decision(date.min, first, None, datetime.min.replace(tzinfo=UTC), DEFAULT, "no other has been chosen yet")


def chosen(models: pa.Table, decision: Decision, session: date) -> dict[str, Any] | None:
    """The row of RETURN_MODEL that the session uses under the decision; None where there is none.

    A pinned version may have been fitted for an earlier session, and is never used for one before its own.
    """
    for row in models.to_pylist():
        is_it = row["version"] == decision.version if decision.version else row["session"] == session
        if is_it and row["kind"] == decision.kind and row["session"] <= session:
            return row
    return None


def in_use(models: pa.Table, decision: Decision, session: date, cost_bp: float) -> dict[str, Any] | None:
    """The row that `chosen` finds, with why it abstains in the session; None where there is none.

    A version that is pinned is doubted for what the model of its kind that was fitted for the session is doubted for.
    cost_bp: what forecasts are graded at; the p_profit of a model that was fitted to another cost says nothing of it.
    """
    row = chosen(models, decision, session)
    if row is None:
        return None
    fitted = chosen(models, replace(decision, version=None), session) or row
    reason = fitted["abstain"]
    if reason is None and row["cost_bp"] != cost_bp:
        reason = f"p_profit is for a cost of {row['cost_bp']:g} bp, not {cost_bp:g} bp"
    return {**row, "abstain": reason}


def decided(
    champions: pa.Table, performance: pa.Table, session: date, kinds: Sequence[str], now: datetime
) -> Decision | None:
    """The rule's decision from `session` on; None where the champion stays.

    performance: rows PERFORMANCE, of which those of sessions before this one count, from the first session of the
    present champion on: the models had not seen them, nor had the decision for it. A challenger is held against the
    champion, naive and, where it is among the kinds, `reversal`: what does not exceed a score that fits nothing is not
    worth its fit. Over the newest 5 to 60 of the sessions in which all of them have an obtainable IC, the challenger's
    must exceed each of the others' by more than LEAST_GAIN and by more than ERRORS standard errors of the paired
    differences. The best of several is promoted. A person's decision stands for as many sessions as any other; one that
    pins a version, or that holds for this or a later session, is left as it is.
    """
    present = champion(champions, session, kinds)
    if present.version or any(row["session"] >= session for row in champions.to_pylist()):
        return None
    ics = _obtainable_ics(performance, present.session, session)
    better: dict[Decision, float] = {}
    for kind in kinds:
        unfitted = {"reversal"} & {*kinds} - {kind}
        rivals = list(dict.fromkeys((present.kind, NAIVE, *unfitted)))
        days = sorted(ics.get(kind, {}))
        measured = [day for day in days if all(day in ics.get(name, {}) for name in rivals)][-MOST_SESSIONS:]
        if kind == present.kind or len(measured) < LEAST_SESSIONS:
            continue
        own = np.array([ics[kind][day] for day in measured])
        theirs = {name: np.array([ics[name][day] for day in measured]) for name in rivals}
        if all(_exceeds(own - held) for held in theirs.values()):
            told = ", ".join(f"{name} {held.mean():.4f}" for name, held in theirs.items())
            reason = f"obtainable IC {own.mean():.4f} over {len(measured)} sessions to {measured[-1]}; {told}"
            gain = own - theirs[present.kind]
            better[Decision(session, kind, None, now, RULE, reason)] = float(gain.mean())
    return max(better, key=better.__getitem__, default=None)


def promote(what: str, models: pa.Table, session: date, kinds: Sequence[str], now: datetime, reason: str) -> Decision:
    """A person's decision for a kind, or for one version, from `session` on.

    models: rows RETURN_MODEL. Raises RegistryError for a kind that is not fitted, and for a version that there is not,
    that was fitted for a later session, that has no model, or that was fitted to other features than today's.
    """
    if what in kinds:
        return Decision(session, what, None, now, PERSON, reason)
    if what in KINDS:
        raise RegistryError(
            f"models of the kind {what} are not fitted; those of {', '.join(kinds)} are. Add it to STOCKPICK_KINDS, "
            "and promote it once it has a model"
        )
    row = next((row for row in models.to_pylist() if row["version"] == what), None)
    if row is None:
        raise RegistryError(
            f"there is no kind and no version {what[:60]!r}; kinds are {', '.join(kinds)}, and `stockpick model list` "
            "shows the versions"
        )
    if row["session"] > session:
        raise RegistryError(
            f"version {what} was fitted for the session of {row['session']}, and may have seen that of {session}; "
            "choose one of an earlier session (`stockpick model list`)"
        )
    return _pinned(row, session, now, reason)


def rollback(
    champions: pa.Table, models: pa.Table, session: date, kinds: Sequence[str], now: datetime, reason: str
) -> Decision:
    """A person's decision that undoes the newest one: the version used before it, pinned, from `session` on.

    That is the version of the newest session before the present champion's first that had another model. Raises
    RegistryError where there is none, and where it was fitted to other features than today's.
    """
    present = champion(champions, session, kinds)
    days: set[Any] = set(models["session"].to_pylist())
    for day in sorted((day for day in days if day < present.session), reverse=True):
        row = chosen(models, champion(champions, day, kinds), day)
        if row is not None and _has_model(row) and row["version"] != present.version:
            return _pinned(row, session, now, reason)
    since = "from the beginning" if present.decided_by == DEFAULT else f"since the session of {present.session}"
    raise RegistryError(
        f"there is nothing to roll back to: {present.version or present.kind} has been champion {since}, and no "
        "earlier session had another model; `stockpick model promote VERSION` pins any of `stockpick model list`"
    )


def _pinned(row: Mapping[str, Any], session: date, now: datetime, reason: str) -> Decision:
    version = row["version"]
    if not _has_model(row):
        raise RegistryError(f"version {version} has no model: {row['abstain']}. Choose one that has")
    other = _other_features(row)
    if row["path"] is not None and other:
        raise RegistryError(
            f"version {version} was fitted to other features than those of today; they differ in {other}. "
            "Choose a version fitted since, or run the stockpick that fitted it"
        )
    return Decision(session, row["kind"], version, now, PERSON, reason)


def _other_features(row: Mapping[str, Any]) -> str | None:
    """In what the features that a model was fitted to differ from those of today; None where they do not."""
    if row["features"] != NAMES:
        return ", ".join(sorted({*row["features"]} ^ {*NAMES})) or "their order"
    if row["features_digest"] != DIGEST:
        return f"their definitions ({row['features_digest']}, today {DIGEST})"
    return None


def _has_model(row: Mapping[str, Any]) -> bool:
    return row["path"] is not None or row["kind"] == "reversal"


def _obtainable_ics(performance: pa.Table, first: date, before: date) -> dict[str, dict[date, float]]:
    """Kind to session to obtainable IC, of sessions from `first` to the one before `before`, where there is one."""
    ics: dict[str, dict[date, float]] = {}
    for row in performance.select(["session", "kind", "ic_obtainable"]).to_pylist():
        if first <= row["session"] < before and row["ic_obtainable"] is not None:
            ics.setdefault(row["kind"], {})[row["session"]] = row["ic_obtainable"]
    return ics


def _exceeds(differences: np.ndarray) -> bool:
    """Whether the mean of paired differences is above what means nothing and what chance makes of them."""
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() > max(LEAST_GAIN, ERRORS * error))
