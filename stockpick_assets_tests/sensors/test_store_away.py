"""What every sensor says while the object store does not answer: the daemon shows it, and asks again."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.definitions import build_definitions
from stockpick_assets.relay import Relay
from stockpick_assets.resources.now import Now
from stockpick_assets.settings import Settings
from stockpick_assets.store import StoreError
from stockpick_assets_tests.fake_outbox import FakeBroker
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import fine_instance

NOW = Now(MarketClock(), lambda: SESSION.open + 30 * MINUTE)
# One asks Dagster alone, one the source's calendar, and the third alerts to the tables being away.
GO_ON = {"retention", "window", "alerts"}
AWAY = r"could not open table \w+ at s3://.*: Connection refused.*\. Is the object store up \(`stockpick status`\)"


def test_a_sensor_that_needs_a_table_fails_with_what_to_do_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at one time: each waits some seconds for the store before it gives up."""
    settings = Settings(
        home=tmp_path, s3_endpoint="http://127.0.0.1:1", last_session=SESSION.date, sessions=2, tickers=TICKERS
    )
    for name in ("STOCKPICK_S3_ACCESS_KEY", "STOCKPICK_S3_SECRET_KEY"):
        monkeypatch.setenv(name, "of no use")
    relay = Relay("simulated", TICKERS, NOW.clock, FakeBroker().connect)
    definitions = build_definitions(settings, NOW.wall(), now=NOW, relay=relay)
    repository, resources = definitions.get_repository_def(), definitions.resources or {}

    with fine_instance(tmp_path / "dagster") as instance:

        def problem(sensor: dg.SensorDefinition) -> str:
            needed = {name: resources[name] for name in sensor.required_resource_keys}
            with dg.build_sensor_context(instance, repository_def=repository, resources=needed) as context:
                try:
                    sensor.evaluate_tick(context)
                except StoreError as error:
                    return str(error)
            return ""

        with ThreadPoolExecutor(len(repository.sensor_defs)) as threads:
            problems = dict(zip(repository.sensor_defs, threads.map(problem, repository.sensor_defs), strict=True))
    assert {sensor.name for sensor, words in problems.items() if not words} == GO_ON
    assert [words for words in problems.values() if words and not re.match(AWAY, words)] == []
