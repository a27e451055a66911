"""The log of champions in the store: who is champion is read from it, and decisions are appended to it.

What does not belong here: how a champion is decided (core/registry.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from stockpick_assets.core.registry import Decision, RegistryError, champion, decided, in_use
from stockpick_assets.core.schemas import CHAMPIONS, PERFORMANCE, RETURN_MODEL
from stockpick_assets.store import Store, versions_read


def champions_of(store: Store, models: pa.Table, cost_bp: float) -> dict[date, dict[str, Any]]:
    """The row of RETURN_MODEL that each session uses, with why it abstains there.

    models: rows RETURN_MODEL that were fitted for the sessions. A version that is pinned may be of an earlier one.
    cost_bp: what forecasts are graded at.
    Raises RegistryError where it is gone, and StoreError.
    """
    log = store.read_if_written(CHAMPIONS.name)
    kinds: dict[date, list[str]] = {}
    for row in models.select(["session", "kind"]).to_pylist():
        kinds.setdefault(row["session"], []).append(row["kind"])
    used: dict[date, dict[str, Any]] = {}
    for session, fitted in kinds.items():
        decision = champion(log, session, fitted)
        known = store.read(RETURN_MODEL.name, to_session=session) if decision.version else models
        row = in_use(known, decision, session, cost_bp)
        if row is None:
            raise RegistryError(
                f"{store.source}/return_model {session}: version {decision.version} is pinned and no longer there, as "
                "its session was materialized again; choose another by `stockpick model promote`"
            )
        used[session] = row
    return used


def decide(store: Store, session: date, kinds: Sequence[str], now: datetime, metadata: Mapping[str, str]) -> Decision:
    """Append the rule's decision for the session where it makes one; the decision that holds for it then.

    Called again for the same session it makes none. now: wall time. metadata: kept with the commit. Raises
    CommitRefused where another decision came between, after which it may be called again, and StoreError.
    """
    champions = store.read_if_written(CHAMPIONS.name)
    decision = decided(champions, store.read_if_written(PERFORMANCE.name), session, kinds, now)
    if decision is None:
        return champion(champions, session, kinds)
    append(store, decision, champions, metadata)
    return decision


def append(store: Store, decision: Decision, champions: pa.Table, metadata: Mapping[str, str]) -> int:
    """Append a decision that was made on the rows `champions`; the table's version then.

    Raises CommitRefused where the log has had another decision since, and StoreError.
    """
    after = versions_read(champions).get(CHAMPIONS.name, 0)
    return store.append(CHAMPIONS.name, decision.rows(store.source), metadata, after)
