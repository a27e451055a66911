"""When the window sensor asks for a reload, on a real ephemeral instance."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import sessions_until
from stockpick_assets.partitions import Window
from stockpick_assets.resources.code_server import CannotReload, CodeServer, NotReloaded
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.window import window_sensor
from stockpick_assets.services.process import free_ports
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW

OLD, NEW = Window(tuple(sessions_until(SESSION.date, 3)[:2]), TICKERS), Window((SESSION,), TICKERS)
EVENING = SESSION.close + timedelta(minutes=30)


@dataclass(frozen=True)
class AskedServer(CodeServer):
    """A code server that notes how often it was asked."""

    asked: list[None] = field(default_factory=list)
    answer: NotReloaded | None = None

    def reload(self) -> None:
        self.asked.append(None)
        if self.answer:
            raise self.answer


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(
    instance: dg.DagsterInstance,
    market: datetime = EVENING,
    loaded: Window = OLD,
    given: Window = NEW,
    answer: NotReloaded | None = None,
) -> tuple[str | None, int]:
    """What the sensor says, and how often it asked for a reload."""
    server = AskedServer("127.0.0.1:1", answer=answer)
    resources = {"now": Now(MarketClock(), lambda: market), "code_server": server}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        answer = window_sensor(replace(FLOW, window=loaded), lambda _: given)(context)
    assert isinstance(answer, dg.SkipReason)
    return answer.skip_message, len(server.asked)


def test_the_window_rolls_when_the_session_is_over(instance: dg.DagsterInstance) -> None:
    assert tick(instance) == (f"The window was {OLD} and is {NEW}.", 1)


def test_a_window_that_is_as_the_settings_say_stays(instance: dg.DagsterInstance) -> None:
    assert tick(instance, loaded=NEW) == (f"The window is the one the settings give: {NEW}.", 0)


def test_the_window_rolls_when_only_its_tickers_are_others(instance: dg.DagsterInstance) -> None:
    given = Window(OLD.sessions, (*TICKERS, "ZS"))
    assert tick(instance, given=given) == (f"The window was {OLD} and is {given}.", 1)


@pytest.mark.parametrize(
    "market",
    [SESSION.open - timedelta(minutes=30), SESSION.open, SESSION.last_minute, EVENING - timedelta(seconds=1)],
    ids=["before the opening", "at the opening", "in the last minute", "after the close"],
)
def test_it_stays_around_a_session(instance: dg.DagsterInstance, market: datetime) -> None:
    assert tick(instance, market) == (f"The window becomes {NEW} when the session is over.", 0)


def test_it_stays_while_a_run_is_at_work(instance: dg.DagsterInstance) -> None:
    @dg.job
    def nothing() -> None:
        pass

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    assert tick(instance) == (f"The window becomes {NEW} after 1 runs and 0 backfills at work.", 0)
    instance.report_run_failed(run)
    assert tick(instance)[1] == 1


@pytest.mark.parametrize("status", list(BulkActionStatus))
def test_it_stays_while_a_backfill_is_at_work(instance: dg.DagsterInstance, status: BulkActionStatus) -> None:
    at_work = status in (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)
    instance.add_backfill(
        PartitionBackfill(
            backfill_id="one",
            partition_set_origin=None,
            status=status,
            from_failure=False,
            tags={},
            backfill_timestamp=datetime(2026, 11, 20, tzinfo=UTC).timestamp(),
        )
    )
    assert tick(instance)[1] == (0 if at_work else 1)


def test_of_a_server_that_cannot_reload_it_says_so_each_time_and_fails_of_one_that_did_not(
    instance: dg.DagsterInstance,
) -> None:
    said = f"The window is {OLD} and {NEW} is due: restart it."
    assert tick(instance, answer=CannotReload("restart it")) == (said, 1)
    with pytest.raises(NotReloaded, match="its own log says more"):
        tick(instance, answer=NotReloaded("its own log says more"))


def test_a_server_that_is_not_there_is_named() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NotReloaded, match=f"the code server at 127.0.0.1:{port} did not reload"):
        CodeServer(f"127.0.0.1:{port}").reload()
