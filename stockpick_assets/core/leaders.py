"""The ticker with the highest probability of profit in each interval of five minutes, from the messages of the topics.

Pure: an interval is a span of event time, the minutes of the messages, and the time is an argument. What does not
belong here: reading Kafka, or printing (cli/leaders.py).
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from stockpick_assets.core.market_hours import MINUTE, last_session_begun
from stockpick_assets.core.messages import Message

INTERVAL = timedelta(minutes=5)
# An interval that is not complete is named when a message of this long after it has come, or its last bar has been
# closed for this long.
GRACE = timedelta(minutes=2)
# How long a named interval is kept for what comes after it was named. A correction is sent while its forecast's horizon
# of five minutes is open: that of an interval's last minute comes before the second interval after it is complete.
KEPT = 3 * INTERVAL
SILENT_AFTER = timedelta(minutes=3)


@dataclass(frozen=True)
class Leader:
    """What an interval came to.

    start: its first minute. best: the messages with the highest p_profit, one a ticker (its newest minute), several
    when tickers tie; none when no message had one. messages, expected: how many came, and how many the tickers known so
    far would have sent. silent: the known tickers that none came from. abstain: why the best is not to be relied on,
    or, where there is none, the reason that most messages give; null where there is neither. revised: whether the
    interval was named before, with another leader.
    """

    source: str
    start: datetime
    best: tuple[Message, ...]
    messages: int
    expected: int
    silent: tuple[str, ...]
    abstain: str | None
    revised: bool = False

    @property
    def last_minute(self) -> datetime:
        """The interval's last minute."""
        return self.start + INTERVAL - MINUTE

    def leads_as(self, other: "Leader") -> bool:
        """Whether the same minutes of the same tickers lead with the same probability."""
        return {(message.id, message.p_profit) for message in self.best} == {
            (message.id, message.p_profit) for message in other.best
        }


@dataclass
class _Interval:
    messages: dict[str, Message] = field(default_factory=dict[str, Message])  # by id, each in its highest version
    first: dict[Hashable, int] = field(default_factory=dict[Hashable, int])  # offset of its first in each partition
    late: list[Message] = field(default_factory=list[Message])  # that came after it was named, not yet judged
    said: Leader | None = None

    def take(self, message: Message) -> bool:
        """Keep the message if it is the newest of its id; whether it is."""
        known = self.messages.get(message.id)
        newer = known is None or message.version > known.version
        if newer:
            self.messages[message.id] = message
        return newer


