"""How far a source's relay has sent its messages, and with that whether Kafka is there.

Read from the committed offset of the relay's group: opening the outbox (kafka.py) would take it from the relay.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from stockpick_assets.core.messages import relay_name
from stockpick_assets.resources.kafka import Kafka, explained

ANSWER_MS = 5000


@dataclass(frozen=True)
class RelayPosition:
    """The position of the relay of a source."""

    kafka: Kafka
    source: str

    def next_minute(self) -> datetime | None:
        """The first minute that has not been sent; None before the first. Raises BrokerError after 10 s at most."""
        group = relay_name(self.source)
        # Not a reader of committed messages (Kafka.consumer): that one waits for a transaction that a dead relay left
        # open, up to 30 s, for the position that it would commit.
        with (
            explained(self.kafka.bootstrap, "asking how far the relay has come"),
            closing(KafkaConsumer(**self.kafka.client(), group_id=group, enable_auto_commit=False)) as reader,
        ):
            offset: int | None = reader.committed(TopicPartition(group, 0), timeout_ms=ANSWER_MS)
        return None if offset is None else datetime.fromtimestamp(offset * 60, UTC)
