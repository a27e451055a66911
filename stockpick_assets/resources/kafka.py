"""Kafka: an outbox that sends batches once, and the reader of all topics of a kind.

An outbox keeps its position inside the transaction of the messages it stands for. Whoever opens it next, in whatever
process, after whatever crash, ends or aborts the transaction that was open and reads the position that was committed.
What does not belong here: what the messages are, or which of them are due.
"""

import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    InvalidProducerEpochError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    ProducerFencedError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.structs import OffsetAndMetadata, TopicPartition

from stockpick_assets.core.errors import StockpickError

BOOTSTRAP_SECONDS = 5.0
# Of a tick of Dagster's, which is killed after 60 s: an outbox is opened, its topics are made, a transaction is begun.
OPEN_SECONDS = 15.0
PREPARE_SECONDS = 15.0
TRANSACTION_SECONDS = 25.0
# A reader of committed messages waits for an abandoned transaction until the outbox is opened again, or this long.
TRANSACTION_TIMEOUT_SECONDS = 30.0
_BY_DEFAULT = -1  # of the broker
Answer = TypeVar("Answer")


class BrokerError(StockpickError):
    """Kafka did not answer or refused; nothing is known to have been sent."""


class OutboxTaken(BrokerError):
    """Another process opened the same outbox; what this one had not committed is aborted."""


class Outgoing(NamedTuple):
    """A message on its way."""

    topic: str
    key: str
    text: str


class Position(NamedTuple):
    """How far an outbox has come: a number that only its user gives a meaning, and a note beside it."""

    number: int
    note: str


@dataclass(frozen=True)
class NewTopic:
    """How topics are made: how many partitions and replicas each has, and how many hours a message stays.

    None leaves it to the broker. A topic that is there stays as it is.
    """

    partitions: int | None = None
    replication: int | None = None
    retention_hours: int | None = None

    def options(self) -> dict[str, Any]:
        """The same in kafka-python's words."""
        configs = {} if self.retention_hours is None else {"retention.ms": str(self.retention_hours * 3_600_000)}
        return {
            "num_partitions": self.partitions or _BY_DEFAULT,
            "replication_factor": self.replication or _BY_DEFAULT,
            "configs": configs,
        }


@dataclass(frozen=True)
class Kafka:
    """A Kafka cluster. bootstrap: `host:port`, several separated by commas. security: kafka-python's own settings.

    new_topic: how the topics of messages are made.
    """

    bootstrap: str
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)  # with the password
    new_topic: NewTopic = NewTopic()

    def outbox(self, name: str) -> "Outbox":
        """Open the outbox of that name, taking it from whoever has it. Raises BrokerError."""
        return Outbox(self, name)

    def consumer(self, **settings: Any) -> KafkaConsumer:
        """A consumer that sees committed messages only. Raises BrokerError when no broker lets it in."""
        with explained(self.bootstrap, "connecting"):
            return KafkaConsumer(
                **self.client(), isolation_level="read_committed", enable_auto_commit=False, **settings
            )

    def client(self) -> dict[str, Any]:
        """The settings that every client of the cluster needs."""
        servers = self.bootstrap.split(",")
        return {"bootstrap_servers": servers, "bootstrap_timeout_ms": BOOTSTRAP_SECONDS * 1000, **self.security}


