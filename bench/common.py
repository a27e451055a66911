"""What the benches share: this event log's configuration, a question to a webserver, and the last line they print.

What does not belong here: what is measured, and the assets that it is measured on.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

SECONDS_TO_ANSWER = 300


def event_log(folder: Path, **config: Any) -> dict[str, Any]:
    """This event log in SQLite files of a folder, as `dagster.yaml` names it."""
    return {
        "module": "stockpick_assets.fine_partitions",
        "class": "FinePartitionsSqliteStorage",
        "config": {"base_dir": str(folder), **config},
    }


def ask(address: str, question: Mapping[str, Any]) -> Any:
    """The data that the GraphQL of the webserver at an address answers. Raises OSError when it does not."""
    request = Request(f"{address}/graphql", json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=SECONDS_TO_ANSWER) as reply:
        found = json.load(reply)
    if found.get("errors"):
        raise SystemExit(f"{question.get('operationName', question['query'])} failed: {found['errors']}")
    return found["data"]


def report(figures: Mapping[str, Any], digits: int = 2) -> None:
    """Print the figures as the last line, one JSON object, with `load`: the machine's over the last minute."""
    measured = {**figures, "load": os.getloadavg()[0]}
    rounded = {name: round(value, digits) if isinstance(value, float) else value for name, value in measured.items()}
    sys.stdout.write(json.dumps(rounded) + "\n")
