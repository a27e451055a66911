"""What a reader of the topics got of the messages in the table picks: which never came, twice, or out of order.

What does not belong here: how the messages were sent, or what was done to their senders (crashes.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from kafka.structs import TopicPartition

from stockpick_assets.core.messages import parse_message, topic_prefix
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.store import Store


class Key(NamedTuple):
    """Of the messages of a ticker and minute, the one of that version."""

    minute: datetime
    ticker: str
    version: int


@dataclass(frozen=True)
class Delivery:
    """The messages that a reader did not get once, in order, with the text that the table has of them."""

    lost: list[Key] = field(default_factory=list)
    duplicated: list[Key] = field(default_factory=list)
    out_of_order: list[Key] = field(default_factory=list)
    altered: list[Key] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self.wrong())

    def wrong(self) -> Iterator[tuple[str, Key]]:
        """Each of them, with what is wrong."""
        for problem, keys in vars(self).items():
            for key in keys:
                yield problem, key


def delivery(stored: Mapping[Key, str], read: Mapping[str, Sequence[str]]) -> Delivery:
    """What became of the messages `stored`. read: what each topic has, in its order.

    Within a topic first versions come by minute, and a correction after what it corrects.
    """
    found = Delivery()
    times: Counter[Key] = Counter()
    for texts in read.values():
        newest: datetime | None = None
        for text in texts:
            key = key_of(text)
            if key.version == 1:
                if newest is not None and key.minute < newest:
                    found.out_of_order.append(key)
                newest = max(newest or key.minute, key.minute)
            elif not times[key._replace(version=key.version - 1)]:
                found.out_of_order.append(key)
            times[key] += 1
            if stored.get(key) != text:
                found.altered.append(key)
    found.lost.extend(sorted(set(stored) - set(times)))
    found.duplicated.extend(sorted(key for key, count in times.items() if count > 1))
    return found


def key_of(text: str | bytes) -> Key:
    """Which message a text is."""
    message = parse_message(text)
    return Key(message.minute, message.ticker, message.version)


def stored_messages(store: Store) -> dict[Key, str]:
    """The messages that the table picks has to be sent."""
    texts: list[str | None] = store.read_if_written(PICKS.name, ["message"], every_version=True)["message"].to_pylist()
    return {key_of(text): text for text in texts if text is not None}


def read_topics(kafka: Kafka, source: str) -> dict[str, list[str]]:
    """The committed messages of each of the source's topics from first to last, as a consumer without a group."""
    with closing(kafka.consumer(auto_offset_reset="earliest")) as consumer:
        places = [
            TopicPartition(topic, partition)
            for topic in sorted(consumer.topics())
            if topic.startswith(topic_prefix(source))
            for partition in consumer.partitions_for_topic(topic) or ()
        ]
        read: dict[str, list[str]] = {place.topic: [] for place in places}
        if not places:
            return read
        consumer.assign(places)
        ends: dict[Any, int] = consumer.end_offsets(places)
        while any((consumer.position(place) or 0) < end for place, end in ends.items()):
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    read[record.topic].append(record.value.decode())
        return read
