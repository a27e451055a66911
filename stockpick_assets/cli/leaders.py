"""`stockpick leaders`: the ticker with the highest probability of profit in every five minutes, read from Kafka."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import click

from stockpick_assets.core.alerts import Delivery, label
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.leaders import Leader, Leaders, silence
from stockpick_assets.core.market_hours import NEW_YORK, minute_from_label, minute_label, new_york_date
from stockpick_assets.core.messages import Message, MessageError, one_line, parse_message, ticker_of, topic_prefix
from stockpick_assets.resources.group_reader import GroupReader
from stockpick_assets.resources.kafka import BrokerError, Kafka
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.topic_reader import Record, Start, TopicReader
from stockpick_assets.settings import Settings

POLL_SECONDS = 0.5
MOST_SHOWN = 5
ALARM_RETRY = timedelta(minutes=1)


class AnotherMember(StockpickError):
    """The group's topics are read by another process."""


class Reader(Protocol):
    """What `watch` needs of a reader of topics; `GroupReader` and `TopicReader` are two."""

    turn: int
    note: str

    @property
    def topics(self) -> frozenset[str]:
        """The topics that it reads now."""
        ...

    @property
    def standby(self) -> bool:
        """Whether another member of its group reads the topics."""
        ...

    def records(self, seconds: float) -> list[Record]:
        """The messages that come within `seconds`. Raises BrokerError."""
        ...

    def at_end(self) -> bool:
        """Whether every topic has been read to its end. Raises BrokerError."""
        ...

    def keep(self, needed: Mapping[Any, int], note: str) -> bool:
        """Keep the position, from `needed` on, with the note; whether it is kept. Raises BrokerError."""
        ...


class Alarm:
    """Tells channels once that the topics fell silent, and once that they speak again.

    deliver: gives a title and a body to the channels. A text that none of them took is tried again every minute, for as
    long as it is true.
    """

    def __init__(self, deliver: Callable[[str, str], Delivery]) -> None:
        self._deliver = deliver
        self._waiting: tuple[str, str] | None = None
        self._raised = False  # whether the channels know of the silence that is, or was last
        self._next: datetime | None = None

    def silent(self, title: str, body: str) -> None:
        """A silence has begun."""
        self._waiting, self._raised, self._next = (title, body), False, None

    def over(self, title: str, body: str) -> None:
        """The silence is over; who was not told of it need not know."""
        self._waiting, self._next = ((title, body) if self._raised else None), None

    def tell(self, wall: datetime) -> str | None:
        """Deliver what waits, at the wall time `wall`; returns what to say where that failed."""
        if self._waiting is None or (self._next is not None and wall < self._next):
            return None
        delivery = self._deliver(*self._waiting)
        if delivery.accepted:
            self._waiting, self._raised = None, True
            return None
        self._next = wall + ALARM_RETRY
        return f"no channel took the alert ({', '.join(delivery.refused)}); trying again in {ALARM_RETRY}"


class Listening:
    """Says when the topics have fallen silent in market hours, once a session, and when messages come again.

    since: market time from which messages are waited for. speed: of the market's clock.
    """

    def __init__(self, source: str, since: datetime, speed: float, alarm: Alarm | None) -> None:
        self._source, self._since, self._speed, self._alarm = source, since, speed, alarm
        self._silent_on: date | None = None  # the day of the silence that was said and is not over
        self._last: datetime | None = None  # the newest minute when it was said

    def said(self, newest: datetime | None, now: datetime, wall: datetime) -> Iterator[str]:
        """What there is to say at market time `now`, when `newest` is the newest minute that has come."""
        silent, today = silence(newest, self._since, now, self._speed), new_york_date(now)
        if silent is not None and self._silent_on != today:
            self._silent_on, self._last = today, newest
            title = f"the topics have been silent for {_whole_seconds(silent)} of market time"
            last = f"the last minute that came is {minute_label(newest)}" if newest else "nothing has come yet"
            body = f"it is {minute_label(now)} in New York and the market is open; {last}"
            yield f"{self._source.upper()} {title}; {body}"
            if self._alarm is not None:
                self._alarm.silent(f"{label(self._source)}{title}", f"{body}. Look at `stockpick status`.")
        elif silent is None and self._silent_on is not None and newest != self._last and newest is not None:
            self._silent_on = None
            title = f"messages come again, of {minute_label(newest)} New York"
            yield f"{self._source.upper()} {title}"
            if self._alarm is not None:
                self._alarm.over(f"{label(self._source)}{title}", "The topics had been silent.")
        failure = self._alarm.tell(wall) if self._alarm is not None else None
        if failure is not None:
            yield f"{self._source.upper()} {failure}"


