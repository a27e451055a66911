"""An outbox in memory with Kafka's rules: a batch and its position are committed together, the last opener wins."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from stockpick_assets.resources.kafka import BrokerError, OutboxTaken, Outgoing, Position


@dataclass
class FakeBroker:
    """What readers of committed messages see, and whether the next transaction fails before or after its commit."""

    committed: list[Outgoing] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)
    opened: int = 0
    fails: str = ""

    def connect(self, name: str) -> "FakeOutbox":
        """Open the outbox of that name."""
        if self.fails == "to open":
            raise BrokerError("no broker")
        self.opened += 1
        return FakeOutbox(self, name, self.opened)


@dataclass
class FakeOutbox:
    """One opening of an outbox."""

    broker: FakeBroker
    name: str
    opening: int
    closed: bool = False

    @property
    def position(self) -> Position | None:
        """The committed position."""
        return self.broker.positions.get(self.name)

    def prepare(self, topics: Collection[str]) -> None:
        """Make the topics."""
        self.broker.topics |= set(topics)

    def send(self, messages: Sequence[Outgoing], position: Position) -> None:
        """Commit, or fail as the broker was told to."""
        assert not self.closed
        if self.opening != self.broker.opened:
            raise OutboxTaken("another relay")
        if self.broker.fails == "before the commit":
            raise BrokerError("died before the commit")
        self.broker.committed += messages
        self.broker.positions[self.name] = position
        if self.broker.fails == "after the commit":
            raise BrokerError("died after the commit")

    def close(self) -> None:
        """Nothing can be sent any more."""
        self.closed = True
