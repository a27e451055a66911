"""The ticker with the highest probability of profit in each interval of five minutes, from the messages of the topics.

Pure: an interval is a span of event time, the minutes of the messages, and the time is an argument. What does not
belong here: reading Kafka, or printing (cli/leaders.py).
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stockpick_assets.core.market_hours import MINUTE, last_session_begun
from stockpick_assets.core.messages import Message

INTERVAL = timedelta(minutes=5)
# An interval that is not complete, and that nothing later follows, is named this long after its last bar closed.
GRACE = timedelta(minutes=2)
SILENT_AFTER = timedelta(minutes=3)


@dataclass(frozen=True)
class Leader:
    """What an interval came to.

    start: its first minute. best: the messages with the highest p_profit, one a ticker (its newest), several when
    tickers tie; none when no message had one. messages, expected: how many came, and how many the tickers known so far
    would have sent. silent: the known tickers that none came from. abstain: why the best is not to be relied on, or,
    where there is none, the reason that most messages give; null where there is neither.
    """

    source: str
    start: datetime
    best: tuple[Message, ...]
    messages: int
    expected: int
    silent: tuple[str, ...]
    abstain: str | None

    @property
    def last_minute(self) -> datetime:
        """The interval's last minute."""
        return self.start + INTERVAL - MINUTE


class Leaders:
    """Gathers messages by interval, in whatever order the topics are read, and names each interval once.

    Of messages with one id the one that came last counts.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: dict[datetime, dict[str, Message]] = {}
        self._named: set[datetime] = set()
        self._tickers: set[str] = set()
        self.newest: datetime | None = None  # the newest minute of all messages
        self.late = 0  # messages whose interval had been named when they came

    def add(self, message: Message) -> None:
        """Take a message in. One that comes after its interval was named is counted as late and changes nothing."""
        self._tickers.add(message.ticker)
        self.newest = message.minute if self.newest is None else max(self.newest, message.minute)
        start = interval_of(message.minute)
        if start in self._named:
            self.late += 1
        else:
            self._open.setdefault(start, {})[message.id] = message

    def named(self, now: datetime, tickers: Collection[str] = ()) -> list[Leader]:
        """The intervals that can be named at market time `now`, ascending; each is returned once.

        To be called when every topic has been read to its end. An interval is named when it is complete, when a later
        interval has begun, or GRACE after its last bar closed. tickers: those that are expected, beside those that
        messages came from.
        """
        known = self._tickers | set(tickers)
        expected = len(known) * int(INTERVAL / MINUTE)
        leaders: list[Leader] = []
        for start in sorted(self._open):
            followed = self.newest is not None and self.newest >= start + INTERVAL
            if followed or len(self._open[start]) >= expected or now >= start + INTERVAL + GRACE:
                leaders.append(self._leader(start, list(self._open.pop(start).values()), expected, known))
                self._named.add(start)
        return leaders

    def _leader(self, start: datetime, messages: list[Message], expected: int, known: set[str]) -> Leader:
        highest = max((message.p_profit for message in messages if message.p_profit is not None), default=None)
        messages.sort(key=lambda message: (message.ticker, message.minute))
        best = {message.ticker: message for message in messages if highest is not None and message.p_profit == highest}
        reasons = Counter(message.abstain for message in messages if message.abstain is not None).most_common(1)
        return Leader(
            self._source,
            start,
            tuple(best.values()),
            len(messages),
            expected,
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
