"""The message of a pick: its text, its identity, and the topic it goes to. `docs/messages.md` describes it for readers.

Pure. What does not belong here: which messages are due (relay.py), or how they reach Kafka (resources/kafka.py).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.schemas import PICKS, TIMESTAMP

SCHEMA_VERSION = 3
FIRST_VERSION = 1
TOPIC_PREFIX = "stockpick"
_MINUTE = "%Y-%m-%dT%H:%M:00Z"  # Arrow writes %S of a microsecond stamp with its fraction
_LEGAL_IN_TOPIC = re.compile(r"[A-Z0-9.-]")
_ESCAPED = re.compile(r"(?:_[0-9a-f]{2})+")
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
NUMBERS = (
    "price",
    "change_day",
    "change_5m",
    "pop_window",
    "p_profit",
    "expected_excess_return",
    "expected_obtainable_return",
)
# Since version 1, with what is said of a message that is older.
_ADDED = {
    "expected_obtainable_return": None,
    "version": 1,
    "supersedes": None,
    "data_version": None,
    "produced_at": None,
}


class MessageError(StockpickError):
    """A text that is no message of ours; its cause is in the words."""


@dataclass(frozen=True)
class Message:
    """A pick as a reader of the topics gets it. Meanings and units are those of the table `picks`.

    minute: start of the bar, UTC. rank: 1 is the best of the minute. abstain: why the forecast is not to be relied on,
    or why there is none; null where neither is so. version: of the messages with one id the highest holds. supersedes:
    the version that a correction takes the place of. data_version: of raw_prices. produced_at: wall time, UTC.
    """

    id: str
    version: int
    supersedes: int | None
    source: str
    ticker: str
    minute: datetime
    price: float | None
    change_day: float | None
    change_5m: float | None
    pop_window: float | None
    p_profit: float | None
    expected_excess_return: float | None
    expected_obtainable_return: float | None
    rank: int | None
    abstain: str | None
    model_version: str | None
    data_version: int | None
    produced_at: datetime | None


def topic_name(source: str, ticker: str) -> str:
    """The Kafka topic of a ticker's messages: `stockpick.simulated.AAPL`.

    Kafka takes letters, digits, dot, dash and underscore. What is neither an upper-case letter, a digit, a dot nor a
    dash is written as `_` and two lower-case hexadecimal digits for each of its UTF-8 bytes, so that two tickers never
    share a topic: `^NDX` is `stockpick.yahoo._5eNDX`.
    """
    escaped = (
        character if _LEGAL_IN_TOPIC.fullmatch(character) else "".join(f"_{byte:02x}" for byte in character.encode())
        for character in ticker
    )
    return f"{topic_prefix(source)}{''.join(escaped)}"


def ticker_of(source: str, topic: str) -> str:
    """The ticker whose messages go to the topic; the inverse of `topic_name`."""
    name = topic.removeprefix(topic_prefix(source))
    return _ESCAPED.sub(lambda escape: bytes.fromhex(escape[0].replace("_", "")).decode(), name)


def topic_prefix(source: str) -> str:
    """What the names of all topics of a source's messages begin with, and no other topic's."""
    return f"{TOPIC_PREFIX}.{source}."


def relay_name(source: str) -> str:
    """What the relay's position of a source is kept under: its outbox, consumer group and empty topic."""
    return f"{TOPIC_PREFIX}.relay.{source}"


def message_id(source: str, minute: datetime, ticker: str) -> str:
    """What identifies a message for ever: `simulated/2026-11-23T14:30:00Z/AAPL`."""
    return f"{source}/{minute.astimezone(UTC).strftime(_MINUTE)}/{ticker}"


@dataclass(frozen=True)
class Origin:
    """Where messages come from, the same of all that one run makes.

    versions: of each Delta table that was read for them, by name, raw_prices among them. store: address of the folder
    that has these tables, without credentials. produced_at: wall time.
    """

    versions: Mapping[str, int]
    store: str
    run_id: str
    produced_at: datetime


