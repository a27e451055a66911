"""What the sensors are given in tests: a flow of three tickers, tables in a folder, an instance, and a time that tests
set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.links import Links
from stockpick_assets.core.universe import Universe
from stockpick_assets.fine_partitions import remove
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION

FLOW = Flow(
    source="simulated",
    window=Window((SESSION,), TICKERS),
    links=Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated"),
    bar_delay=timedelta(seconds=2),
    cost_bp=2.0,
    seed=7,
    universe=Universe(fixed=TICKERS),
)


def tables(folder: Path) -> Tables:
    """Tables in that folder."""
    return Tables(s3=S3Resource(), bucket="none", source="simulated", root=str(folder))


@contextmanager
def fine_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance in that folder, with the event log of fine_partitions."""
    event_log = {
        "module": "stockpick_assets.fine_partitions",
        "class": "FinePartitionsSqliteStorage",
        "config": {"base_dir": str(folder / "events")},
    }
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides={"event_log_storage": event_log}) as instance:
        yield instance
    remove()


def at(market: datetime) -> Now:
    """The moment at which market time is `market`, in a replay that began on another day."""
    clock = MarketClock(datetime(2026, 12, 1, 9, 0, tzinfo=UTC), SESSION.open, 1.0)
    return Now(clock, lambda: clock.wall_at(market))
