"""Reads every topic whose name begins alike as a member of a consumer group, whose position outlives the member.

Of the members of a group one reads all topics and the others stand by: what is compared across topics cannot be split.
What does not belong here: what the messages mean, or which of them may be forgotten.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaAdminClient
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.errors import CommitFailedError, RebalanceInProgressError
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from kafka.structs import OffsetAndMetadata, TopicPartition

from stockpick_assets.resources.kafka import Kafka, explained
from stockpick_assets.resources.topic_reader import ANSWER_MS, MOST_RECORDS, REFRESH_SECONDS, Record, read_to_end

# After a member was killed the next one waits this long; brokers take 6 s and more by default.
SESSION_SECONDS = 10.0
_STANDBY = b"standby"


class GroupReader:
    """A member of the group that reads all topics with the prefix, or stands by until the one that does has ended.

    A group without a position begins with what comes after it; a topic that appears later is read from its first
    message. What was read and may be needed again is read again after a restart, marked as such. Raises BrokerError
    when no broker lets it in.
    """

    def __init__(self, kafka: Kafka, prefix: str, group: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self.group = group
        self._sharing = _OneMember()
        self._membership = _Membership()
        self._read: dict[TopicPartition, int] = {}  # offsets that had been reached when the position was committed
        self.turn = 0  # how often it took the topics over
        self.note = ""  # what was noted with the position it took over
        self._consumer = kafka.consumer(
            group_id=group,
            auto_offset_reset="earliest",
            metadata_max_age_ms=int(REFRESH_SECONDS * 1000),
            session_timeout_ms=int(SESSION_SECONDS * 1000),
            partition_assignment_strategy=[self._sharing],
        )
        self._consumer.subscribe(pattern=f"^{re.escape(prefix)}", listener=self._membership)

    @property
    def topics(self) -> frozenset[str]:
        """The topics that it reads now."""
        return frozenset(place.topic for place in self._consumer.assignment())

    @property
    def standby(self) -> bool:
        """Whether another member reads the topics."""
        return self._sharing.standby is True

    def records(self, seconds: float) -> list[Record]:
        """The messages that come within `seconds`, in order within each topic. Raises BrokerError."""
        with explained(self._kafka.bootstrap, "reading"):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=MOST_RECORDS)
            if self._consumer.assignment() and not self._membership.holds:
                self._take_over()
                return []
        return [
            Record(each.value, place, each.offset, each.offset < self._read.get(place, 0))
            for place, records in polled.items()
            for each in records
        ]

    def at_end(self) -> bool:
        """Whether it reads the topics, and each to the last committed message it has now. Raises BrokerError."""
        if self._sharing.standby is not False:
            return False
        with explained(self._kafka.bootstrap, "asking for the ends of the topics"):
            return read_to_end(self._consumer)

    def keep(self, needed: Mapping[TopicPartition, int], note: str) -> bool:
        """Commit the position: what was returned has been dealt with, but for what is at `needed` and after it.

        note: what the next member is to know. False when the group is about to share out its topics anew: try again
        after the next `records`. Raises BrokerError.
        """
        with explained(self._kafka.bootstrap, f"committing the position of {self.group}"):
            offsets: dict[TopicPartition, OffsetAndMetadata] = {}
            for place in self._consumer.assignment():
                reached = self._consumer.position(place, timeout_ms=ANSWER_MS)
                if reached is not None:
                    read = max(reached, self._read.get(place, 0))
                    offsets[place] = OffsetAndMetadata(needed.get(place, reached), f"{read} {note}", -1)
            try:
                self._consumer.commit(offsets, timeout_ms=ANSWER_MS)
            except (CommitFailedError, RebalanceInProgressError):
                return False
            return True

    def close(self) -> None:
        """Leave the group, and give up the connection."""
        self._consumer.close(autocommit=False, timeout_ms=ANSWER_MS)

    def _take_over(self) -> None:
        # By an admin: of its own group a KafkaConsumer asks for one partition at a time.
        with closing(KafkaAdminClient(**self._kafka.client())) as admin:
            answer = admin.list_group_offsets(self.group)[self.group]  # pyright: ignore[reportAttributeAccessIssue]
        committed = {
            place: each for place, each in answer.items() if place.topic.startswith(self._prefix) and each.offset >= 0
        }
        for place in self._consumer.assignment():
            if place in committed:
                self._consumer.seek(place, committed[place].offset)
            elif committed:
                self._consumer.seek_to_beginning(place)
            else:
                self._consumer.seek_to_end(place)
        noted = {place: each.metadata.partition(" ") for place, each in committed.items()}
        self._read = {place: int(reached) for place, (reached, _, _) in noted.items() if reached}
        self.note = max((note for _, _, note in noted.values()), default="")
        if not committed:
            self.keep({}, self.note)
        self.turn += 1
        self._membership.holds = True


class _Membership(ConsumerRebalanceListener):
    """Whether the topics have been held without a break since they were taken over."""

    def __init__(self) -> None:
        self.holds = False

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.holds = self.holds and bool(assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Before each sharing out; nothing is lost by it."""

    def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self.holds = False


class _OneMember(AbstractPartitionAssignor):
    """Gives all partitions to the member that had them last, at first to any one, and tells the others to stand by."""

    name = "one-member"  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        self.standby: bool | None = None  # None before the group was joined
        self._held = 0  # the newest generation of the group in which this member had the partitions

    def metadata(self, topics: Collection[str]) -> Any:
        return ConsumerProtocolSubscription(0, list(topics), str(self._held).encode())

    def on_assignment(self, assignment: Any, generation: int) -> None:
        self.standby = bytes(assignment.user_data) == _STANDBY
        if not self.standby:
            self._held = generation

    def assign(self, cluster: Any, members: Collection[Any]) -> dict[str, Any]:
        chosen = max(members, key=lambda member: (int(bytes(member.metadata.user_data)), member.member_id))
        topics = [
            (topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in sorted(chosen.metadata.topics)
        ]
        shares = {member.member_id: ConsumerProtocolAssignment(0, [], _STANDBY) for member in members}
        return {**shares, chosen.member_id: ConsumerProtocolAssignment(0, topics, b"")}
