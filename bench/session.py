"""How long whole sessions take from their bars to picks and scores in one run, what of it is Dagster's, and its memory.

The run is one of `stockpick backfill`, on the services of STOCKPICK_HOME if they run and on the bench's own if not; the
session before it is worked through first, so that there is a model. The tables are in a folder of the bucket that is
deleted at the end. What of the run is neither an asset's computing nor its tables' input and output is Dagster's own
part; a run of assets that do nothing over the same range is beside it. With `--ui` a session of these is materialized
through a webserver, daemon and code server of the bench's own, by both mutations of the page. Linux only. The last
line printed is one JSON object.

    .venv/bin/python bench/session.py --bars bars.parquet
    .venv/bin/python bench/session.py --ui
"""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import yaml
from common import SECONDS_TO_ANSWER, ask, report
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from trivial_flow import flow_of, materialize, simulated, trivial_flow

from stockpick_assets import services
from stockpick_assets.backfill import Step, plan, run
from stockpick_assets.cli.context import Platform
from stockpick_assets.definitions import build_definitions, resources
from stockpick_assets.io_managers import ModelIOManager, TableIOManager
from stockpick_assets.jobs import BACKFILL, FLOW, LIVE
from stockpick_assets.partitions import Selection
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data
from stockpick_assets.services.dagster import PRELOAD, WITHOUT_THREADS, answer, instance_environment, lay_configuration
from stockpick_assets.services.object_store import filesystem
from stockpick_assets.services.process import ServiceProcess, free_ports, port_is_free
from stockpick_assets.services.spark import Spark
from stockpick_assets.settings import Settings

Kind = dg.DagsterEventType
LAUNCH = """mutation ($parameters: ExecutionParams!) { launchPipelineExecution(executionParams: $parameters) {
    __typename ... on PythonError { message } } }"""
LAUNCH_BACKFILL = """mutation ($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) { __typename ... on PythonError { message } } }"""
LOCATIONS = {"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { id } } } }"}
HEALTH = {"query": "{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }"}
LOCATION = "bench"
spent_in_tables: dict[str, float] = defaultdict(float)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Add the seconds of the body to what the step has spent in tables."""
    start = time.perf_counter()
    yield
    spent_in_tables[step] += time.perf_counter() - start


class TimedTables(TableIOManager):
    """The tables' IO manager, timed."""

    def handle_output(self, context: dg.OutputContext, obj: pa.Table) -> None:
        with timed(context.step_context.step.key):
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> pa.Table:
        with timed(context.step_context.step.key):
            return super().load_input(context)


class TimedModels(ModelIOManager):
    """The models' IO manager, timed."""

    def load_input(self, context: dg.InputContext) -> Any:
        with timed(context.step_context.step.key):
            return super().load_input(context)


def memory_mb(field: str) -> int:
    """What the kernel says of this process's memory: VmRSS, or VmHWM for the most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) // 1024


def forget_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """The settings on the object store, Kafka and Spark of their home; those that did not run are stopped again."""
    already = services.running(settings)
    lacking = [service for service in services.DATA if service not in already]
    if not lacking:
        yield settings
        return
    # A start writes its settings into the home: they are the home's, without the source of the bench.
    own = Settings.load(home=settings.home)
    try:
        own = services.start(own, services.DATA, lambda line: print(line, flush=True))
        yield settings.model_copy(update={"s3_access_key": own.s3_access_key, "s3_secret_key": own.s3_secret_key})
    finally:
        services.stop(own, lacking)


@contextmanager
def folder_of_bucket(settings: Settings) -> Iterator[Settings]:
    """The settings with their tables in a folder of the bucket, which is deleted at the end."""
    inside = settings.model_copy(update={"s3_bucket": f"{settings.s3_bucket}/bench-{int(time.time())}"})
    files = filesystem(inside)
    files.create_dir(inside.s3_bucket)
    try:
        yield inside
    finally:
        files.delete_dir(inside.s3_bucket)


def measured_definitions(settings: Settings) -> dg.Definitions:
    """The product's definitions with timed IO managers."""
    source = market_data(settings)
    real = resources(settings, source, flow_of(settings))
    tables = TimedTables(tables=real["tables"], now=real["now"], live_job=LIVE)
    models = TimedModels(tables=real["tables"], pyspark=real["pyspark"], cost_bp=settings.cost_bp)
    return build_definitions(settings, wall_clock(), market_data=source, io_manager=tables, model_io_manager=models)


