"""The life of an alert, as a row of the table `alerts`: pending, then sent, failed, expired or suppressed.

Pure. What does not belong here: what is worth an alert (rules.py), what it says (alert_texts.py), the channels it goes
to (resources/notifier.py), or reading and writing the table (sensors/alerts.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa

from stockpick_assets.core.alert_texts import alert_text, label
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import minute_label, new_york_date
from stockpick_assets.core.messages import message_id
from stockpick_assets.core.observations import EVERY_TICKER
from stockpick_assets.core.rules import Judged, Subject
from stockpick_assets.core.schemas import ALERTS

# Wall time after the first attempt, the second and the third; there is no fifth.
BACK_OFF = (timedelta(seconds=15), timedelta(seconds=60), timedelta(seconds=180))
MOST_ATTEMPTS = len(BACK_OFF) + 1
# More than so many that are due for one channel go out as one text.
SINGLY = 3
# Of all texts to one channel: Telegram takes 20 a minute for a group, Discord 30 and Slack 60 for a webhook.
MOST_TEXTS = 6
A_MINUTE = timedelta(minutes=1)
# Discord takes 2,000 characters. A title has at most 120.
LINES_OF_A_DIGEST = 12
LONGEST_TITLE = 120
NO_CHANNEL = "no channel is configured: set STOCKPICK_ALERT_URLS"


class Status(StrEnum):
    """What became of an alert. Pending is the only one that changes."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True)
class Alert:
    """A row of the table `alerts`.

    minute: of the pick, or in which it began. ticker: None of one that is about no single ticker. matters_until: market
    time. accepted: labels of the channels that took it. attempts: to deliver it. detail: why the status is what it is.
    created_at, due_at and sent_at are wall time; due_at: not to be tried again before.
    """

    session: date
    minute: datetime
    ticker: str | None
    source: str
    id: str
    rule: str
    text: str
    created_at: datetime
    matters_until: datetime
    status: str = Status.PENDING
    detail: str | None = None
    attempts: int = 0
    accepted: tuple[str, ...] = ()
    due_at: datetime | None = None
    sent_at: datetime | None = None

    @property
    def title(self) -> str:
        """The first line of the text."""
        return self.text.partition("\n")[0]

    @property
    def body(self) -> str:
        """The text after its first line."""
        return self.text.partition("\n")[2]


@dataclass(frozen=True)
class Parcel:
    """A text for one channel, and the ids of the alerts it tells."""

    title: str
    body: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Delivery:
    """What one attempt to deliver a text came to: the channels that took it and those that did not, by their labels.

    digest: how many alerts it told, where that was more than one.
    """

    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    digest: int = 0


def raised(judged: Judged, links: Links, wall: datetime) -> Alert:
    """The alert that a judgement comes to, pending or suppressed. The same judgement makes the same id."""
    seen, rule = judged.observation, judged.rule
    about_one = rule.subject is Subject.PICKS and seen.about != EVERY_TICKER
    return Alert(
        session=new_york_date(seen.minute),
        minute=seen.minute,
        ticker=seen.about if about_one else None,
        source=links.source,
        id="/".join([message_id(links.source, seen.minute, seen.about), rule.name, *filter(None, [seen.event])]),
        rule=rule.name,
        text=alert_text(rule, seen, links),
        created_at=wall,
        matters_until=seen.at + rule.matters_for,
        status=Status.SUPPRESSED if judged.suppressed else Status.PENDING,
        detail=judged.suppressed,
    )


def parcels(due: Sequence[Alert], channel: str, links: Links) -> list[Parcel]:
    """The texts that bring a channel the alerts it has not taken: one each, or of more than SINGLY one for all."""
    wanted = [alert for alert in due if channel not in alert.accepted]
    if len(wanted) <= SINGLY:
        return [Parcel(alert.title, alert.body, (alert.id,)) for alert in wanted]
    begins = label(links.source)
    lines = [f"- {alert.title.removeprefix(begins)[:LONGEST_TITLE]}" for alert in wanted[:LINES_OF_A_DIGEST]]
    more = len(wanted) - LINES_OF_A_DIGEST
    lines += [f"and {more} more"] if more > 0 else []
    return [Parcel(f"{begins}{len(wanted)} alerts", "\n".join([*lines, links.alerts()]), tuple(a.id for a in wanted))]


