"""The object store dies under the relay and comes back: nothing is lost, and nothing comes twice."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stockpick_assets import services as local
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.relay import Relay
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.services.object_store import ObjectStore
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store, StoreError
from stockpick_assets_tests.delivery import delivery, read_topics, stored_messages
from stockpick_assets_tests.picks import TICKERS, minute, pick, table

SOURCE = "storeaway"


@pytest.fixture
def mortal(services: Settings, tmp_path: Path) -> Iterator[Settings]:
    """An object store that can be killed."""
    settings = services.model_copy(update={"home": tmp_path, "s3_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"})
    try:
        yield local.start(settings, [ObjectStore()], print)
    finally:
        kill(settings)  # it waits 10 s to end by itself
        local.stop(settings, [ObjectStore()])


@dataclass(frozen=True)
class StoreThatDies(Store):
    """A store of which something is told each time that it has been read."""

    was_read: Callable[[], None] = lambda: None

    def read(self, *name: str, **ends: Any) -> pa.Table:
        rows = super().read(*name, **ends)
        self.was_read()
        return rows


def kill(settings: Settings) -> None:
    leader = ObjectStore().process(settings).leader()
    assert leader is not None
    leader.kill()
    leader.wait()


def answered(ask: Callable[[], object]) -> None:
    """Ask until the store answers, as ticks do: on a busy machine it listens before it finds its objects again."""
    while True:
        try:
            ask()
        except StoreError:
            continue
        return


@pytest.mark.parametrize("reads", [1, 2])
def test_a_store_that_dies_in_the_middle_of_a_send_costs_no_message(mortal: Settings, reads: int) -> None:
    """After the first read the relay knows what is due, after the second it has it."""
    stored = Store.from_settings(mortal)
    source, kafka = f"{SOURCE}{reads}", Kafka(mortal.kafka_bootstrap)
    left = reads

    def was_read() -> None:
        nonlocal left
        left -= 1
        if not left:
            kill(mortal)

    store = Store(stored.root, source, stored.options)
    dying = StoreThatDies(stored.root, source, stored.options, was_read)
    rows = [pick(minute(number), ticker, source=source) for number in range(3) for ticker in TICKERS]
    store.append("picks", table(rows), {})
    with closing(Relay(source, TICKERS, MarketClock(), kafka.outbox)) as relay:
        relay.send_due(store, minute(1))
        if reads == 1:
            with pytest.raises(StoreError, match=r"could not .* table picks at s3://.*Is the object store up"):
                relay.send_due(dying, minute(2))
        else:
            relay.send_due(dying, minute(2))
        with pytest.raises(StoreError, match=r"Is the object store up \(`stockpick status`\)"):
            relay.send_due(store, minute(3))
        local.start(mortal, [ObjectStore()])
        answered(lambda: relay.send_due(store, minute(3)))
    assert not delivery(stored_messages(store), read_topics(kafka, source))