def of_run(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    """Seconds of a run of the flow, as its events tell them.

    A step computes from its last input to its output; opening the Spark session is computing too.
    """
    at: dict[tuple[Kind, str | None], float] = {}
    for entry in instance.all_logs(run_id):
        if entry.dagster_event:
            at[entry.dagster_event.event_type, entry.step_key] = entry.timestamp
    steps = sorted(step for kind, step in at if kind is Kind.STEP_START and step)
    raw, scores = (next(step for step in steps if step.endswith(f"__{name}")) for name in (FLOW[0], FLOW[-1]))
    took = {"bars_to_scores_s": at[Kind.HANDLED_OUTPUT, scores] - at[Kind.STEP_OUTPUT, raw]}
    computing = 0.0
    for step in steps:
        began = at.get((Kind.STEP_INPUT, step), at[Kind.STEP_START, step])
        computed = at[Kind.STEP_OUTPUT, step] - began
        computing += computed
        if step.split("__")[-1] in FLOW:
            name = step.split("__")[-1]
            took |= {f"{name}_s": at[Kind.STEP_SUCCESS, step] - at[Kind.STEP_START, step]}
            took |= {f"{name}_compute_s": computed, f"{name}_tables_s": spent_in_tables[step]}
    computing += at[Kind.RESOURCE_INIT_SUCCESS, None] - at[Kind.RESOURCE_INIT_STARTED, None]
    return took | {"compute_s": computing, "tables_s": sum(spent_in_tables.values())}


def flow_of_sessions(settings: Settings, count: int) -> dict[str, Any]:
    """One run of the newest `count` sessions, after the session before them and its model."""
    settings = settings.model_copy(update={"sessions": count + 1})
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(settings) as settings,
        folder_of_bucket(settings) as settings,
    ):
        platform = Platform.load(settings.model_copy(update={"home": Path(scratch)}))
        window, definitions = platform.flow.window, measured_definitions(settings)
        earlier, *sessions = (session for session in window.sessions if session.close <= platform.market_time())
        with platform.instance() as instance:
            for step in plan(window, [earlier], (), platform.market_time(), platform.flow.bar_delay):
                run(definitions, instance, step, lambda _: None)
            spent_in_tables.clear()
            selection = window.select(sessions[0].open, sessions[-1].last_minute)
            before = memory_mb("VmRSS")
            forget_peak()
            start, processor = time.perf_counter(), time.process_time()
            run(definitions, instance, Step(BACKFILL, "measured", FLOW, selection=selection), print)
            seconds, processor = time.perf_counter() - start, time.process_time() - processor
            peak = memory_mb("VmHWM")
            (record,) = instance.get_run_records(dg.RunsFilter(job_name=BACKFILL), limit=1)
            figures = of_run(instance, record.dagster_run.run_id)
            spark_mb = Spark().process(settings).memory() // 2**20
            trivial_s, trivial_processor_s = trivial_run(settings, instance, selection)
    own = seconds - figures["compute_s"] - figures["tables_s"]
    return {
        "source": settings.source,
        "sessions": len(sessions),
        "tickers": len(window.tickers),
        "partitions_per_asset": selection.size,
        "run_s": seconds,
        "run_processor_s": processor,
        **figures,
        "dagster_s": own,
        "trivial_flow_run_s": trivial_s,
        "trivial_flow_processor_s": trivial_processor_s,
        "rows_per_s": round(selection.size / figures["bars_to_scores_s"]),
        "memory_before_mb": before,
        "memory_peak_mb": peak,
        "spark_memory_after_mb": spark_mb,
    }


def trivial_run(settings: Settings, instance: dg.DagsterInstance, selection: Selection) -> tuple[float, float]:
    """Seconds of a run over the selection that computes nothing, and seconds of processor time in them."""
    definitions = trivial_flow(settings)
    start, processor = time.perf_counter(), time.process_time()
    materialize(definitions, instance, selection)
    return time.perf_counter() - start, time.process_time() - processor


@contextmanager
def dagster_at_work(home: Path) -> Iterator[tuple[Settings, dg.DagsterInstance]]:
    """A webserver, daemon and code server of bench/trivial_flow.py, on the project's dagster.yaml."""
    web, code = free_ports(2)
    settings = Settings.load(home=home, dagster_url=f"http://127.0.0.1:{web}", dagster_code_server=f"127.0.0.1:{code}")
    lay_configuration(settings)
    environment, address = instance_environment(settings), f"{settings.dagster_url}/graphql"
    os.environ.update(environment)
    workspace = home / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
    file = str(Path(__file__).with_name("trivial_flow.py"))
    place = ["--host", "127.0.0.1", "--port"]
    preload = [argument for module in PRELOAD for argument in ("--preload", module)]
    warm = ["stockpick_assets.fine_partitions.code_server", *preload, "--python-file", file]
    processes = [ServiceProcess(home, name) for name in ("code server", "webserver", "daemon")]
    commands = [
        [*warm, *place, str(code), "--location-name", LOCATION],
        ["dagster_webserver", "--workspace", str(workspace), *place, str(web)],
        ["dagster._daemon", "run", "--workspace", str(workspace)],
    ]
    try:
        for process, command in zip(processes, commands, strict=True):
            process.launch([sys.executable, "-m", *command], environment | WITHOUT_THREADS, home / "dagster")
            if process is processes[0]:  # a webserver that finds no code server stays without one for a long time
                until(lambda: not port_is_free(code), "the code server")
            if process is processes[1]:
                until(lambda: located(answer(address, LOCATIONS)), "the webserver")
        until(lambda: healthy(answer(address, HEALTH)), "the daemon")
        with dg.DagsterInstance.get() as instance:
            yield settings, instance
    finally:
        for process in processes[::-1]:
            process.end()


