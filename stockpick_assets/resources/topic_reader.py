"""Reads every topic whose name begins alike, those that are made later included.

What does not belong here: what the messages mean, or when one is due.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Literal, NamedTuple

from kafka import KafkaAdminClient
from kafka.structs import OffsetAndMetadata, TopicPartition

from stockpick_assets.resources.kafka import Kafka, explained

REFRESH_SECONDS = 3.0
ANSWER_MS = 5000
Start = Literal["earliest", "latest"] | datetime


class Record(NamedTuple):
    """A message and where it stands. again: whether it had been returned before the position was kept last."""

    text: bytes
    partition: TopicPartition
    offset: int
    again: bool = False


class TopicReader:
    """A consumer of committed messages of all topics with the prefix, whoever else reads them.

    start: where to begin in the topics that are there; an instant is the wall time a message was sent at. Topics that
    appear later are read from their first message. group: where the position is kept; a group that has one is gone on
    with, whatever the start. Without a group it leaves no trace. Raises BrokerError when no broker lets it in.
    """

    def __init__(self, kafka: Kafka, prefix: str, start: Start, group: str | None = None) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._group = group
        self._read: dict[TopicPartition, int] = {}  # the offsets that were reached when the position was kept last
        self.note = ""  # what was noted with the position
        # Not subscribe(): the members of a group share the topics out, and of 100 topics that were made at once
        # kafka-python 3.0.12 left some unread for up to 30 s. With assign() all had been read after 0.4 to 3.1 s.
        # After a broker was away a client looks for it every 30 s by default.
        self._consumer = kafka.consumer(
            group_id=group, auto_offset_reset="earliest", reconnect_backoff_max_ms=REFRESH_SECONDS * 1000
        )
        self._start: Start = start
        self._refresh()
        self._start = "earliest"

    @property
    def topics(self) -> frozenset[str]:
        """The topics that it reads now."""
        return frozenset(place.topic for place in self._consumer.assignment())

    def poll(self, seconds: float) -> list[bytes]:
        """The messages that come within `seconds`, in order within each topic. Raises BrokerError."""
        return [record.text for record in self.records(seconds)]

    def records(self, seconds: float) -> list[Record]:
        """What `poll` returns, with where each stands. Raises BrokerError."""
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._refresh()
        if not self._consumer.assignment():
            time.sleep(seconds)
            return []
        with explained(self._kafka.bootstrap, "reading"):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=5000)
        # A record may have no value; none of ours is such a one.
        return [
            Record(each.value or b"", place, each.offset, each.offset < self._read.get(place, 0))
            for place, records in polled.items()
            for each in records
        ]

    def at_end(self) -> bool:
        """Whether every topic has been read to the last committed message it has now. Raises BrokerError."""
        with explained(self._kafka.bootstrap, "asking for the ends of the topics"):
            ends: dict[TopicPartition, int] = self._consumer.end_offsets(
                list(self._consumer.assignment()),
                timeout_ms=ANSWER_MS,  # pyright: ignore[reportCallIssue]
            )
            return all(self._reached(place) >= end for place, end in ends.items())

    def keep(self, needed: Mapping[TopicPartition, int], note: str) -> None:
        """Commit the position to the group, in one request; nothing without a group. Raises BrokerError.

        needed: for each partition the offset to begin with after a restart, where that is before what was returned
        last. note: what is to be known then.
        """
        if self._group is None:
            return
        with explained(self._kafka.bootstrap, f"committing the position of the group {self._group}"):
            reached = {place: self._reached(place) for place in self._consumer.assignment()}
            offsets = {
                place: OffsetAndMetadata(needed.get(place, offset), f"{offset} {note}", -1)
                for place, offset in reached.items()
            }
            self._consumer.commit(offsets, timeout_ms=ANSWER_MS)

    def close(self) -> None:
        """Give up the connection."""
        self._consumer.close()

    def _reached(self, place: TopicPartition) -> int:
        offset = self._consumer.position(place, timeout_ms=ANSWER_MS)
        if offset is None:
            raise TimeoutError(f"where to read on in {place.topic} is not known yet")
        return offset

    def _refresh(self) -> None:
        with explained(self._kafka.bootstrap, "listing topics"):
            places = {
                TopicPartition(topic, partition)
                for topic in self._consumer.topics()
                if topic.startswith(self._prefix)
                for partition in self._consumer.partitions_for_topic(topic)
            }
        read = self._consumer.assignment()
        if places != read:
            self._consumer.assign(sorted(places))
            if not read:
                self._begin()
            elif places - read:
                self._consumer.seek_to_beginning(*places - read)
        self._refreshed = time.monotonic()

    def _begin(self) -> None:
        with explained(self._kafka.bootstrap, "finding where to begin"):
            if self._group is not None and self._go_on(self._group):
                return
            self._seek(self._start)
        self.keep({}, "")

    def _go_on(self, group: str) -> bool:
        """Begin where the group was, at the first message of topics that it does not know; whether it was anywhere."""
        # By an admin: a KafkaConsumer asks for one partition at a time.
        with closing(KafkaAdminClient(**self._kafka.client())) as admin:
            answer = admin.list_group_offsets(group)[group]  # pyright: ignore[reportAttributeAccessIssue]
        places = self._consumer.assignment()
        committed = {place: each for place, each in answer.items() if place in places and each.offset >= 0}
        if not committed:
            return False
        self._consumer.seek_to_beginning()
        notes: list[str] = []
        for place, each in committed.items():
            self._consumer.seek(place, each.offset)
            read, _, note = each.metadata.partition(" ")
            if read.isdecimal():  # or another program, such as kafka-consumer-groups.sh, set the position
                self._read[place] = int(read)
                notes.append(note)
        # They differ where two readers of the group know different topics. The least note is of the one that is behind.
        self.note = min(notes, default="")
        return True

    def _seek(self, start: Start) -> None:
        if start == "earliest":
            self._consumer.seek_to_beginning()
        elif start == "latest":
            self._consumer.seek_to_end()
        else:
            instant = int(start.timestamp() * 1000)
            found = self._consumer.offsets_for_times(dict.fromkeys(self._consumer.assignment(), instant))
            for place, offset in found.items():
                if offset is None:
                    self._consumer.seek_to_end(place)
                else:
                    self._consumer.seek(place, offset.offset)