class Outbox:
    """Sends batches of messages, each together with the position it reaches, in one transaction.

    Of several outboxes of one name only the one opened last can send. After an error an outbox is closed for good:
    whether its last transaction was committed is for the next one to find out. Not for use by several threads.
    """

    def __init__(self, kafka: Kafka, name: str) -> None:
        self._kafka = kafka
        self._name = name
        self._topics: set[str] = set()  # that exist, and whose partitions the producer knows
        self._producer: KafkaProducer | None = None
        self._position = self._within(OPEN_SECONDS, "opening the outbox", self._open)

    @property
    def position(self) -> Position | None:
        """The position that was committed last; None before the first."""
        return self._position

    def prepare(self, topics: Collection[str]) -> None:
        """Make the topics that are missing, so that no message waits for its own. Raises BrokerError."""
        new = dict.fromkeys(topics, self._kafka.new_topic)
        self._within(PREPARE_SECONDS, f"making {len(new)} topics", lambda: self._prepare(new))

    def send(self, messages: Iterable[Outgoing], position: Position) -> None:
        """Commit the messages and the position together, or neither. Raises BrokerError, OutboxTaken."""
        batch = list(messages)

        def transaction() -> None:
            self._prepare(dict.fromkeys((message.topic for message in batch), self._kafka.new_topic))
            self._commit(batch, position)

        self._within(TRANSACTION_SECONDS, f"sending {len(batch)} messages", transaction)
        self._position = position

    def close(self) -> None:
        """Give up the connection; an open transaction is left to the next outbox of the name."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            # KafkaProducer.close first waits for what it has not sent, and stays open when that takes too long.
            producer._sender.force_close()  # pyright: ignore[reportAttributeAccessIssue]
            with suppress(KafkaError):
                producer.close(timeout=1)

    def _open(self) -> Position | None:
        self._producer = KafkaProducer(
            **self._kafka.client(),
            transactional_id=self._name,
            transaction_timeout_ms=int(TRANSACTION_TIMEOUT_SECONDS * 1000),
            allow_auto_create_topics=False,
            request_timeout_ms=10000,
            delivery_timeout_ms=20000,
            max_block_ms=10000,
            # A transaction ends with a flush, which waits for nothing: until then whole batches are filled, or two
            # threads share the interpreter to send a few messages each.
            linger_ms=1000,
            batch_size=65536,
            metrics_enabled=False,
        )
        # Before the position is read: this is what ends the transaction of an earlier process.
        self._producer.init_transactions()
        # It holds nothing, whatever the topics of messages are like.
        self._prepare({self._name: replace(self._kafka.new_topic, partitions=1, retention_hours=None)})
        with closing(self._kafka.consumer(group_id=self._name)) as reader:
            committed = reader.committed(self._place, metadata=True, timeout_ms=5000)
        return Position(committed.offset, committed.metadata) if committed else None

    @property
    def _place(self) -> TopicPartition:
        # The position is the committed offset of a topic that holds nothing: Kafka takes offsets of real topics only.
        return TopicPartition(self._name, 0)

    def _prepare(self, topics: Mapping[str, NewTopic]) -> None:
        unknown = topics.keys() - self._topics
        if not unknown:
            return
        with closing(self._admin()) as admin:
            missing = {name: topics[name].options() for name in sorted(unknown - set(admin.list_topics()))}
            answers: Any = ()
            if missing:
                answers = admin.create_topics(missing, raise_errors=False)["topics"]  # pyright: ignore[reportCallIssue]
        for answer in answers:
            error = for_code(answer["error_code"])
            if error not in (NoError, TopicAlreadyExistsError):
                raise error(f"topic {answer['name']}: {answer['error_message']}")
        # All at once: KafkaProducer waits 100 ms for each new topic, 10.8 s for 101 one after the other.
        with ThreadPoolExecutor(len(unknown)) as threads:
            list(threads.map(self._connected.partitions_for, unknown))
        self._topics |= unknown

    def _commit(self, batch: Sequence[Outgoing], position: Position) -> None:
        producer = self._connected
        producer.begin_transaction()
        sent = [
            producer.send(message.topic, key=message.key.encode(), value=message.text.encode()) for message in batch
        ]
        producer.flush()
        failed = next((message for message in sent if not message.succeeded()), None)
        if failed is not None:
            raise failed.exception
        offset = OffsetAndMetadata(position.number, position.note, -1)
        producer.send_offsets_to_transaction({self._place: offset}, self._name)
        producer.commit_transaction()

    @property
    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            raise BrokerError(f"the outbox {self._name} was closed after an error; open it again")
        return self._producer

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(**self._kafka.client())

    def _within(self, seconds: float, doing: str, work: Callable[[], Answer]) -> Answer:
        """Do the work in a thread of its own: KafkaProducer waits for ever for a broker that died while it commits."""
        outcome: Future[Answer] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                outcome.set_exception(error)

        Thread(target=run, daemon=True).start()
        try:
            with explained(self._kafka.bootstrap, doing):
                return outcome.result(seconds)
        except BaseException:
            self.close()
            raise


# Of an error of kafka-python, which may hold all it knows of every topic: 37,000 characters of a hundred.
_LONGEST_CAUSE = 200


@contextmanager
def explained(bootstrap: str, doing: str) -> Iterator[None]:
    """Kafka's errors in words that say what to do."""
    try:
        yield
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise BrokerError(
            f"Kafka at {bootstrap} refused {doing}: {error}. Check its user, password and ACLs"
        ) from error
    except (KafkaTimeoutError, KafkaConnectionError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka at {bootstrap} did not answer while {doing} ({str(error) or 'time is up'}). Is it up (`stockpick "
            "status`)? A wrong user or password looks the same"
        ) from error
    except KafkaError as error:
        # By their names: the producer wraps the cause of its state in the text of another error.
        if any(kind.__name__ in str(error) for kind in (ProducerFencedError, InvalidProducerEpochError)):
            raise OutboxTaken(
                f"another process took over the outbox at Kafka {bootstrap} while {doing}, and sends from the position "
                "that was committed; of two relays of one source, stop one"
            ) from error
        cause = textwrap.shorten(str(error), _LONGEST_CAUSE, placeholder=" …")
        raise BrokerError(f"Kafka at {bootstrap} failed while {doing}: {cause}") from error