def deliveries(texts: Mapping[str, Sequence[Parcel]], taken: Mapping[str, Sequence[bool]]) -> dict[str, Delivery]:
    """What became of each alert, by its id, of texts that each channel was given and whether it took them.

    What a channel was not given after one that it refused is in neither list.
    """
    found = defaultdict[str, Delivery](Delivery)
    for channel, answers in taken.items():
        for parcel, took in zip(texts[channel], answers, strict=False):
            many = len(parcel.ids) if took and len(parcel.ids) > 1 else 0
            for each in parcel.ids:
                was = found[each]
                found[each] = Delivery(
                    (*was.accepted, channel) if took else was.accepted,
                    was.refused if took else (*was.refused, channel),
                    max(was.digest, many),
                )
    return dict(found)


def settled(alert: Alert, delivery: Delivery, channels: Sequence[str], wall: datetime) -> Alert:
    """The alert after an attempt to deliver it at `wall`.

    Sent once every channel took it. Those that did not are tried again, later each time; after MOST_ATTEMPTS it is sent
    where one took it, and has failed where none did. Without any channel it is suppressed. What reached no channel
    because of the limit a minute stays as it is.
    """
    if not channels:
        return replace(alert, status=Status.SUPPRESSED, detail=NO_CHANNEL)
    if not delivery.accepted and not delivery.refused:
        return alert
    attempts = alert.attempts + 1
    accepted = (*alert.accepted, *delivery.accepted)
    said: list[str] = []
    if accepted:
        digest = f", in a digest of {delivery.digest}" if delivery.digest else ""
        said.append(f"accepted by {', '.join(accepted)}{digest}")
    if delivery.refused:
        said.append(f"refused by {', '.join(delivery.refused)} at attempt {attempts}")
    made = replace(
        alert,
        attempts=attempts,
        accepted=accepted,
        detail="; ".join(said),
        sent_at=alert.sent_at or (wall if accepted else None),
        due_at=None,
    )
    if all(channel in accepted for channel in channels):
        return replace(made, status=Status.SENT)
    if attempts >= MOST_ATTEMPTS:
        return replace(made, status=Status.SENT if accepted else Status.FAILED)
    return replace(made, due_at=wall + BACK_OFF[attempts - 1]) if delivery.refused else made


def expired(alert: Alert, now: datetime) -> Alert | None:
    """The alert, where it does not matter any more at market time `now`: expired, or sent if a channel took it."""
    if now <= alert.matters_until:
        return None
    earlier = f"; {alert.detail}" if alert.detail else ""
    said = f"too late to matter after {minute_label(alert.matters_until)} New York{earlier}"
    return replace(alert, status=Status.SENT if alert.accepted else Status.EXPIRED, detail=said, due_at=None)


def allowed(sent: Mapping[str, Sequence[datetime]], channel: str, wall: datetime) -> int:
    """How many more texts a channel may be given at `wall`, when it was given some at these times before."""
    return MOST_TEXTS - sum(wall - at < A_MINUTE for at in sent.get(channel, ()))


def alerts_table(alerts: Iterable[Alert]) -> pa.Table:
    """Rows of the table `alerts`."""
    return pa.Table.from_pylist([asdict(alert) for alert in alerts], schema=ALERTS.columns)


def alerts_from(rows: pa.Table) -> list[Alert]:
    """The alerts that rows of the table stand for."""
    found: list[dict[str, Any]] = rows.select(ALERTS.columns.names).to_pylist()
    for row in found:
        row["accepted"] = tuple(row["accepted"])
    return [Alert(**row) for row in found]
