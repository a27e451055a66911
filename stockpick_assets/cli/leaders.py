"""`stockpick leaders`: the ticker with the highest probability of profit in every five minutes, read from Kafka."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import click

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.leaders import Leader, Leaders, silence
from stockpick_assets.core.market_hours import NEW_YORK, minute_from_label, minute_label
from stockpick_assets.core.messages import Message, MessageError, one_line, parse_message, ticker_of, topic_prefix
from stockpick_assets.resources.kafka import BrokerError, Kafka
from stockpick_assets.resources.topic_reader import Start, TopicReader
from stockpick_assets.settings import Settings

POLL_SECONDS = 0.5
MOST_SHOWN = 5


class Reader(Protocol):
    """What `watch` needs of a reader of topics; `TopicReader` is one."""

    topics: frozenset[str]

    def poll(self, seconds: float) -> list[bytes]:
        """The messages that come within `seconds`. Raises BrokerError."""
        ...

    def at_end(self) -> bool:
        """Whether every topic has been read to its end. Raises BrokerError."""
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
@click.option("--from", "start", type=_StartType(), default="latest", show_default=True, help="Where to begin reading.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), help="End after that many intervals.")
@click.option("--once", is_flag=True, help="End when every topic has been read to its end.")
def leaders(start: Start, as_json: bool, count: int | None, once: bool) -> None:
    """Name the ticker with the highest p_profit in every five minutes, from the messages of all tickers."""
    settings = Settings.load()
    clock = settings.clock
    begin = clock.wall_at(start) if isinstance(start, datetime) else start
    prefix = topic_prefix(settings.source)
    with (
        suppress(KeyboardInterrupt),
        closing(TopicReader(Kafka(settings.kafka_bootstrap, settings.kafka_security()), prefix, begin)) as reader,
    ):
        click.echo(
            f"{settings.source.upper()} reading {len(reader.topics)} topics {prefix}* at {settings.kafka_bootstrap}",
            err=True,
        )
        after = start if isinstance(start, datetime) else None
        show = to_json if as_json else to_text
        said = watch(reader, settings.source, clock, lambda: datetime.now(UTC), after, once)
        named = 0
        for event in said:
            if isinstance(event, str):
                click.echo(event, err=True)
                continue
            click.echo(show(event))
            named += 1
            if named == count:
                return


def watch(
    reader: Reader,
    source: str,
    clock: MarketClock,
    wall: Callable[[], datetime],
    after: datetime | None,
    once: bool,
) -> Iterator[Leader | str]:
    """Each interval as it can be named, and lines of text about what is wrong. Ends when `once` and all is read.

    after: messages of earlier minutes are passed over.
    """
    gathered = Leaders(source)
    began, quiet, away, late = clock.at(wall()), False, False, 0
    while True:
        try:
            for text in reader.poll(POLL_SECONDS):
                try:
                    message = parse_message(text)
                except MessageError as error:
                    yield f"{source.upper()} passed over: {error}"
                    continue
                if after is None or message.minute >= after:
                    gathered.add(message)
            ended = reader.at_end()
        except BrokerError as error:
            if once:
                raise
            if not away:
                yield f"{source.upper()} {error}; trying again"
            away = True
            continue
        away = False
        now = clock.at(wall())
        if ended:
            yield from gathered.named(now, {ticker_of(source, topic) for topic in reader.topics})
            if once:
                return
        if gathered.late > late:
            yield f"{source.upper()} {gathered.late - late} messages came after their interval was named"
            late = gathered.late
        silent = silence(gathered.newest, began, now, clock.speed)
        if silent is not None and not quiet:
            yield (
                f"{source.upper()} the topics have been silent for {timedelta(seconds=int(silent.total_seconds()))} of "
                f"market time; it is {minute_label(now)} in New York and the market is open"
            )
        quiet = silent is not None


def to_text(leader: Leader) -> str:
    """The interval on one line for a person, New York time; another line for each tie."""
    last = leader.last_minute.astimezone(NEW_YORK)
    head = f"{leader.source.upper()} {minute_label(leader.start)}-{last:%H:%M}"
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
                }
                for message in leader.best
            ],
            "messages": leader.messages,
            "expected": leader.expected,
            "silent": leader.silent,
            "abstain": leader.abstain,
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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"{', '.join(names[:MOST_SHOWN])}{more}"
