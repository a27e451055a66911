"""How long a live minute takes from its close, by stage, and how long a run takes to start, warm and cold.

The stages are read from Dagster's records of the newest live minutes of a home in which `stockpick demo` or `live` is
at work; it is waited for until there are enough. Where a run answered several minutes, because earlier ones failed or
were late, each counts from its own close; runs that failed are counted. The starts are of a trivial run, on two code
servers of the bench's own, in turn. The last line printed is one JSON object.

    STOCKPICK_HOME=.stockpick .venv/bin/python bench/live_minute.py --minutes 10 --starts 5
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from common import report
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import wait_for_grpc_server
from trivial import trivial

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, minute_from_label
from stockpick_assets.jobs import LIVE
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


def of_each_minute(instance: dg.DagsterInstance, clock: MarketClock, newest: Latency) -> list[Latency]:
    """Of each minute that a live run answered, from that of its newest; the newest first."""
    run = instance.get_run_by_id(newest.run_id)
    assert run is not None
    first = minute_from_label(run.tags[ASSET_PARTITION_RANGE_START_TAG].split("|")[0])

    def earlier(by: timedelta) -> Latency:
        minute = newest.minute - by
        waited = (clock.wall_at(newest.minute) - clock.wall_at(minute)).total_seconds()
        return replace(
            newest,
            minute=minute,
            close_to_launch_seconds=newest.close_to_launch_seconds + waited,
            close_to_last_commit_seconds=newest.close_to_last_commit_seconds + waited,
        )

    return [earlier(number * MINUTE) for number in range((newest.minute - first) // MINUTE + 1)]


def answered(
    instance: dg.DagsterInstance, clock: MarketClock, minutes: int, since: datetime | None = None
) -> list[list[Latency]]:
    """The newest `minutes` minutes that were answered, or a few more, as runs are taken whole: a list each run.

    Fewer when there are not enough. since: when a replay began; the first run then, which makes up for late minutes,
    does not count.
    """
    found: list[list[Latency]] = []
    for newest in newest_latencies(instance, clock, minutes + 1, since)[:-1]:
        if sum(map(len, found)) >= minutes:
            break
        found.append(of_each_minute(instance, clock, newest))
    return found


def live_figures(instance: dg.DagsterInstance, clock: MarketClock, runs: Sequence[Sequence[Latency]]) -> dict[str, Any]:
    """p50, p95 and the largest of each stage over the runs' minutes; and what of them did not go as it should."""
    latencies = [latency for run in runs for latency in run]
    # A minute's run is requested when it has closed.
    oldest = clock.wall_at(latencies[-1].minute + MINUTE)
    failed = dg.RunsFilter(job_name=LIVE, statuses=[dg.DagsterRunStatus.FAILURE], created_after=oldest)
    figures: dict[str, Any] = {
        "live_minutes": len(latencies),
        "live_runs": len(runs),
        "failed_live_runs": instance.get_runs_count(failed),
        "coalesced_minutes": sum(len(run) for run in runs if len(run) > 1),
        "market_minutes_a_minute": clock.speed,
    }
    by_stage: dict[str, list[float]] = defaultdict(list)
    for latency in latencies:
        for stage, seconds in stages(latency).items():
            by_stage[stage].append(seconds)
    for stage, seconds in by_stage.items():
        figures |= {f"{stage}_p50": _quantile(seconds, 0.5), f"{stage}_p95": _quantile(seconds, 0.95)}
        figures[f"{stage}_max"] = max(seconds)
    return figures


def live_stages(minutes: int) -> dict[str, Any]:
    """The figures of the newest live minutes of the home that the settings name, once there are enough."""
    settings = Settings.load()
    os.environ.update(instance_environment(settings))
    with dg.DagsterInstance.get() as instance:
        while sum(map(len, runs := answered(instance, settings.clock, minutes, settings.replay_started_at))) < minutes:
            sys.stdout.write(f"{sum(map(len, runs))} of {minutes} live minutes at {datetime.now(UTC):%H:%M:%S}\n")
            time.sleep(10)
        return live_figures(instance, settings.clock, runs)


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
        "cold_launch_to_first_step_s_p50": cold,
        "warm_launch_to_first_step_s_p50": warm,
        "times_faster": round(cold / warm, 1),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10, help="live minutes to look at; 0 leaves the live minute out")
    parser.add_argument("--starts", type=int, default=5, help="trivial runs to start on each server; 0 leaves them out")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    if arguments.starts:
        figures |= starts(arguments.starts)
    if arguments.minutes:
        figures |= live_stages(arguments.minutes)
    report(figures)


if __name__ == "__main__":
    main()
