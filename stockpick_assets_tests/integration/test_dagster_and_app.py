"""Dagster and the app as `stockpick up` starts them, beside the services that run already."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from stockpick_assets import services as local
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.services.dagster import answer
from stockpick_assets.services.process import free_ports, port_is_free
from stockpick_assets.services.status import read_status
from stockpick_assets.settings import Settings

ABOVE = [service for service in local.ALL if service not in local.DATA]
# No other test relays this session: a relay's position goes by the session that is replayed.
SESSION = session_on(date(2026, 11, 18))
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""
TICKS = """{ sensorsOrError(repositorySelector: {repositoryLocationName: "stockpick",
    repositoryName: "__repository__"}) { ... on Sensors { results { name sensorState {
    ticks(limit: 1) { status timestamp skipReason error { causes { message } } } } } } } }"""


@pytest.fixture(scope="module")
def stack(services: Settings) -> Iterator[Settings]:
    """Settings of all that `stockpick up` starts, with a session of three tickers that is played; at the end no port
    stays behind."""
    code, web, app = free_ports(3)
    settings = services.model_copy(
        update={
            "dagster_code_server": f"127.0.0.1:{code}",
            "dagster_url": f"http://127.0.0.1:{web}",
            "app_url": f"http://127.0.0.1:{app}",
            "s3_bucket": "stack",
            "tickers": ("AAPL", "AMD", "NVDA"),
            "sessions": 1,
            "last_session": SESSION.date,
            "replay_started_at": datetime.now(UTC),
            "replay_from": SESSION.open + MINUTE,
        }
    )
    try:
        yield local.start(settings, local.ALL, print)
    finally:
        local.stop(settings, ABOVE, print)
    assert [service.name for service in local.running(settings)] == [service.name for service in local.DATA]
    assert all(port_is_free(port) for port in (code, web, app))


def test_dagster_and_the_app_answer_and_load_the_definitions(stack: Settings) -> None:
    status = read_status(stack)
    assert {service.name: service.healthy for service in status.services} == dict.fromkeys(
        (service.name for service in local.ALL), True
    )
    assert status.message_problem is None
    assert [table.problem for table in status.tables] == [None] * len(status.tables)
    (location,) = answer(f"{stack.dagster_url}/graphql", {"query": LOCATIONS})["data"]["workspaceOrError"][
        "locationEntries"
    ]
    assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation", location
    local.check(stack)


def test_without_the_store_the_sensors_fail_in_words_everything_stays_up_and_goes_on_once_it_is_back(
    stack: Settings,
) -> None:
    pids = {service.name: service.process(stack).leader().pid for service in local.ALL}
    store = local.DATA[0].process(stack).leader()
    store.kill()
    store.wait()
    killed = time.time()
    try:
        with pytest.raises(local.ServiceDied, match="a service died: object store"):
            local.check(stack)
        for name in ("live", "relay"):
            failed = wait_for(lambda name=name: tick(stack, name, "FAILURE", killed), f"{name} failed")
            assert "Is the object store up (`stockpick status`)" in failed["error"]["causes"][0]["message"]
        alerting = wait_for(
            lambda: telling(stack, "The tables are not read or written since", killed), "alerts said so"
        )
        assert "Is the object store up (`stockpick status`)" in alerting["skipReason"]
        for table in read_status(stack).tables:
            assert table.problem == "the object store does not answer"
        for service in local.ALL[1:]:
            assert service.process(stack).leader().pid == pids[service.name], service.name
            assert service.healthy(stack), service.name
    finally:
        local.start(stack, local.ALL)  # the tests after this one have the same store
    restored = time.time()
    for name in ("live", "relay", "alerts"):
        wait_for(lambda name=name: tick(stack, name, ("SKIPPED", "SUCCESS"), restored), f"{name} succeeded")


def tick(stack: Settings, name: str, statuses: str | tuple[str, ...], since: float) -> Mapping[str, Any] | None:
    """The newest tick of a sensor, if it has one of the statuses and began after `since`."""
    asked = answer(f"{stack.dagster_url}/graphql", {"query": TICKS})
    for sensor in asked["data"]["sensorsOrError"]["results"] if asked else ():
        for newest in sensor["sensorState"]["ticks"]:
            if sensor["name"] == name and newest["status"] in statuses and newest["timestamp"] > since:
                return newest
    return None


def telling(stack: Settings, words: str, since: float) -> Mapping[str, Any] | None:
    """The newest tick of the sensor `alerts`, if it began after `since` and says these words."""
    newest = tick(stack, "alerts", "SKIPPED", since)
    return newest if newest and words in (newest["skipReason"] or "") else None


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition is, once it is something."""
    end = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < end, f"not within 120 s: {what}"
        time.sleep(0.2)
    return found
