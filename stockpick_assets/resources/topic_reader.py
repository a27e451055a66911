"""Reads every topic whose name begins alike, those that are made later included.

What does not belong here: what the messages mean, or when one is due; the group whose members share a position
(resources/group_reader.py).
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from kafka.structs import TopicPartition

from stockpick_assets.resources.kafka import Kafka, explained

REFRESH_SECONDS = 3.0
ANSWER_MS = 5000
MOST_RECORDS = 5000
Start = Literal["earliest", "latest"] | datetime


class Record(NamedTuple):
    """A message and where it stands. again: whether it had been read before the position was committed last."""

    text: bytes
    partition: TopicPartition
    offset: int
    again: bool = False


class TopicReader:
    """A consumer of committed messages, without a group: it leaves no trace, and begins where it is told to.

    start: where to begin in the topics that are there; an instant is the wall time a message was sent at. Topics that
    appear later are read from their first message. Raises BrokerError when no broker lets it in.
    """

    def __init__(self, kafka: Kafka, prefix: str, start: Start) -> None:
        self._bootstrap = kafka.bootstrap
        self._prefix = prefix
        self._consumer = kafka.consumer(auto_offset_reset="earliest")
        self._refreshed = 0.0
        self.topics: frozenset[str] = frozenset()
        self.standby, self.turn, self.note = False, 1, ""  # as of a group with one member, and no position
        self._refresh()
        if self.topics:
            with explained(self._bootstrap, "finding where to begin"):
                self._seek(start)

    def poll(self, seconds: float) -> list[bytes]:
        """The messages that come within `seconds`, in order within each topic. Raises BrokerError."""
        return [record.text for record in self.records(seconds)]

    def records(self, seconds: float) -> list[Record]:
        """What `poll` returns, with where each stands. Raises BrokerError."""
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._refresh()
        if not self.topics:
            time.sleep(seconds)
            return []
        with explained(self._bootstrap, "reading"):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=MOST_RECORDS)
        return [Record(each.value, place, each.offset) for place, records in polled.items() for each in records]

    def at_end(self) -> bool:
        """Whether every topic has been read to the last committed message it has now. Raises BrokerError."""
        with explained(self._bootstrap, "asking for the ends of the topics"):
            return read_to_end(self._consumer)

    def keep(self, needed: Mapping[TopicPartition, int], note: str) -> bool:
        """Nothing: where no group is, no position is kept."""
        return True

    def close(self) -> None:
        """Give up the connection."""
        self._consumer.close()

    def _refresh(self) -> None:
        with explained(self._bootstrap, "listing topics"):
            topics = frozenset(topic for topic in self._consumer.topics() if topic.startswith(self._prefix))
            if topics != self.topics:
                self._consumer.assign(
                    [
                        TopicPartition(topic, partition)
                        for topic in sorted(topics)
                        for partition in self._consumer.partitions_for_topic(topic)
                    ]
                )
        self.topics = topics
        self._refreshed = time.monotonic()

    def _seek(self, start: Start) -> None:
        if start == "latest":
            self._consumer.seek_to_end()
        elif isinstance(start, datetime):
            instant = int(start.timestamp() * 1000)
            found = self._consumer.offsets_for_times(dict.fromkeys(self._consumer.assignment(), instant))
            for place, offset in found.items():
                if offset is None:
                    self._consumer.seek_to_end(place)
                else:
                    self._consumer.seek(place, offset.offset)


def read_to_end(consumer: Any) -> bool:
    """Whether a kafka-python consumer has read all that its partitions have now. Raises kafka-python's errors."""
    ends: dict[TopicPartition, int] = consumer.end_offsets(list(consumer.assignment()), timeout_ms=ANSWER_MS)
    return all((consumer.position(place, timeout_ms=ANSWER_MS) or 0) >= end for place, end in ends.items())
