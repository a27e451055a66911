"""The definitions that test_code_server.py serves and test_run_coordinator.py submits: a job that succeeds, one that
fails, one that goes on until it is stopped.
"""

import os
import threading

import dagster as dg


@dg.op
def note_parent(context: dg.OpExecutionContext) -> None:
    """Say which process this run was started by."""
    context.instance.add_run_tags(context.run_id, {"parent": str(os.getppid())})


@dg.op
def fail() -> None:
    """Raise."""
    raise dg.Failure("the source did not answer")


@dg.op
def wait() -> None:
    """Wait until the run is stopped."""
    threading.Event().wait()


@dg.job
def succeeding() -> None:
    """A run that ends well."""
    note_parent()


@dg.job
def failing() -> None:
    """A run that fails."""
    fail()


@dg.job
def endless() -> None:
    """A run that somebody has to stop."""
    wait()


defs = dg.Definitions(jobs=[succeeding, failing, endless], executor=dg.in_process_executor)