def located(reply: Any) -> bool:
    """Whether the webserver knows the definitions."""
    return bool(reply and reply.get("data") and reply["data"]["repositoriesOrError"].get("nodes"))


def healthy(reply: Any) -> bool:
    """Whether every daemon that the instance needs is at work."""
    data = reply and reply.get("data")
    statuses = data["instance"]["daemonHealth"]["allDaemonStatuses"] if data else []
    return bool(statuses) and all(status["healthy"] for status in statuses if status["required"])


def until(condition: Callable[[], Any], what: str) -> None:
    """Return when the condition holds."""
    end = time.monotonic() + SECONDS_TO_ANSWER
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} took longer than {SECONDS_TO_ANSWER} s")
        time.sleep(0.1)


def materialized(instance: dg.DagsterInstance, known: set[str]) -> list[dg.DagsterRun]:
    """The runs that are not known, once there are some and all have ended."""
    ended: list[dg.DagsterRun] = []

    def all_ended() -> bool:
        nonlocal ended
        ended = [found for found in instance.get_runs() if found.run_id not in known]
        return bool(ended) and all(found.is_finished for found in ended)

    until(all_ended, "the run")
    return ended


def through_the_page() -> dict[str, Any]:
    """Seconds from the click to the end of a session of trivial assets, by both mutations of the page."""
    figures: dict[str, Any] = {}
    flow = flow_of(simulated(100, 5))
    window, assets = flow.window, [{"path": flow.key(name).path} for name in FLOW]
    with tempfile.TemporaryDirectory() as folder, dagster_at_work(Path(folder)) as (settings, instance):
        single, daemon = (window.select(session.open, session.last_minute) for session in window.sessions[:2])
        parameters: dict[str, Any] = {
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": LOCATION,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": assets,
                "assetCheckSelection": [],
            },
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in single.tags().items()]},
            "mode": "default",
        }
        keys = [str(key) for key in window.ticker_minutes.get_partition_keys_in_range(daemon.keys)]
        backfill = {"assetSelection": assets, "partitionNames": keys}
        for way, mutation, sent in (("single_run", LAUNCH, parameters), ("daemon", LAUNCH_BACKFILL, backfill)):
            known = {found.run_id for found in instance.get_runs()}
            start = time.monotonic()
            reply = ask(settings.dagster_url, {"query": mutation, "variables": {"parameters": sent}})
            print(f"{way}: {reply}", flush=True)
            clicked = time.monotonic() - start
            runs = materialized(instance, known)
            if any(found.status is not dg.DagsterRunStatus.SUCCESS for found in runs):
                raise SystemExit(f"the {way} failed: {reply}, {runs}")
            done = time.monotonic() - start
            until(lambda: not instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])), way)
            figures |= {
                f"ui_{way}_s": round(done, 1),
                f"ui_{way}_known_to_be_done_s": round(time.monotonic() - start, 1),
                f"ui_{way}_mutation_s": round(clicked, 1),
                f"ui_{way}_runs": len(runs),
            }
    return figures | {"ui_assets": len(FLOW), "ui_partitions_per_asset": daemon.size}


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=Path, help="a Parquet file of recorded bars (the simulated market)")
    parser.add_argument("--sessions", type=int, default=1, help="sessions in the run (1); 0 leaves it out")
    parser.add_argument("--tickers", type=int, help="the first so many tickers of the source (all)")
    parser.add_argument("--ui", action="store_true", help="a session of trivial assets through the page too")
    arguments = parser.parse_args()
    source: dict[str, Any] = (
        {"source": "recorded", "bars": arguments.bars} if arguments.bars else {"source": "simulated"}
    )
    figures: dict[str, Any] = {}
    if arguments.sessions:
        settings = Settings.load(**source)
        if arguments.tickers:
            tickers = flow_of(settings).window.tickers[: arguments.tickers]
            settings = settings.model_copy(update={"tickers": tickers})
        figures |= flow_of_sessions(settings, arguments.sessions)
    if arguments.ui:
        figures |= through_the_page()
    report(figures)


if __name__ == "__main__":
    main()
