"""The latency of a live minute, as a real run leaves it in Dagster's record."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from stockpick_assets.cli.report import as_json, as_text
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.jobs import LIVE
from stockpick_assets.latency import Latency, newest_latencies
from stockpick_assets.services.status import Status
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, fine_instance


class Nothing(dg.IOManager):
    """Keeps nothing and gives 1."""

    def handle_output(self, context: dg.OutputContext, obj: int) -> None: ...

    def load_input(self, context: dg.InputContext) -> int:
        return 1


def live_job() -> dg.JobDefinition:
    """Two assets of the flow that compute nothing."""

    @dg.asset(**FLOW.minutely("raw_prices", description=None, kinds=set()))
    def raw_prices() -> int:
        return 1

    @dg.asset(
        **FLOW.minutely("features", description=None, kinds=set()), ins={"bars": dg.AssetIn(FLOW.key("raw_prices"))}
    )
    def features(bars: int) -> int:
        return bars

    assets = [raw_prices, features]
    jobs = [dg.define_asset_job(LIVE, [asset.key for asset in assets])]
    resources = {"io_manager": Nothing()}
    definitions = dg.Definitions(assets=assets, jobs=jobs, resources=resources, executor=dg.in_process_executor)
    return definitions.resolve_job_def(LIVE)


def test_the_stages_of_a_live_run_are_read_from_its_record(tmp_path: Path) -> None:
    job = live_job()
    closed = datetime.now(UTC) - timedelta(seconds=30)
    clock = MarketClock(closed, SESSION.open + MINUTE)
    with fine_instance(tmp_path / "home") as instance:
        run = instance.create_run_for_job(job, tags=FLOW.window.select(SESSION.open, SESSION.open).tags())
        launch = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_STARTING.value, job_name=LIVE)
        instance.report_dagster_event(launch, run.run_id)
        execute_run(InMemoryJob(job), run, instance)
        (latency,) = newest_latencies(instance, clock, 5)
        assert newest_latencies(instance, clock, 5, since=datetime.now(UTC)) == []
    assert (latency.run_id, latency.minute) == (run.run_id, SESSION.open)
    assert list(latency.step_seconds) == ["raw_prices", "features"]
    assert latency.close_to_launch_seconds >= 30
    assert latency.launch_to_first_step_seconds > 0
    begun = latency.close_to_launch_seconds + latency.launch_to_first_step_seconds
    assert begun < latency.close_to_last_commit_seconds
    assert latency.last_commit_to_end_seconds > 0


def test_runs_that_have_no_latency_are_passed_over(tmp_path: Path) -> None:
    job = live_job()
    minute = FLOW.window.select(SESSION.open, SESSION.open)
    with fine_instance(tmp_path / "home") as instance:
        of_one_ticker = {"dagster/partition": minute.keys.start}
        for tags in (minute.tags(), of_one_ticker):
            assert job.execute_in_process(instance=instance, tags=tags).success
        assert newest_latencies(instance, MarketClock(), 5) == []


def test_the_status_names_every_stage() -> None:
    found = Latency("f00", SESSION.open, 2.12, 0.61, {"raw_prices": 0.24, "features": 2.9}, 6.06, 0.1)
    status = Status("simulated", SESSION.open, (), (), None, None, None, found, None)
    stages = "launch 2.1, start 0.6, raw_prices 0.2, features 2.9"
    told = as_text(status).splitlines()[-1]
    assert told == f"newest live minute  2026-11-20 09:30 New York, in every table 6.1 s after its close: {stages}"
    assert as_json(status)["newest_live_minute"]["close_to_last_commit_seconds"] == 6.06