class _StartType(click.ParamType[Any, Any]):
    name = "earliest|latest|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Start:
        """`earliest`, `latest`, or a market time: New York wall time, or ISO 8601 with its zone."""
        if value in ("earliest", "latest") or isinstance(value, datetime):
            return value
        for parse in (minute_from_label, datetime.fromisoformat):
            try:
                instant = parse(value)
            except ValueError:
                continue
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        allowed = "earliest, latest, a New York time such as '2026-11-23 10:30', or 2026-11-23T10:30-05:00"
        raise click.BadParameter(f"{value!r} is none of {allowed}", ctx, param)


@click.command()
@click.option(
    "--from",
    "start",
    type=_StartType(),
    help="Begin reading there, outside any group; otherwise it goes on where the group was, at first with what comes.",
)
@click.option("--group", help="Consumer group that keeps the position.  [default: stockpick.leaders.<source>]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), help="End after that many intervals.")
@click.option("--once", is_flag=True, help="End when every topic has been read to its end.")
@click.option("--alert", is_flag=True, help="Tell the channels of STOCKPICK_ALERT_URLS when the topics fall silent.")
def leaders(start: Start | None, group: str | None, as_json: bool, count: int | None, once: bool, alert: bool) -> None:
    """Name the ticker with the highest p_profit in every five minutes, from the messages of all tickers."""
    settings = Settings.load()
    if start is not None and group is not None:
        raise click.UsageError("--from reads outside any group: give it or --group, not both")
    urls = settings.alert_urls.get_secret_value()
    if alert and not urls.strip():
        raise click.UsageError("--alert needs a channel: set STOCKPICK_ALERT_URLS")
    after = start if isinstance(start, datetime) else None
    show = to_json if as_json else to_text
    # Stopped by a service manager it leaves its group too, and the next member need not wait until it is missed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), closing(_reader(settings, start, group)) as reader:
        click.echo(
            f"{settings.source.upper()} reading {topic_prefix(settings.source)}* at {settings.kafka_bootstrap}"
            + (f" as the group {reader.group}" if isinstance(reader, GroupReader) else ""),
            err=True,
        )
        alarm = Alarm(Notifier(urls).deliver) if alert else None
        watching = Watch(reader, settings.source, settings.clock, lambda: datetime.now(UTC), after, alarm)
        for event in watching.events(count, once):
            if isinstance(event, str):
                click.echo(event, err=True)
            else:
                click.echo(show(event))


def _reader(settings: Settings, start: Start | None, group: str | None) -> GroupReader | TopicReader:
    kafka = Kafka(settings.kafka_bootstrap, settings.kafka_security())
    prefix = topic_prefix(settings.source)
    if start is None:
        return GroupReader(kafka, prefix, group or f"stockpick.leaders.{settings.source}")
    return TopicReader(kafka, prefix, settings.clock.wall_at(start) if isinstance(start, datetime) else start)


class Watch:
    """Reads messages, names the intervals, and keeps the position in the group.

    after: messages of earlier minutes are passed over.
    """

    def __init__(
        self,
        reader: Reader,
        source: str,
        clock: MarketClock,
        wall: Callable[[], datetime],
        after: datetime | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        self._reader, self._source, self._clock, self._wall = reader, source, clock, wall
        self._after, self._alarm = after, alarm
        self._turn = 0
        self._begin(clock.at(wall()))

    def events(self, count: int | None = None, once: bool = False) -> Iterator[Leader | str]:
        """Each interval as it can be named, and lines of text about what is wrong.

        The position is committed after what was said has been taken: who is killed in between says it again. Ends after
        `count` intervals, or when `once` and all is read. Raises AnotherMember when `once` and another member of the
        group reads the topics, and BrokerError when `once`.
        """
        away = stood_by = owed = ending = False
        while True:
            try:
                if owed:
                    owed = not self._reader.keep(self._gathered.needed(), self._note())
                if ending and not owed:
                    return
                records = self._reader.records(POLL_SECONDS)
                ended = self._reader.at_end()
            except BrokerError as error:
                if once:
                    raise
                if not away:
                    yield self._line(f"{error}; trying again")
                away = True
                continue
            away = False
            wall = self._wall()
            now = self._clock.at(wall)
            if self._reader.standby:
                if once:
                    raise AnotherMember("another member of the group is at work: end it, or give --group another name")
                if not stood_by:
                    yield self._line("another member of the group is at work; standing by until it has ended")
                stood_by = True
                continue
            stood_by = False
            if self._reader.turn != self._turn:
                self._begin(now)
            yield from self._taken(records, now)
            if ended and not ending:
                ending = once
                tickers = {ticker_of(self._source, topic) for topic in self._reader.topics}
                for leader in self._gathered.named(now, tickers, self._clock.speed):
                    yield leader
                    owed = True
                    count = None if count is None else count - 1
                    if count == 0:
                        ending = True
                        break
            if self._gathered.late > self._late:
                yield self._line(f"{self._gathered.late - self._late} messages came after their interval was named")
                self._late, owed = self._gathered.late, True
            yield from self._listening.said(self._gathered.newest, now, wall)

    def _begin(self, now: datetime) -> None:
        """Go on after what the reader's note says was named."""
        self._turn = self._reader.turn
        through = datetime.fromisoformat(self._reader.note) if self._reader.note else None
        if through is not None and through > now:
            through = None  # of a replay that was further on than this one
        self._gathered, self._late = Leaders(self._source, through), 0
        self._listening = Listening(self._source, now, self._clock.speed, self._alarm)

    def _note(self) -> str:
        return self._gathered.through.isoformat() if self._gathered.through else ""

    def _taken(self, records: list[Record], now: datetime) -> Iterator[str]:
        ahead: list[datetime] = []
        for record in records:
            try:
                message = parse_message(record.text)
            except MessageError as error:
                yield self._line(f"passed over: {error}")
                continue
            if message.minute > now:
                ahead.append(message.minute)
            elif self._after is None or message.minute >= self._after:
                self._gathered.add(message, record.partition, record.offset, again=record.again)
        if ahead:
            yield self._line(
                f"passed over: {len(ahead)} messages of minutes up to {minute_label(max(ahead))}, though it is "
                f"{minute_label(now)} in New York; they are another replay's, or this machine's clock is wrong"
            )

    def _line(self, text: str) -> str:
        return f"{self._source.upper()} {text}"


def to_text(leader: Leader) -> str:
    """The interval on one line for a person, New York time; another line for each tie."""
    last = leader.last_minute.astimezone(NEW_YORK)
    head = f"{leader.source.upper()} {minute_label(leader.start)}-{last:%H:%M}"
    if leader.revised:
        head += "  revised:"
    notes = [f"ABSTAINS: {one_line(leader.abstain, 160)}"] if leader.abstain else []
    if leader.messages < leader.expected:
        notes.append(f"{leader.messages} of {leader.expected} messages")
    if leader.silent:
        notes.append(f"silent: {_listed([one_line(ticker) for ticker in leader.silent])}")
    note = f"  [{'; '.join(notes)}]" if notes else ""
    if not leader.best:
        return f"{head}  no ticker has a probability of profit{note}"
    lines = [f"{head}  {_of(leader.best[0])}{note}"]
    lines += [f"{head}  tie: {_of(message)}" for message in leader.best[1:MOST_SHOWN]]
    if len(leader.best) > MOST_SHOWN:
        lines.append(f"{head}  tie: {len(leader.best) - MOST_SHOWN} more")
    return "\n".join(lines)


def to_json(leader: Leader) -> str:
    """The interval as one JSON object."""
    return json.dumps(
        {
            "source": leader.source,
            "start": leader.start.isoformat(),
            "last_minute": leader.last_minute.isoformat(),
            "best": [
                {
                    "ticker": message.ticker,
                    "minute": message.minute.isoformat(),
                    "p_profit": message.p_profit,
                    "expected_obtainable_return": message.expected_obtainable_return,
                    "rank": message.rank,
                    "pop_window": message.pop_window,
                    "change_day": message.change_day,
                    "change_5m": message.change_5m,
                    "abstain": message.abstain,
                    "id": message.id,
                    "version": message.version,
                }
                for message in leader.best
            ],
            "messages": leader.messages,
            "expected": leader.expected,
            "silent": leader.silent,
            "abstain": leader.abstain,
            "revised": leader.revised,
        }
    )


def _of(message: Message) -> str:
    parts = [f"{one_line(message.ticker):<6} p_profit {message.p_profit:.1%}" if message.p_profit is not None else ""]
    parts.append(f"at {message.minute.astimezone(NEW_YORK):%H:%M}")
    if message.rank is not None:
        parts.append(f"rank {message.rank}")
    if message.expected_obtainable_return is not None:
        parts.append(f"expected {message.expected_obtainable_return * BASIS_POINTS:+.1f} bp before cost")
    for name, value in (("today", message.change_day), ("5 min", message.change_5m)):
        if value is not None:
            parts.append(f"{name} {value:+.2%}")
    if message.pop_window is not None:
        parts.append(f"pop_window {message.pop_window:.2f}")
    return "  ".join(parts)


def _whole_seconds(duration: timedelta) -> timedelta:
    return timedelta(seconds=int(duration.total_seconds()))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"{', '.join(names[:MOST_SHOWN])}{more}"
