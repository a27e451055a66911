"""From rows of alerts to what the Alerts page shows: pure, Arrow in and out.

What does not belong here: what is worth an alert (core/rules.py), reading (data.py), or layout (views/).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.alerts import Status
from stockpick_assets.core.schemas import TIMESTAMP
from streamlit_app.rows import new_york

MOST_SHOWN = 200
_HTTP = ("http://", "https://")


def newest(alerts: pa.Table) -> pa.Table:
    """The rows of the newest alerts, those that were raised last first."""
    return alerts.sort_by([("created_at", "descending"), ("minute", "descending"), ("id", "ascending")])[:MOST_SHOWN]


def table(alerts: pa.Table) -> pa.Table:
    """The rows as the page shows them: minute is New York time, link None where the text has none, whole leads to the
    page of that alert alone.
    """
    texts: list[Any] = alerts["text"].to_pylist()
    shown = {
        "minute": new_york(alerts["minute"].cast(TIMESTAMP)),
        "status": alerts["status"],
        "rule": alerts["rule"],
        "ticker": alerts["ticker"],
        "alert": pa.array([text.partition("\n")[0] for text in texts], pa.string()),
        "reason": alerts["detail"],
        "link": pa.array([link(text) for text in texts], pa.string()),
        "whole": pa.array([f"/alerts?{urlencode({'id': id})}" for id in alerts["id"].to_pylist()], pa.string()),
    }
    return pa.table(shown)


def link(text: str) -> str | None:
    """The link of an alert's text: its last line; None where that is no address."""
    last = text.rpartition("\n")[2]
    return last if last.startswith(_HTTP) else None


def summary(alerts: pa.Table) -> str:
    """How many of the rows have each status."""
    counts: Counter[Any] = Counter(alerts["status"].to_pylist())
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def of_id(alerts: pa.Table, id: str) -> Mapping[str, Any] | None:
    """The row of the alert with that id; None where there is none."""
    ids: Any = alerts["id"]
    found = alerts.filter(pc.equal(ids, pa.scalar(id))).to_pylist()
    return found[0] if found else None
