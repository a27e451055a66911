"""What the live sensor asks for, on a real ephemeral instance and a local folder."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import MINUTE, session_before
from stockpick_assets.core.universe import Universe
from stockpick_assets.jobs import LIVE
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.live import live_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.rows import SESSION, scores

TICKERS = ("AAPL", "MSFT")
FLOW = Flow(
    source="simulated",
    window=Window((session_before(SESSION), SESSION), TICKERS),
    links=Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated"),
    bar_delay=timedelta(seconds=2),
    cost_bp=2.0,
    seed=7,
    universe=Universe(fixed=TICKERS),
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def tick(instance: dg.DagsterInstance, store: Store, at: datetime, flow: Flow = FLOW) -> dg.RunRequest | dg.SkipReason:
    resources = {
        "tables": Tables(s3=S3Resource(), bucket="", source="simulated", root=store.root),
        "now": Now(MarketClock(), lambda: at),
    }
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        answer = live_sensor(flow)(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def tick_in_time(instance: dg.DagsterInstance, store: Store, at: datetime) -> tuple[object, datetime]:
    """What the sensor answers to a tick at `at`, and when, where waiting is what makes time pass."""
    clock = [at]

    def sleep(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    resources = {
        "tables": Tables(s3=S3Resource(), bucket="", source="simulated", root=store.root),
        "now": Now(MarketClock(), lambda: clock[0], sleep),
    }
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        return live_sensor(FLOW)(context), clock[0]


def asked(request: dg.RunRequest | dg.SkipReason) -> tuple[str, str]:
    assert isinstance(request, dg.RunRequest)
    return request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"]


def test_all_minutes_that_are_late_are_one_request_for_every_ticker(instance: dg.DagsterInstance, store: Store) -> None:
    store.append("scores", scores(2, tickers=TICKERS), {})
    request = tick(instance, store, SESSION.open + timedelta(minutes=5, seconds=3))
    assert asked(request) == ("2026-11-20 09:32|AAPL", "2026-11-20 09:34|MSFT")


def test_on_an_empty_store_the_session_is_asked_for_from_its_open(instance: dg.DagsterInstance, store: Store) -> None:
    request = tick(instance, store, SESSION.open + timedelta(minutes=2, seconds=3))
    assert asked(request) == ("2026-11-20 09:30|AAPL", "2026-11-20 09:31|MSFT")


def test_the_tick_before_a_close_waits_for_it_and_asks_at_once(instance: dg.DagsterInstance, store: Store) -> None:
    store.append("scores", scores(2, tickers=TICKERS), {})
    closed = SESSION.open + timedelta(minutes=3, seconds=2)
    request, answered_at = tick_in_time(instance, store, closed - timedelta(seconds=4.2))
    assert isinstance(request, dg.RunRequest)
    assert asked(request) == ("2026-11-20 09:32|AAPL", "2026-11-20 09:32|MSFT")
    assert answered_at == closed


def test_a_tick_long_before_a_close_does_not_wait(instance: dg.DagsterInstance, store: Store) -> None:
    store.append("scores", scores(2, tickers=TICKERS), {})
    at = SESSION.open + timedelta(minutes=2, seconds=30)
    answer, answered_at = tick_in_time(instance, store, at)
    assert isinstance(answer, dg.SkipReason)
    assert answered_at == at


def test_nothing_is_asked_for_when_every_closed_minute_is_answered(instance: dg.DagsterInstance, store: Store) -> None:
    store.append("scores", scores(2, tickers=TICKERS), {})
    answer = tick(instance, store, SESSION.open + timedelta(minutes=2, seconds=30))
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    assert "Every closed minute of 2026-11-20 is answered" in answer.skip_message


def test_a_session_is_not_asked_for_again_because_a_later_one_of_the_window_has_a_further_ticker(
    instance: dg.DagsterInstance, store: Store
) -> None:
    store.append("scores", scores(390, tickers=TICKERS), {})
    further = replace(FLOW, window=Window(FLOW.window.sessions, (*TICKERS, "NVDA")))
    assert isinstance(tick(instance, store, SESSION.close + MINUTE, further), dg.SkipReason)


def test_a_row_of_a_ticker_that_is_not_of_the_session_stands_for_no_other(
    instance: dg.DagsterInstance, store: Store
) -> None:
    store.append("scores", scores(1, tickers=("AAPL", "NVDA")), {})
    request = tick(instance, store, SESSION.open + timedelta(minutes=1, seconds=3))
    assert asked(request) == ("2026-11-20 09:30|AAPL", "2026-11-20 09:30|MSFT")


def test_before_the_first_session_of_the_window_the_market_is_closed(
    instance: dg.DagsterInstance, store: Store
) -> None:
    answer = tick(instance, store, FLOW.window.sessions[0].open - MINUTE)
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    assert "The market is closed" in answer.skip_message


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_there_are_never_two_live_runs_at_once(
    instance: dg.DagsterInstance, store: Store, status: dg.DagsterRunStatus
) -> None:
    instance.add_run(dg.DagsterRun(job_name=LIVE, status=status))
    answer = tick(instance, store, SESSION.open + timedelta(minutes=2))
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    assert "is still at work" in answer.skip_message
