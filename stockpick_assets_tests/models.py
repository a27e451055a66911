"""Rows of models, of how they did, and of decisions about them, for tests of what is made of such rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.market_hours import sessions_until
from stockpick_assets.core.registry import Decision, champion
from stockpick_assets.core.schemas import CHAMPIONS, PERFORMANCE, RETURN_MODEL
from stockpick_assets.store import Store

KINDS = ("linear", "reversal", "average")
DAYS = [session.date for session in sessions_until(date(2026, 11, 20), 60)]
COST_BP = 2.0
MADE_AT = datetime(2026, 11, 20, 22, tzinfo=UTC)


def version(kind: str, day: date) -> str:
    """The version of the kind that is fitted for the session."""
    return f"{day}-{kind}"


def models(days: Sequence[date], kinds: Sequence[str] = KINDS, **values: Any) -> pa.Table:
    """A model of each kind for each session; values: columns that are alike in all of them."""
    rows = [
        {
            "session": day,
            "source": "simulated",
            "version": version(kind, day),
            "kind": kind,
            "path": None if kind == "reversal" else f"models/{day}/{version(kind, day)}",
            "features": NAMES,
            "features_digest": DIGEST,
            "training_sessions": [],
            "cost_bp": COST_BP,
            **values,
        }
        for day in days
        for kind in kinds
    ]
    return pa.Table.from_pylist(rows, schema=RETURN_MODEL.columns)


def performance(days: Sequence[date], ics: Mapping[str, Sequence[float | None]], **values: Any) -> pa.Table:
    """How each kind did in each session. ics: kind to the obtainable IC by session; values: of every row."""
    rows = [
        {
            "session": day,
            "source": "simulated",
            "kind": kind,
            "version": None if kind == "naive" else version(kind, day),
            "ic_obtainable": of_kind[at],
            **values,
        }
        for at, day in enumerate(days)
        for kind, of_kind in ics.items()
    ]
    return pa.Table.from_pylist(rows, schema=PERFORMANCE.columns)


def champions(*decisions: Decision) -> pa.Table:
    """The log of these decisions."""
    return pa.concat_tables([CHAMPIONS.empty(), *(decision.rows("simulated") for decision in decisions)])


def decision(day: date, kind: str, version: str | None = None, by: str = "person", after_hours: int = 0) -> Decision:
    """A decision that holds from the session on, made so many hours after MADE_AT."""
    return Decision(day, kind, version, MADE_AT + timedelta(hours=after_hours), by, "")


def champion_of(store: Store, session: date) -> Decision:
    """The decision that holds for the session by the log in the store."""
    return champion(store.read_if_written(CHAMPIONS.name), session, KINDS)
