"""The relay: sends the messages that stand in picks to Kafka, once, in the order of their minutes.

The table is the outbox; how far it has been sent is kept by Kafka, in the transaction of what was sent. What does not
belong here: what a message says (core/messages.py), or how a transaction is made (resources/kafka.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, last_session_begun, minute_label, new_york_date, session_after
from stockpick_assets.core.messages import TOPIC_PREFIX, topic_name
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.resources.kafka import Outgoing, Position
from stockpick_assets.store import Store, TableMissing

MESSAGES_AT_ONCE = 3000


class Outlet(Protocol):
    """What the relay needs of an outbox; `resources.kafka.Outbox` is one."""

    @property
    def position(self) -> Position | None:
        """The position that was committed last."""
        ...

    def send(self, messages: Sequence[Outgoing], position: Position) -> None:
        """Commit the messages and the position together, or neither."""
        ...

    def close(self) -> None:
        """Give up the connection."""
        ...


@dataclass(frozen=True)
class Relayed:
    """What one transaction did: the minutes it sent and how many messages that were, or why there were none."""

    minutes: tuple[datetime, ...] = ()
    messages: int = 0
    nothing: str = ""

    def __str__(self) -> str:
        if not self.minutes:
            return self.nothing
        first, last = minute_label(self.minutes[0]), minute_label(self.minutes[-1])
        of = first if first == last else f"{len(self.minutes)} minutes, {first} to {last}"
        return f"{self.messages} messages of {of} New York"


class Relay:
    """Sends what is due of one source's picks, a bounded number of minutes at a time.

    connect: opens the outbox of that name. It is opened on first use and again after an error, so that a process keeps
    one connection for all its calls.
    """

    def __init__(
        self, source: str, tickers: Sequence[str], clock: MarketClock, connect: Callable[[str], Outlet]
    ) -> None:
        self._source = source
        self._tickers = tuple(tickers)
        # A replay that goes on in its session goes on in its topics; one of another session begins anew.
        self._note = new_york_date(clock.replay_from).isoformat() if clock.replay_from else ""
        self._connect = connect
        self._outlet: Outlet | None = None

    def send_due(self, store: Store, now: datetime) -> Relayed:
        """Send the oldest minutes due at market time `now`, at most MESSAGES_AT_ONCE messages, in one transaction.

        A minute is due when picks has a row of every ticker for it and nothing later was sent. Raises BrokerError and
        StoreError; what was due then stays due.
        """
        try:
            if self._outlet is None:
                self._outlet = self._connect(f"{TOPIC_PREFIX}.relay.{self._source}")
            return self._send_due(self._outlet, store, now)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Give up the connection."""
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def _send_due(self, outlet: Outlet, store: Store, now: datetime) -> Relayed:
        if outlet.position is None or outlet.position.note != self._note:
            # Committed at once: a broker that is away later in the day must not move the start.
            outlet.send([], self._position(_start(now)))
        due_from = _minute(outlet.position)
        newest = now - MINUTE
        if due_from > newest:
            return Relayed(nothing=f"Everything before {minute_label(due_from)} New York has been sent.")
        try:
            version = store.version(PICKS.name)
        except TableMissing:
            return Relayed(
                nothing=f"There are no picks yet; the first to be sent are of {minute_label(due_from)} New York."
            )
        here = {"from_session": new_york_date(due_from), "version": version}
        rows = store.read(PICKS.name, first=due_from, last=newest, columns=["minute", "ticker"], **here)
        due = complete_minutes(rows, self._tickers)[: max(1, MESSAGES_AT_ONCE // len(self._tickers))]
        if not due:
            return Relayed(nothing=self._waiting(rows, due_from))
        rows = store.read(PICKS.name, first=due[0], last=due[-1], columns=["minute", "ticker", "message"], **here)
        rows = rows.filter(pc.and_(_among(rows["minute"], due), _among(rows["ticker"], self._tickers)))
        columns: dict[str, list[Any]] = rows.to_pydict()
        topics = {ticker: topic_name(self._source, ticker) for ticker in self._tickers}
        messages = [
            Outgoing(topics[ticker], ticker, message)
            for ticker, message in zip(columns["ticker"], columns["message"], strict=True)
        ]
        outlet.send(messages, self._position(due[-1] + MINUTE))
        return Relayed(tuple(due), len(messages))

    def _position(self, due_from: datetime) -> Position:
        return Position(int(due_from.timestamp()) // 60, self._note)

    def _waiting(self, rows: pa.Table, due_from: datetime) -> str:
        minutes: list[Any] = rows["minute"].to_pylist()
        if not minutes:
            return f"There are no picks of {minute_label(due_from)} New York or later yet."
        answered = f"{minutes.count(minutes[-1])} of {len(self._tickers)} tickers"
        return f"{minute_label(minutes[-1])} New York has picks of {answered} and is sent when it has all."


def complete_minutes(rows: pa.Table, tickers: Sequence[str]) -> list[datetime]:
    """The minutes, ascending, of which `rows` (columns minute and ticker) has a row for each of the tickers."""
    ours = rows.filter(_among(rows["ticker"], tickers))
    counted = ours.group_by("minute").aggregate([("ticker", "count_distinct")]).sort_by("minute").to_pydict()
    return [
        minute
        for minute, count in zip(counted["minute"], counted["ticker_count_distinct"], strict=True)
        if count == len(tickers)
    ]


def _start(now: datetime) -> datetime:
    """The first minute that a relay without a position sends: the open of the session under way, or of the next."""
    session = last_session_begun(now)
    return session.open if now < session.close else session_after(session).open


def _minute(position: Position | None) -> datetime:
    if position is None:
        raise AssertionError("an outbox that has sent has a position")
    return datetime.fromtimestamp(position.number * 60, UTC)


def _among(column: Any, values: Sequence[object]) -> Any:
    return pc.is_in(column, value_set=pa.array(values, column.type))
