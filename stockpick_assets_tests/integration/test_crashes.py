"""A few rounds of bench/crash_rounds.py: one process killed with SIGKILL in each, on a broker of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockpick_assets import services as local
from stockpick_assets.services.kafka import Kafka as Broker
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets_tests.crashes import Rounds, kill_broker, plan, prepare_processes
from stockpick_assets_tests.delivery import delivery, read_topics

# A round of a daemon takes ten seconds: those are the bench's alone.
SHARES = {"relay": 3, "run": 2, "broker": 1}
SEED = 11


@pytest.fixture
def killed(services: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A broker that can be killed, and tables in a folder of the object store."""
    settings = services.model_copy(
        update={
            "home": tmp_path,
            "kafka_bootstrap": f"127.0.0.1:{free_ports(1)[0]}",
            "s3_bucket": f"{services.s3_bucket}/crashes",
        }
    )
    try:
        yield local.start(settings, [Broker()], print)
    finally:
        kill_broker(settings)  # it takes its time to end by itself
        local.stop(settings, [Broker()])


def test_whoever_is_killed_at_whatever_step_a_reader_gets_each_message_once_and_in_order(killed: Settings) -> None:
    prepare_processes()
    rounds = Rounds(killed, SEED)
    for crash in plan(sum(SHARES.values()), SEED, SHARES):
        rounds.play(crash)
    stored = rounds.stored()
    assert {key.minute for key in stored} == set(rounds.round_of) and {key.version for key in stored} == {1, 2}
    found = delivery(stored, read_topics(rounds.kafka, killed.source))
    assert [(problem, key, rounds.round_of[key.minute]) for problem, key in found.wrong()] == []
