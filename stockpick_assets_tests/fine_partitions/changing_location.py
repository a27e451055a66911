"""Definitions that the code servers of test_reloading.py serve: a job named after what a file of the instance's folder
says when they are loaded.
"""

import os
from pathlib import Path

import dagster as dg

from stockpick_assets.fine_partitions.loading import decided_at_load

LOADED = Path(os.environ["DAGSTER_HOME"]) / "loaded"


def read() -> str:
    """What the file says. Raises ValueError when it says nothing."""
    said = LOADED.read_text(encoding="utf-8")
    if not said:
        raise ValueError("the file of what to load is empty")
    return said


@dg.definitions
def defs() -> dg.Definitions:
    """One job."""
    loaded = decided_at_load("job", read)

    @dg.op
    def note(context: dg.OpExecutionContext) -> None:
        context.instance.add_run_tags(context.run_id, {"loaded": loaded, "parent": str(os.getppid())})

    @dg.job(name=loaded)
    def noting() -> None:
        note()

    return dg.Definitions(jobs=[noting], executor=dg.in_process_executor)
