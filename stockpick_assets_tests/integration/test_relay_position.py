"""How far a relay has come, asked of a real Kafka without taking its outbox."""

from contextlib import closing

from stockpick_assets.resources.kafka import Kafka, Outgoing, Position
from stockpick_assets.resources.relay_position import RelayPosition
from stockpick_assets_tests.picks import minute

SOURCE = "asked"
OUTBOX = f"stockpick.relay.{SOURCE}"


def position(index: int) -> Position:
    """Of a relay whose next minute is the session's of that number."""
    return Position(int(minute(index).timestamp()) // 60, "")


def test_a_relay_that_never_sent_has_no_next_minute(kafka: Kafka) -> None:
    assert RelayPosition(kafka, "silent").next_minute() is None


def test_the_position_is_the_committed_one_and_asking_does_not_fence_the_relay(kafka: Kafka) -> None:
    asked = RelayPosition(kafka, SOURCE)
    with closing(kafka.outbox(OUTBOX)) as outbox:
        outbox.send([], position(1))
        assert asked.next_minute() == minute(1)
        outbox.send([Outgoing(f"stockpick.{SOURCE}.AAPL", "AAPL", "{}")], position(2))
        assert asked.next_minute() == minute(2)
