"""Which picks are worth an alert, what it says, and what becomes of it.

Pure: rules over picks, and the life of an alert as a row of the table `alerts`. What does not belong here: reading the
tables (sensors/alerts.py), or the channels an alert goes to (resources/notifier.py).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa

from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.links import LinkError, Links
from stockpick_assets.core.market_hours import MINUTE, minute_label
from stockpick_assets.core.messages import message_id, one_line
from stockpick_assets.core.schemas import ALERTS

NEW_BEST = "new_best"
# The forecast of a minute ends five minutes after it, with a bar that closes a minute later.
MATTERS_FOR = 6 * MINUTE
MOST_ATTEMPTS = 3
PICK_COLUMNS = (
    "session",
    "minute",
    "ticker",
    "source",
    "rank",
    "price",
    "change_day",
    "change_5m",
    "p_profit",
    "expected_excess_return",
    "expected_obtainable_return",
    "abstain",
)


class Status(StrEnum):
    """What became of an alert. Pending is the only one that changes."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True)
class Alert:
    """A row of the table `alerts`. created_at and sent_at are wall time; detail says why the status is what it is."""

    session: date
    minute: datetime
    ticker: str
    source: str
    id: str
    rule: str
    text: str
    created_at: datetime
    status: str = Status.PENDING
    detail: str | None = None
    attempts: int = 0
    sent_at: datetime | None = None

    @property
    def title(self) -> str:
        """The first line of the text."""
        return self.text.partition("\n")[0]

    @property
    def body(self) -> str:
        """The text after its first line."""
        return self.text.partition("\n")[2]

    def expired(self, now: datetime) -> bool:
        """Whether it is too old to matter at market time `now`: its forecast is over."""
        return now > self.minute + MATTERS_FOR


@dataclass(frozen=True)
class Delivery:
    """What one attempt came to: the channels that took the alert and those that did not, by their labels."""

    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def new_best_picks(picks: pa.Table, after: datetime, threshold: float, links: Links, wall: datetime) -> list[Alert]:
    """The rule `new_best`: the best pick is another ticker than before, and its p_profit at least `threshold`.

    picks: PICK_COLUMNS of whole minutes, key order. after: minutes up to this one were judged earlier and only say
    which ticker was best before. Before means the session's newest minute that had a best pick; a session's first one
    is new. A pick that abstains is an alert like any other and says so: where no edge is left after cost every minute
    abstains, and whoever set the threshold would otherwise hear nothing and not know why.
    """
    alerts: list[Alert] = []
    before: dict[str, Any] | None = None
    tickers: dict[datetime, int] = {}
    rows: list[dict[str, Any]] = picks.select(list(PICK_COLUMNS)).to_pylist()
    for row in rows:
        tickers[row["minute"]] = tickers.get(row["minute"], 0) + 1
    for row in rows:
        if row["rank"] != 1:
            continue
        if before is not None and before["session"] != row["session"]:
            before = None
        new = before is None or before["ticker"] != row["ticker"]
        likely = row["p_profit"] is not None and row["p_profit"] >= threshold
        if new and likely and row["minute"] > after:
            alerts.append(_new_best(row, before, tickers[row["minute"]], threshold, links, wall))
        before = row
    return alerts


def settled(alert: Alert, delivery: Delivery, wall: datetime) -> Alert:
    """The alert after an attempt to deliver it at `wall`.

    One channel that took it is enough: asking again would send it twice there. With no channel at all it is
    suppressed; when none took it, it stays pending for MOST_ATTEMPTS attempts and has then failed.
    """
    if not delivery.accepted and not delivery.refused:
        return replace(alert, status=Status.SUPPRESSED, detail="no channel is configured: set STOCKPICK_ALERT_URLS")
    refused = f"refused by {', '.join(delivery.refused)}" if delivery.refused else ""
    attempts = alert.attempts + 1
    if delivery.accepted:
        detail = f"accepted by {', '.join(delivery.accepted)}" + (f"; {refused}" if refused else "")
        return replace(alert, status=Status.SENT, detail=detail, attempts=attempts, sent_at=wall)
    status = Status.FAILED if attempts >= MOST_ATTEMPTS else Status.PENDING
    return replace(alert, status=status, detail=f"{refused} at attempt {attempts}", attempts=attempts)


def expire(alert: Alert, now: datetime) -> Alert:
    """The alert, not delivered because market time is `now`."""
    late = timedelta(seconds=int((now - alert.minute - MINUTE).total_seconds()))
    earlier = f"; {alert.detail}" if alert.detail else ""
    return replace(
        alert, status=Status.EXPIRED, detail=f"{late} after its minute closed, its forecast is over{earlier}"
    )


def alerts_table(alerts: Iterable[Alert]) -> pa.Table:
    """Rows of the table `alerts`."""
    return pa.Table.from_pylist([asdict(alert) for alert in alerts], schema=ALERTS.columns)


def alerts_from(rows: pa.Table) -> list[Alert]:
    """The alerts that rows of the table stand for."""
    return [Alert(**row) for row in rows.select(ALERTS.columns.names).to_pylist()]


def label(source: str) -> str:
    """What every text says before it speaks of prices that are not the market's now; nothing for Yahoo's."""
    return "" if source == "yahoo" else f"{source.upper()}: "


def _new_best(
    row: dict[str, Any], before: dict[str, Any] | None, tickers: int, threshold: float, links: Links, wall: datetime
) -> Alert:
    ticker, minute = one_line(row["ticker"]), row["minute"]
    try:
        link = links.ticker(row["ticker"], minute)
    except LinkError as error:
        link = f"no link: {error}"
    numbers = [
        f"probability of profit {row['p_profit']:.1%} (alerts begin at {threshold:.1%})",
        *_said("expected obtainable return", row["expected_obtainable_return"], BASIS_POINTS, " bp before cost"),
        *_said("expected excess return", row["expected_excess_return"], BASIS_POINTS, " bp"),
        *([] if row["price"] is None else [f"price {row['price']:.2f}"]),
        *_said("today", row["change_day"], 100, " %"),
        *_said("last 5 minutes", row["change_5m"], 100, " %"),
    ]
    why = f"Ranked first of {tickers} tickers"
    why += f", where {one_line(before['ticker'])} was before." if before else "."
    return Alert(
        session=row["session"],
        minute=minute,
        ticker=row["ticker"],
        source=row["source"],
        id=f"{message_id(row['source'], minute, row['ticker'])}/{NEW_BEST}",
        rule=NEW_BEST,
        text="\n".join(
            [
                f"{label(row['source'])}{ticker} is the new best pick of {minute_label(minute)} New York",
                *([f"Not to be relied on: {one_line(row['abstain'], 200)}."] if row["abstain"] else []),
                f"{'; '.join(numbers)}.",
                why,
                link,
            ]
        ),
        created_at=wall,
    )


def _said(name: str, value: float | None, scale: float, unit: str) -> list[str]:
    return [] if value is None else [f"{name} {value * scale:+.2f}{unit}"]
