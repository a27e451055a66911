"""Dagster: the code server, the webserver and the daemon, on one instance in the home.

What belongs here: how they are started and asked. What they load is stockpick_assets/definitions.py.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import stockpick_assets
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.settings import Settings

PROJECT = Path(stockpick_assets.__file__).parents[1]
# Imported once, for every run that the code server starts; a run without it takes the seconds more, in this order.
PRELOAD = (
    "stockpick_assets.fine_partitions",  # 0.03: the event log of dagster.yaml
    "stockpick_assets.definitions",  # 5.0: with it pandas, pyarrow, deltalake, boto3, kafka, pyspark.ml
    "exchange_calendars",  # 0.3
    "pyspark.ml.connect",  # 0.3
    "pyspark.sql.connect.session",  # 0.4
)
# A run is forked, which no thread survives: OpenBLAS would start one for each core when numpy is imported, and the
# allocators of Arrow and of delta-rs one each.
WITHOUT_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}
# Each daemon writes a heartbeat every 30 s; Dagster itself calls it dead after half an hour.
HEARTBEAT_SECONDS = 120.0


def instance_home(settings: Settings) -> Path:
    """The folder of this home's Dagster instance, its DAGSTER_HOME."""
    return settings.home.absolute() / "dagster"


def lay_configuration(settings: Settings) -> None:
    """Lay the project's dagster.yaml where this home's instance is read from. Raises ServiceError when there is none.

    At once: a process that opens the instance meanwhile would take half a file, or none, for Dagster's own defaults.
    """
    laid = instance_home(settings) / "dagster.yaml"
    text = project_file("dagster.yaml").read_text(encoding="utf-8")
    if laid.exists() and laid.read_text(encoding="utf-8") == text:
        return
    laid.parent.mkdir(parents=True, exist_ok=True)
    whole = laid.with_name(f"{laid.name}.{os.getpid()}")
    whole.write_text(text, encoding="utf-8")
    whole.replace(laid)


def instance_environment(settings: Settings) -> dict[str, str]:
    """What a process of this home's Dagster instance needs in its environment, secrets included."""
    home = instance_home(settings)
    host, port = CodeServer().endpoint(settings)
    return settings.environment() | {
        "DAGSTER_HOME": str(home),
        "EVENT_LOG_DIR": str(home / "history" / "runs"),
        "CODE_SERVER_HOST": host,
        "CODE_SERVER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }


def project_file(name: str) -> Path:
    """A file beside the package. Raises ServiceError where only the package is installed."""
    path = PROJECT / name
    if not path.exists():
        raise ServiceError(f"{path} is missing; run stockpick from its repository, installed by `make .venv`")
    return path


def answer(address: str, question: Mapping[str, Any] | None = None) -> Any:
    """What a JSON service answers; None when it does not, or with an error."""
    data = None if question is None else json.dumps(question).encode()
    try:
        with urlopen(Request(address, data, {"Content-Type": "application/json"}), timeout=5) as reply:  # noqa: S310
            return json.load(reply)
    except (URLError, OSError, ValueError):
        return None


def code_server(host: str, port: int) -> Sequence[str]:
    """The command of a code server that listens on host and port."""
    served = ["--module-name", "stockpick_assets.definitions", "--location-name", "stockpick"]
    place = ["--host", host, "--port", str(port)]
    if sys.platform != "linux":
        # System libraries of macOS may crash in a process that was forked, for which Python gave it up there.
        return [sys.executable, "-m", "dagster", "api", "grpc", *served, *place]
    preload = [argument for module in PRELOAD for argument in ("--preload", module)]
    return [sys.executable, "-m", "stockpick_assets.fine_partitions.code_server", *preload, *served, *place]


class _Dagster(Service):
    def environment(self, settings: Settings) -> Mapping[str, str]:
        return instance_environment(settings)

    def folder(self, settings: Settings) -> Path:
        return instance_home(settings)


class CodeServer(_Dagster):
    """The process that holds the definitions; runs are forked from a child of it that has imported PRELOAD."""

    name = "dagster code server"
    setting = "dagster_code_server"

    def environment(self, settings: Settings) -> Mapping[str, str]:
        return {**super().environment(settings), **WITHOUT_THREADS}

    def arguments(self, settings: Settings) -> Sequence[str]:
        lay_configuration(settings)
        return code_server("127.0.0.1", self.port(settings))

    def healthy(self, settings: Settings) -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        host, port = self.endpoint(settings)
        question = health_pb2.HealthCheckRequest(service="DagsterApi")
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                reply = stub.Check(question, timeout=5)  # pyright: ignore[reportAttributeAccessIssue]
            except grpc.RpcError:
                return False
        return reply.status == health_pb2.HealthCheckResponse.SERVING


class Webserver(_Dagster):
    """The UI and the GraphQL API."""

    name = "dagster webserver"
    setting = "dagster_url"
    # A webserver or daemon that finds no code server at its start stays without one for a long time.
    needs = (CodeServer.name,)

    def arguments(self, settings: Settings) -> Sequence[str]:
        server = [sys.executable, "-m", "dagster_webserver", "--workspace", str(project_file("workspace.yaml"))]
        return [*server, "--host", "127.0.0.1", "--port", str(self.port(settings))]

    def healthy(self, settings: Settings) -> bool:
        reply = answer(f"{settings.dagster_url}/server_info")
        return isinstance(reply, dict) and "dagster_webserver_version" in reply


class Daemon(_Dagster):
    """What evaluates schedules and sensors and submits backfills; the webserver knows its heartbeats."""

    name = "dagster daemon"
    # Both make the instance's SQLite tables when they are missing, and one of two that do so at one time fails.
    needs = (Webserver.name,)

    def arguments(self, settings: Settings) -> Sequence[str]:
        # At `info` it writes every key of a backfill, some MB for a session.
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", "warning"]
        return [*daemon, "--workspace", str(project_file("workspace.yaml"))]

    def healthy(self, settings: Settings) -> bool:
        leader = self.process(settings).leader()
        question = "{ instance { daemonHealth { allDaemonStatuses { required healthy lastHeartbeatTime } } } }"
        reply = answer(f"{settings.dagster_url}/graphql", {"query": question})
        if leader is None or not isinstance(reply, dict) or not reply.get("data"):
            return False
        oldest = max(leader.create_time(), time.time() - HEARTBEAT_SECONDS)
        daemons = reply["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(
            daemon["healthy"] and (daemon["lastHeartbeatTime"] or 0) >= oldest
            for daemon in daemons
            if daemon["required"]
        )
