"""How long a live minute takes from its close, by stage, and how long a run takes to start, warm and cold.

The stages are read from Dagster's records of the newest live runs of a home in which `stockpick demo` or `live` is at
work; it is waited for until there are enough. The starts are of a trivial run, on two code servers of the
bench's own, in turn. The last line printed is one JSON object.

    STOCKPICK_HOME=.stockpick .venv/bin/python bench/live_minute.py --minutes 10 --starts 5
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import wait_for_grpc_server
from trivial import trivial

from stockpick_assets.latency import Latency, newest_latencies
from stockpick_assets.services.dagster import instance_environment
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings

COLD = ("dagster", "api", "grpc")
WARM = ("stockpick_assets.fine_partitions.code_server",)
SECONDS_TO_START = 60
TRIVIAL = Path(__file__).with_name("trivial.py")


def stages(latency: Latency) -> Mapping[str, float]:
    """Seconds of each stage of a live run."""
    return {
        "close_to_launch_s": latency.close_to_launch_seconds,
        "launch_to_first_step_s": latency.launch_to_first_step_seconds,
        **{f"step_{asset}_s": seconds for asset, seconds in latency.step_seconds.items()},
        "close_to_last_commit_s": latency.close_to_last_commit_seconds,
        "last_commit_to_run_end_s": latency.last_commit_to_end_seconds,
    }


def live_stages(minutes: int) -> dict[str, float]:
    """p50, p95 and the largest of each stage over the newest `minutes` live runs of the home that the settings name.

    Of a replayed market only runs since its clock was set count, and not the first, which makes up for late minutes.
    """
    settings = Settings.load()
    os.environ.update(instance_environment(settings))
    with dg.DagsterInstance.get() as instance:
        while (
            len(found := newest_latencies(instance, settings.clock, minutes + 1, settings.replay_started_at)) <= minutes
        ):
            sys.stdout.write(f"{len(found)} of {minutes + 1} live runs at {datetime.now(UTC):%H:%M:%S}\n")
            time.sleep(10)
    by_stage: dict[str, list[float]] = defaultdict(list)
    for latency in found[:minutes]:
        for stage, seconds in stages(latency).items():
            by_stage[stage].append(seconds)
    report: dict[str, float] = {"live_runs": minutes, "market_minutes_a_minute": settings.clock.speed}
    for stage, seconds in by_stage.items():
        report |= {f"{stage}_p50": _quantile(seconds, 0.5), f"{stage}_p95": _quantile(seconds, 0.95)}
        report[f"{stage}_max"] = round(max(seconds), 2)
    return report


@contextmanager
def serving(instance: dg.DagsterInstance, folder: str, server: Sequence[str]) -> Iterator[WorkspaceRequestContext]:
    """A code server of this file's definitions, as a workspace to launch runs in."""
    (port,) = free_ports(1)
    place = ["--host", "127.0.0.1", "--port", str(port), "--location-name", "bench"]
    arguments = [sys.executable, "-m", *server, "--python-file", str(TRIVIAL), *place, "--log-level", "error"]
    process = subprocess.Popen(arguments, env=os.environ | {"DAGSTER_HOME": folder}, stderr=subprocess.DEVNULL)
    try:
        wait_for_grpc_server(process, DagsterGrpcClient(port=port, host="127.0.0.1"), arguments, SECONDS_TO_START)
        target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="bench")
        with WorkspaceProcessContext(instance, target) as context:
            yield context.create_request_context()
    finally:
        process.terminate()
        process.wait()


def start_seconds(instance: dg.DagsterInstance, workspace: WorkspaceRequestContext) -> float:
    """Seconds from the launch of a trivial run to its first step."""
    remote = next(iter(workspace.get_code_location("bench").get_repositories().values())).get_full_job(trivial.name)
    run = instance.create_run_for_job(
        trivial, remote_job_origin=remote.get_remote_origin(), job_code_origin=remote.get_python_origin()
    )
    instance.launch_run(run.run_id, workspace)
    while not (found := instance.get_run_by_id(run.run_id)) or not found.is_finished:
        time.sleep(0.05)
    events = (entry for entry in instance.all_logs(run.run_id) if entry.dagster_event)
    times = {entry.get_dagster_event().event_type: entry.timestamp for entry in events}
    return times[dg.DagsterEventType.STEP_START] - times[dg.DagsterEventType.RUN_STARTING]


def starts(count: int) -> dict[str, float]:
    """Median start of a trivial run on each code server, `count` of each in turn."""
    measured: dict[Sequence[str], list[float]] = {COLD: [], WARM: []}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        instance = stack.enter_context(dg.DagsterInstance.local_temp(folder))
        workspaces = {server: stack.enter_context(serving(instance, folder, server)) for server in measured}
        for _ in range(count):
            for server, workspace in workspaces.items():
                measured[server].append(start_seconds(instance, workspace))
    cold, warm = statistics.median(measured[COLD]), statistics.median(measured[WARM])
    return {
        "starts": count,
        "cold_launch_to_first_step_s_p50": round(cold, 2),
        "warm_launch_to_first_step_s_p50": round(warm, 2),
        "times_faster": round(cold / warm, 1),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10, help="live runs to look at; 0 leaves the live minute out")
    parser.add_argument("--starts", type=int, default=5, help="trivial runs to start on each server; 0 leaves them out")
    arguments = parser.parse_args()
    report: dict[str, float] = {}
    if arguments.starts:
        report |= starts(arguments.starts)
    if arguments.minutes:
        report |= live_stages(arguments.minutes)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