class Leaders:
    """Gathers messages by interval, in whatever order the topics are read, and names the intervals one after another.

    Of messages with one id the highest version counts, and a repetition changes nothing. An interval is named once, and
    again when what comes later changes its leader, for as long as it is KEPT.

    through: start of the newest interval that was named before; that one and all earlier ones count as named.
    """

    def __init__(self, source: str, through: datetime | None = None) -> None:
        self._source = source
        self._kept: dict[datetime, _Interval] = {}
        self._tickers: set[str] = set()
        self._idle: frozenset[str] = frozenset()  # tickers that the newest named interval had nothing from
        self.through = through
        self.newest: datetime | None = None  # the newest minute of all messages
        self.late = 0  # messages whose interval had been named when they came, repetitions not counted

    def add(self, message: Message, partition: Hashable = None, offset: int = 0, *, again: bool = False) -> None:
        """Take a message in. partition, offset: where it stands. again: it was taken in before the last start."""
        self._tickers.add(message.ticker)
        self.newest = message.minute if self.newest is None else max(self.newest, message.minute)
        start = interval_of(message.minute)
        if self.through is not None and start <= self.through - KEPT:
            self.late += not again
            return
        interval = self._kept.setdefault(start, _Interval())
        interval.first[partition] = min(offset, interval.first.get(partition, offset))
        if self._is_named(start) and not again:
            interval.late.append(message)
        else:
            interval.take(message)

    def named(self, now: datetime, tickers: Collection[str] = (), speed: float = 1.0) -> Iterator[Leader]:
        """The intervals that can be named at market time `now`, ascending, and those whose leader has changed.

        To be called when every topic has been read to its end. An interval counts as named from when it is handed out.
        It is named when it is complete, or when a message of GRACE after it has come, or when its last bar has been
        closed for GRACE; never before an earlier one. Complete are five messages of each ticker, without those that the
        interval before had nothing from. tickers: those that are expected, beside those that messages came from. speed:
        of the market's clock; GRACE of wall time are allowed, however fast it is.
        """
        known = self._tickers | set(tickers)
        for start in sorted(self._kept):
            interval = self._kept[start]
            if self._is_named(start):
                revised = self._settled(start, interval, known)
                if revised is not None:
                    yield revised
            elif self._due(start, interval, known, now, speed):
                interval.said = self._leader(start, interval, known)
                self._idle = frozenset(interval.said.silent)
                self.through = start
                yield interval.said
            else:
                break
        if self.through is not None:
            for start in [start for start in self._kept if start <= self.through - KEPT]:
                del self._kept[start]

    def needed(self) -> dict[Hashable, int]:
        """For each partition the offset of its first message of an interval that is kept, or not named yet.

        Who reads on from there with the same `through` knows what is known here.
        """
        first: dict[Hashable, int] = {}
        for interval in self._kept.values():
            for partition, offset in interval.first.items():
                first[partition] = min(offset, first.get(partition, offset))
        return first

    def _is_named(self, start: datetime) -> bool:
        return self.through is not None and start <= self.through

    def _settled(self, start: datetime, interval: _Interval, known: set[str]) -> Leader | None:
        """What the late messages make of a named interval, if its leader is another one now."""
        if interval.said is None:  # named before the last start
            interval.said = self._leader(start, interval, known)
            self._idle = frozenset(interval.said.silent)
        late, interval.late = interval.late, []
        taken = sum([interval.take(message) for message in late])
        self.late += taken
        if not taken:
            return None
        leader = replace(self._leader(start, interval, known), revised=True)
        if leader.leads_as(interval.said):
            return None
        interval.said = leader
        return leader

    def _due(self, start: datetime, interval: _Interval, known: set[str], now: datetime, speed: float) -> bool:
        counts = Counter(message.ticker for message in interval.messages.values())
        awaited = (known - self._idle) or known
        complete = all(counts[ticker] >= INTERVAL / MINUTE for ticker in awaited)
        followed = self.newest is not None and self.newest >= start + INTERVAL + GRACE
        return complete or followed or now >= start + INTERVAL + GRACE * max(1.0, speed)

    def _leader(self, start: datetime, interval: _Interval, known: set[str]) -> Leader:
        messages = sorted(interval.messages.values(), key=lambda message: (message.ticker, message.minute))
        highest = max((message.p_profit for message in messages if message.p_profit is not None), default=None)
        best = {message.ticker: message for message in messages if highest is not None and message.p_profit == highest}
        reasons = Counter(message.abstain for message in messages if message.abstain is not None).most_common(1)
        return Leader(
            self._source,
            start,
            tuple(best.values()),
            len(messages),
            len(known) * int(INTERVAL / MINUTE),
            tuple(sorted(known - {message.ticker for message in messages})),
            next(iter(best.values())).abstain if best else reasons[0][0] if reasons else None,
        )


def silence(newest: datetime | None, since: datetime, now: datetime, speed: float) -> timedelta | None:
    """How long, in market time, no message has come in market hours, where that is longer than it may be; else None.

    newest: the newest minute that came. since: market time from which messages were waited for. speed: of the market's
    clock; three minutes of wall time are allowed, however fast it is.
    """
    session = last_session_begun(now)
    if now >= session.close:
        return None
    heard = max(since, session.open, newest + MINUTE if newest else since)
    quiet = now - heard
    return quiet if quiet > SILENT_AFTER * max(1.0, speed) else None


def interval_of(minute: datetime) -> datetime:
    """Start of the interval of five clock minutes that the minute is in, UTC."""
    return datetime.fromtimestamp(minute.timestamp() // INTERVAL.total_seconds() * INTERVAL.total_seconds(), UTC)
