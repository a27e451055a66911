"""Dagster's code server with runs that start warm: each is forked from a process that has imported what runs import.

    python -m stockpick_assets.fine_partitions.code_server --preload pandas --preload my.definitions <arguments>

takes the arguments of `dagster api grpc`, which it otherwise is, and starts no run in a new interpreter. "Reload" in
the UI asks a `@definitions` function again, in the same process; a changed module is seen after a restart. To switch it
off, run `dagster api grpc`.

What does not belong here: which modules are worth preloading.
"""

import multiprocessing
import os
import signal
import sys
import uuid
from collections.abc import Iterable
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

import click
import grpc
import psutil
from dagster._cli.api import grpc_command
from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster._grpc import impl, server
from dagster._grpc.__generated__.dagster_api_pb2 import ReloadCodeReply, ReloadCodeRequest
from dagster._grpc.server import DagsterApiServer, LoadedRepositories

from stockpick_assets.fine_partitions.overrides import StockMethod, UnsupportedDagster, check

# What starts a run, and takes the context it is started in from `_mp_ctx`; and what `ReloadCode` does again: the last
# method of the two swaps `_loaded_repositories` and `_server_id` under `_reload_lock` too.
STOCK_METHODS: tuple[StockMethod, ...] = (
    StockMethod(
        DagsterApiServer,
        "__init__",
        "(self, server_termination_event, logger, server_threadpool_executor, loadable_target_origin=None,"
        " heartbeat=False, heartbeat_timeout=30, lazy_load_user_code=False, fixed_server_id=None, entry_point=None,"
        " container_image=None, container_context=None, inject_env_vars_from_instance=False, instance_ref=None,"
        " location_name=None, enable_metrics=False, defs_state_info=None)",
    ),
    StockMethod(DagsterApiServer, "StartRun", "(self, request, _context)"),
    StockMethod(
        impl,
        "start_run_in_subprocess",
        "(serialized_execute_run_args, recon_pipeline, event_queue, termination_event)",
    ),
    StockMethod(
        LoadedRepositories,
        "__init__",
        "(self, loadable_target_origin, container_image, entry_point, container_context, defs_state_info=None,"
        " code_location_name=None)",
    ),
    StockMethod(DagsterApiServer, "ReloadCode", "(self, _request, _context)"),
    StockMethod(DagsterApiServer, "ReloadCodeWithState", "(self, request, _context)"),
)

# What Dagster imports when a run begins, not before; a run without it takes the seconds more, in this order.
OF_EVERY_RUN = (
    "dagster._grpc.impl",  # 2.4
    "dagster._core.storage.base_storage",  # 2.5
    "dagster._core.storage.local_compute_log_manager",  # 0.01
    "dagster._core.executor.in_process",  # 0.01
    "upath.core",  # 0.2
)


class ColdCodeServer(click.ClickException):
    """Runs cannot be forked from the preloaded process."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}. `dagster api grpc` serves the same definitions and starts each run cold.")


class WarmApiServer(DagsterApiServer):
    """Dagster's own, but for what its runs are started in, and that it reloads.

    Raises:
        ColdCodeServer: a module of `preload` could not be imported, or started a thread or opened a connection.
    """

    def __init__(self, preload: tuple[str, ...], *, inject_env_vars_from_instance: bool, **arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        if not inject_env_vars_from_instance:
            # While the modules are imported there, the definitions are loaded here. Runs get the environment of this
            # moment, so that it must wait where Dagster is about to add to it.
            _start_fork_server()
        super().__init__(inject_env_vars_from_instance=inject_env_vars_from_instance, **arguments)
        if not isinstance(self._mp_ctx, SpawnContext):
            raise ColdCodeServer("dagster's code server does not start runs by `spawn` any more")
        _start_fork_server()
        _require_warm(context, preload)
        self._mp_ctx = context
        self._location_name: str | None = arguments.get("location_name")

    def ReloadCode(self, _request: ReloadCodeRequest, _context: grpc.ServicerContext) -> ReloadCodeReply:
        """Load the definitions again from the imported modules; the webserver and the daemon follow the new server id.

        Stock only warns. Raises what loading raises, for the caller to see; what was loaded before is served on.
        """
        state = self._instance.defs_state_storage if self._instance else None
        with self._reload_lock, set_defs_state_storage(state):
            self._loaded_repositories = LoadedRepositories(
                self._loadable_target_origin,
                container_image=self._container_image,
                entry_point=self._entry_point,
                container_context=self._container_context,
                defs_state_info=self._defs_state_info,
                code_location_name=self._location_name,
            )
            self._serializable_load_error = None
            self._server_id = str(uuid.uuid4())
        return ReloadCodeReply()


def _start_fork_server() -> None:
    """Start the process that imports and forks, if it is not running; it ends when this one and all runs have."""
    # A SIGTERM that goes to the whole process group is for this process, which then waits for its runs, and for the
    # runs, which set their own handler: without their parent they would be taken for crashed.
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGTERM, handler)


def _require_warm(context: ForkServerContext, preload: tuple[str, ...]) -> None:
    """Wait until everything is imported. Raises ColdCodeServer when runs forked from it would not be safe or warm."""
    receiver, sender = context.Pipe(duplex=False)
    probe = context.Process(target=_tell_parents_state, args=(preload, sender))
    try:
        probe.start()
        sender.close()
        cold, threads, connections = receiver.recv()
    except EOFError:
        raise ColdCodeServer(f"importing {', '.join(preload)} failed, see above") from None
    probe.join()
    problems = []
    if cold:
        problems.append(f"--preload names {', '.join(cold)}, which cannot be imported")
    if threads > 1 or connections:
        problems.append(
            f"importing {', '.join(preload)} started {threads - 1} threads and opened {connections} connections, which "
            "no run can use after a fork: preload what imports less, or switch the threads off in the environment"
        )
    if problems:
        raise ColdCodeServer("; ".join(problems))


def _tell_parents_state(preload: Iterable[str], answer: Connection) -> None:
    """In a process forked like a run: what its parent did not import, its threads and its internet connections."""
    parent = psutil.Process(os.getppid())
    cold = [name for name in preload if name not in sys.modules]
    answer.send((cold, parent.num_threads(), len(parent.net_connections("inet"))))


def _serve(preload: tuple[str, ...], **arguments: Any) -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and Dagster handles SIGTERM as SIGINT: the
    # server would stay, and share its port with the next one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check(STOCK_METHODS)
    except UnsupportedDagster as unsupported:
        raise ColdCodeServer(str(unsupported)) from unsupported
    server.DagsterApiServer = partial(WarmApiServer, (*OF_EVERY_RUN, *preload))
    assert grpc_command.callback is not None
    grpc_command.callback(**arguments)


PRELOAD = click.Option(
    ["--preload"], multiple=True, help="A module to import once for all runs; no thread, no connection. Repeatable."
)
command = click.Command("code_server", params=[PRELOAD, *grpc_command.params], callback=_serve, help=__doc__)
