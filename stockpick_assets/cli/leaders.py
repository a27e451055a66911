"""`stockpick leaders`: the ticker with the highest probability of profit in every five minutes, read from Kafka."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import click

from stockpick_assets.cli.listening import Alarm, Listening
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.leaders import Leader, Leaders
from stockpick_assets.core.market_hours import NEW_YORK, minute_from_label, minute_label
from stockpick_assets.core.messages import (
    Message,
    MessageError,
    first_of,
    one_line,
    parse_message,
    ticker_of,
    topic_prefix,
)
from stockpick_assets.resources.kafka import BrokerError, Kafka
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.topic_reader import Record, Start, TopicReader
from stockpick_assets.settings import Settings

POLL_SECONDS = 0.5
MOST_SHOWN = 5


class Reader(Protocol):
    """What `Watch` needs of a TopicReader."""

    note: str

    @property
    def topics(self) -> frozenset[str]:
        """The topics that it reads now."""
        ...

    def records(self, seconds: float) -> list[Record]:
        """The messages that come within `seconds`. Raises BrokerError."""
        ...

    def at_end(self) -> bool:
        """Whether every topic has been read to its end. Raises BrokerError."""
        ...

    def keep(self, needed: Mapping[Any, int], note: str) -> None:
        """Keep the position, from `needed` on, with the note. Raises BrokerError."""
        ...


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
@click.option("--count", type=click.IntRange(min=1), help="End after that many intervals, revisions not counted.")
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
    if start is None:
        group = group or f"stockpick.leaders.{settings.source}"
    kafka, prefix = Kafka(settings.kafka_bootstrap, settings.kafka_security()), topic_prefix(settings.source)
    after = start if isinstance(start, datetime) else None
    begin = beginning(settings.clock, start) if isinstance(start, datetime) else start or "latest"
    show = to_json if as_json else to_text
    with suppress(KeyboardInterrupt), closing(TopicReader(kafka, prefix, begin, group)) as reader:
        click.echo(
            f"{settings.source.upper()} reading {prefix}* at {kafka.bootstrap}"
            + (f" as the group {group}" if group else ""),
            err=True,
        )
        alarm = Alarm(Notifier(urls).tell) if alert else None
        watch = Watch(reader, settings.source, settings.clock, lambda: datetime.now(UTC), after, alarm)
        for event in watch.events(count, once):
            if isinstance(event, str):
                click.echo(event, err=True)
            else:
                click.echo(show(event))


def beginning(clock: MarketClock, start: datetime) -> Start:
    """Where to begin reading for the messages of a market time on."""
    # A replay that was started again has another clock than the messages that were sent before.
    return "earliest" if clock.replay_from else clock.wall_at(start)


class Watch:
    """Reads messages, names the intervals, and keeps the position.

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
        self._reader, self._source, self._clock, self._wall, self._after = reader, source, clock, wall, after
        now = clock.at(wall())
        through = datetime.fromisoformat(reader.note) if reader.note else None
        if through is not None and through > now:
            through = None  # of a replay that was further on than this one
        self._gathered = Leaders(source, through)
        self._late = 0  # messages that were said to be late
        self._owed = False  # whether something was said after the position was kept
        self._listening = Listening(source, clock, now, alarm)

    def events(self, count: int | None = None, once: bool = False) -> Iterator[Leader | str]:
        """Each interval as it can be named, and lines of text about what is wrong.

        The position is kept after each interval has been taken: who is killed in between says it again. Ends after
        `count` intervals, revisions not counted, or when `once` and all is read. Raises BrokerError where it ends.
        """
        told, away, ending = 0, False, False
        while not ending:
            try:
                records = self._reader.records(POLL_SECONDS)
                now = self._clock.at(self._wall())
                yield from self._taken(records, now)
                if self._reader.at_end():
                    for leader in self._named(now):
                        yield leader
                        self._owed = True
                        # Revisions come before new intervals: a position in between would leave some of them unsaid.
                        if not leader.revised:
                            told += 1
                            ending = told == count
                            self._keep()
                        if ending:
                            break
                    if self._gathered.late > self._late:
                        yield self._line(
                            f"{self._gathered.late - self._late} messages came after their interval was named"
                        )
                        self._late, self._owed = self._gathered.late, True
                    ending = ending or once
                    if self._owed:
                        self._keep()
                away = False
            except BrokerError as error:
                if once or ending:
                    raise
                if not away:
                    yield self._line(f"{error}; trying again")
                away = True
            yield from self._listening.said(self._gathered.newest, self._wall())

    def _named(self, now: datetime) -> Iterator[Leader]:
        tickers = {ticker_of(self._source, topic) for topic in self._reader.topics}
        return self._gathered.named(now, tickers, self._clock.speed)

    def _keep(self) -> None:
        through = self._gathered.through
        self._reader.keep(self._gathered.needed(), through.isoformat() if through else "")
        self._owed = False

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
        notes.append(f"silent: {first_of([one_line(ticker) for ticker in leader.silent], MOST_SHOWN)}")
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