def with_messages(picks: pa.Table, origin: Origin, made_at: datetime) -> pa.Table:
    """`picks` in the schema PICKS: each with its message, to be published, made at that market time.

    picks: every other column of PICKS. Raises ValueError when a number is NaN or infinite, which JSON cannot say.
    """
    source, ticker, rank, abstain, model = (
        picks[name].to_pylist() for name in ("source", "ticker", "rank", "abstain", "model_version")
    )
    session = pc.strftime(picks["session"], format="%Y-%m-%d").to_pylist()
    minute = pc.strftime(picks["minute"], format=_MINUTE).to_pylist()
    numbers = zip(*(picks[name].to_pylist() for name in NUMBERS), strict=True)
    said_of_all = {
        "data_version": origin.versions["raw_prices"],
        "produced_at": origin.produced_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "store": origin.store,
        "tables": dict(origin.versions),
        "run_id": origin.run_id,
    }
    ids: list[str] = []
    texts: list[str] = []
    for index, values in enumerate(numbers):
        ids.append(f"{source[index]}/{minute[index]}/{ticker[index]}")
        texts.append(
            _encode(
                {
                    "schema_version": SCHEMA_VERSION,
                    "id": ids[-1],
                    "version": FIRST_VERSION,
                    "supersedes": None,
                    "source": source[index],
                    "ticker": ticker[index],
                    "session": session[index],
                    "minute": minute[index],
                    **dict(zip(NUMBERS, values, strict=True)),
                    "rank": rank[index],
                    "abstain": abstain[index],
                    "model_version": model[index],
                    **said_of_all,
                }
            )
        )
    made = {
        "made_at": pa.array([made_at] * len(ids), TIMESTAMP),
        "published": pa.array([True] * len(ids), pa.bool_()),
        "message_id": pa.array(ids, pa.string()),
        "message_version": pa.array([FIRST_VERSION] * len(ids), pa.int32()),
        "message": pa.array(texts, pa.string()),
    }
    columns = [made[name] if name in made else picks[name] for name in PICKS.columns.names]
    return pa.table(columns, schema=PICKS.columns)


def correction(text: str, version: int) -> str:
    """A message as the given version of its id, which takes the place of the one before it."""
    fields: dict[str, Any] = json.loads(text)
    return _encode({**fields, "version": version, "supersedes": version - 1})


def parse_message(text: str | bytes) -> Message:
    """The message that a topic delivered. Raises MessageError when it is none.

    Fields that are not known are left alone: a later schema version only adds some. What an earlier version did not say
    is None.
    """
    try:
        fields: dict[str, Any] = {**_ADDED, **json.loads(text)}
        return Message(
            id=_text(fields["id"]),
            version=int(fields["version"]),
            supersedes=None if fields["supersedes"] is None else int(fields["supersedes"]),
            source=_text(fields["source"]),
            ticker=_text(fields["ticker"]),
            minute=datetime.strptime(fields["minute"], _MINUTE).replace(tzinfo=UTC),
            **{name: _number(fields[name]) for name in NUMBERS},
            rank=None if fields["rank"] is None else int(fields["rank"]),
            abstain=None if fields["abstain"] is None else _text(fields["abstain"]),
            model_version=None if fields["model_version"] is None else _text(fields["model_version"]),
            data_version=None if fields["data_version"] is None else int(fields["data_version"]),
            produced_at=None if fields["produced_at"] is None else datetime.fromisoformat(fields["produced_at"]),
        )
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        why = one_line(f"{type(error).__name__}: {error}", 120)
        raise MessageError(f"no stockpick message ({why}): {one_line(shown, 80)}") from None


def one_line(text: str, longest: int = 40) -> str:
    """Text from outside as a terminal or a chat may show it: printable characters of one line, cut at `longest`."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def first_of(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number of JSON")
    return number
