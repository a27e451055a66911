"""The latency of a live minute, as a real run leaves it in Dagster's record."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.jobs import LIVE
from stockpick_assets.latency import newest_latencies
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
    assert list(latency.steps) == ["raw_prices", "features"]
    assert latency.close_to_launch >= 30
    assert latency.launch_to_first_step > 0
    assert latency.close_to_launch + latency.launch_to_first_step < latency.close_to_last_commit
    assert latency.last_commit_to_end > 0
