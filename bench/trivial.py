"""A job that does nothing, for bench/live_minute.py: what a run of it takes is what any run takes to start and end."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Take no time."""


@dg.job
def trivial() -> None:
    """A run of one step."""
    nothing()


defs = dg.Definitions(jobs=[trivial], executor=dg.in_process_executor)
