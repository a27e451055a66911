"""The relay: sends the messages that stand in picks to Kafka, once, in the order of their minutes.

The table is the outbox; how far it has been sent is kept by Kafka, in the transaction of what was sent. What does not
belong here: what a message says (core/messages.py), when a pick is corrected (core/corrections.py), or how a
transaction is made (resources/kafka.py).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.corrections import OPEN_FOR, horizon_end
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, last_session_begun, minute_label, new_york_date, session_after
from stockpick_assets.core.messages import FIRST_VERSION, relay_name, topic_name
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.resources.kafka import Outgoing, Position
from stockpick_assets.store import Store, TableMissing, VersionGone

# Of the time that a session's 39,000 take, reading the table is a third at 3,000 a transaction and a sixth at 9,000.
MESSAGES_AT_ONCE = 9000
# Of a tick of Dagster's, which is given up after 60 s: it waits for another call, and opening takes up to 55 s (15 to
# connect, 15 for the topics, 25 for the first position). After a slow opening nothing is read or sent.
WAIT_SECONDS = 3.0
SLOW_OPENING_SECONDS = 10.0
KEY = ("minute", "ticker", "message_version")
Read = Callable[..., pa.Table]  # of every version of picks, as `Store.read`


class StillSending(StockpickError):
    """Another call of the relay has not ended; what is due stays due."""


class Outlet(Protocol):
    """What the relay needs of an outbox; `resources.kafka.Outbox` is one."""

    @property
    def position(self) -> Position | None:
        """The position that was committed last."""
        ...

    def prepare(self, topics: Collection[str]) -> None:
        """Make the topics that are missing."""
        ...

    def send(self, messages: Sequence[Outgoing], position: Position) -> None:
        """Commit the messages and the position together, or neither."""
        ...

    def close(self) -> None:
        """Give up the connection."""
        ...


@dataclass(frozen=True)
class Relayed:
    """What was sent: first messages, of which minutes, and corrections. Or why nothing was.

    until: everything due before this minute has been sent.
    """

    until: datetime
    minutes: tuple[datetime, ...] = ()
    messages: int = 0
    corrections: int = 0
    nothing: str = ""

    def __bool__(self) -> bool:
        return bool(self.messages or self.corrections)

    def then(self, later: "Relayed") -> "Relayed":
        """What both sent."""
        return Relayed(
            later.until,
            self.minutes + later.minutes,
            self.messages + later.messages,
            self.corrections + later.corrections,
            later.nothing,
        )

    def __str__(self) -> str:
        sent: list[str] = []
        if self.minutes:
            first, last = minute_label(self.minutes[0]), minute_label(self.minutes[-1])
            of = first if first == last else f"{len(self.minutes)} minutes, {first} to {last}"
            sent.append(f"{self.messages} messages of {of} New York")
        if self.corrections:
            sent.append(f"{self.corrections} correction{'s' if self.corrections > 1 else ''}")
        return " and ".join(sent) or self.nothing


class Reached(NamedTuple):
    """How far the messages were sent: the first ones of every minute before `minute`, and of these minutes the
    corrections that picks had at its `version`.

    version: None before any picks were read. replay: the session that is replayed; empty for a live market.
    """

    minute: datetime
    version: int | None
    replay: str

    @classmethod
    def of(cls, position: Position) -> Self:
        """What an outbox kept."""
        replay, _, version = position.note.partition("/")
        return cls(datetime.fromtimestamp(position.number * 60, UTC), int(version) if version else None, replay)

    def position(self) -> Position:
        """What an outbox keeps."""
        version = "" if self.version is None else self.version
        return Position(int(self.minute.timestamp()) // 60, f"{self.replay}/{version}")


class Relay:
    """Sends what is due of one source's picks, a bounded number of minutes at a time.

    connect: opens the outbox of that name. It is opened on first use and again after an error, so that a process keeps
    one connection for all its calls. seconds: of a clock that only counts.
    """

    def __init__(
        self,
        source: str,
        tickers: Sequence[str],
        clock: MarketClock,
        connect: Callable[[str], Outlet],
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._topics = {ticker: topic_name(source, ticker) for ticker in tickers}
        # A replay that goes on in its session goes on in its topics; one of another session begins anew.
        self._replay = new_york_date(clock.replay_from).isoformat() if clock.replay_from else ""
        self._connect = connect
        self._seconds = seconds
        self._outlet: Outlet | None = None
        self._looked: tuple[int, datetime] | None = None  # at which version, up to which minute, in vain
        self._nothing = ""
        # A tick goes on in the code server when its daemon was killed, and two daemons ask one code server: an outlet
        # fences other connections, and not another thread that read its position before it moved.
        self._one_at_a_time = Lock()

    def send_due(self, store: Store, now: datetime) -> Relayed:
        """Send the oldest minutes due at market time `now`, of one session and at most MESSAGES_AT_ONCE messages, and
        every correction that is due, in one transaction.

        A minute is due when picks has a row of every ticker for it and nothing later was sent. A correction is due
        when the message that it takes the place of was sent, or is sent with it, and the horizon is open. Raises
        BrokerError and StoreError; what was due then stays due. A call during another waits for it for WAIT_SECONDS and
        then raises StillSending. A call that was slow to open the connection sends nothing.
        """
        if not self._one_at_a_time.acquire(timeout=WAIT_SECONDS):
            raise StillSending(
                f"another tick of the relay of {self._source} is still sending; what is due follows at the next tick"
            )
        try:
            began = self._seconds()
            outlet, sent = self._reached(now)
            opening = self._seconds() - began
            if opening > SLOW_OPENING_SECONDS:
                nothing = f"Opening the connection to Kafka took {opening:.0f} s; what is due follows at the next tick."
                return Relayed(sent.minute, nothing=nothing)
            return self._send_due(outlet, store, sent, now)
        except Exception:
            self.close()
            raise
        finally:
            self._one_at_a_time.release()

    def close(self) -> None:
        """Give up the connection."""
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def _reached(self, now: datetime) -> tuple[Outlet, Reached]:
        """The outbox, opened where it is not, and how far the messages were sent."""
        if self._outlet is None:
            self._outlet = self._connect(relay_name(self._source))
            self._looked = None
            # Now, and not with a session's first messages, which would wait for it.
            self._outlet.prepare(list(self._topics.values()))
        sent = Reached.of(self._outlet.position) if self._outlet.position else None
        if sent is None or sent.replay != self._replay:
            sent = Reached(_start(now), None, self._replay)
            # Committed at once: a broker that is away later in the day must not move the start.
            self._outlet.send([], sent.position())
        return self._outlet, sent

    def _send_due(self, outlet: Outlet, store: Store, sent: Reached, now: datetime) -> Relayed:
        try:
            table = store.open(PICKS.name)
        except TableMissing:
            first = minute_label(sent.minute)
            nothing = f"There are no picks yet; the first to be sent are of {first} New York."
            return Relayed(sent.minute, nothing=nothing)
        newest = now - MINUTE
        looked = table.version(), newest.replace(second=0, microsecond=0)
        if looked == self._looked:
            return Relayed(sent.minute, nothing=self._nothing)
        read = partial(store.read, PICKS.name, opened=table, every_version=True)
        session = last_session_begun(sent.minute)
        while True:
            # A session at a time: of a long backlog every call would read the whole rest.
            due_from = max(sent.minute, session.open)
            keys = self._keys(read, min(due_from, now - OPEN_FOR), min(session.last_minute, newest))
            firsts = keys.filter(pc.and_(_from(keys, sent.minute), _firsts(keys)))
            minutes = complete_minutes(firsts, list(self._topics))[: max(1, MESSAGES_AT_ONCE // len(self._topics))]
            if minutes or session_after(session).open > newest:
                break
            session = session_after(session)
        until = minutes[-1] + MINUTE if minutes else sent.minute
        corrections = self._corrections(store, keys, sent, until, now)
        if not minutes and not corrections:
            self._looked, self._nothing = looked, self._waiting(firsts, due_from, newest)
            return Relayed(sent.minute, nothing=self._nothing)
        messages = self._messages(read, set(minutes), corrections)
        outlet.send(messages, Reached(until, table.version(), self._replay).position())
        return Relayed(until, tuple(minutes), len(messages) - len(corrections), len(corrections))

    def _keys(self, read: Read, first: datetime, last: datetime) -> pa.Table:
        """KEY of every version that has a message, of the minutes from first to last."""
        rows = read(from_session=new_york_date(first), first=first, last=last, columns=KEY)
        said: Any = pc.is_valid(rows["message_version"])
        return rows.filter(pc.and_(said, _among(rows["ticker"], list(self._topics))))

    def _corrections(self, store: Store, keys: pa.Table, sent: Reached, until: datetime, now: datetime) -> set[Any]:
        """KEY of the corrections that are due: of minutes before `until` and still open, not sent before."""
        corrections = _tuples(keys.filter(pc.invert(_firsts(keys))))
        due = {key for key in corrections if key[0] < until and horizon_end(key[0]) > now}
        begun = [minute for minute, *_ in due if minute < sent.minute]
        if begun and sent.version is not None:
            read = partial(store.read, PICKS.name, version=sent.version, every_version=True)
            try:
                before = self._keys(read, min(begun), max(begun))
            except VersionGone:
                # The table was begun anew, or the relay was away for longer than versions are kept: which corrections
                # were sent is not known, and none is sent twice.
                return {key for key in due if key[0] >= sent.minute}
            due -= {key for key in _tuples(before) if key[0] < sent.minute}
        return due

    def _messages(self, read: Read, minutes: set[datetime], corrections: set[Any]) -> list[Outgoing]:
        """The first messages of the minutes and the corrections, by minute, a correction after what it corrects."""
        every = {*minutes, *(minute for minute, *_ in corrections)}
        first, last = min(every), max(every)
        rows = read(from_session=new_york_date(first), first=first, last=last, columns=(*KEY, "message"))
        rows = rows.sort_by([(column, "ascending") for column in KEY])
        messages: list[Any] = rows["message"].to_pylist()
        return [
            Outgoing(self._topics[key[1]], key[1], message)
            for key, message in zip(_tuples(rows), messages, strict=True)
            if key[1] in self._topics and (key in corrections or (key[2] == FIRST_VERSION and key[0] in minutes))
        ]

    def _waiting(self, rows: pa.Table, due_from: datetime, newest: datetime) -> str:
        if due_from > newest:
            return f"Everything before {minute_label(due_from)} New York has been sent."
        minutes: list[Any] = rows["minute"].to_pylist()
        if not minutes:
            return f"There are no picks of {minute_label(due_from)} New York or later yet."
        answered = f"{minutes.count(minutes[-1])} of {len(self._topics)} tickers"
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


def _tuples(rows: pa.Table) -> list[tuple[Any, ...]]:
    """KEY of each row."""
    return list(zip(*(rows[column].to_pylist() for column in KEY), strict=True))


def _firsts(rows: pa.Table) -> Any:
    return pc.equal(rows["message_version"], pa.scalar(FIRST_VERSION, rows["message_version"].type))


def _from(rows: pa.Table, minute: datetime) -> Any:
    return pc.greater_equal(rows["minute"], pa.scalar(minute, rows["minute"].type))


def _among(column: Any, values: Sequence[object]) -> Any:
    return pc.is_in(column, value_set=pa.array(values, column.type))
