"""That the jobs and the two `dagster.yaml` agree on who waits.

What becomes of the runs is in fine_partitions/test_run_coordinator.py.
"""

from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from stockpick_assets.core.market_hours import sessions_until
from stockpick_assets.definitions import build_definitions
from stockpick_assets.jobs import BACKFILL, LIVE, RETURN_MODEL, TRAINING_SET, UNIVERSE
from stockpick_assets.settings import Settings

NOW = sessions_until(date(2026, 11, 20), 1)[0].open + timedelta(minutes=10)
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("file", ["dagster.yaml", "docker/dagster.yaml"])
def test_the_priority_from_which_a_run_does_not_wait_is_that_of_the_live_job_alone(file: str) -> None:
    told = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["run_coordinator"]
    definitions = build_definitions(Settings(tickers=("AAPL", "AMD")), NOW)
    at_once = [
        name
        for name in (LIVE, BACKFILL, UNIVERSE, TRAINING_SET, RETURN_MODEL)
        if int(definitions.resolve_job_def(name).run_tags.get("dagster/priority", "0"))
        >= told["config"]["at_once_priority"]
    ]
    assert told["class"] == "PriorityRunCoordinator"
    assert told["config"]["max_concurrent_runs"] == 1
    assert at_once == [LIVE]
