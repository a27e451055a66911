"""The real definitions on a simulated exchange and a folder, at a time that tests set: the flow without services."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import minute_from_label
from stockpick_assets.definitions import build_definitions
from stockpick_assets.jobs import BACKFILL
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.resources.simulated_troubles import NO_TROUBLES
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.sensors.flows import fine_instance

TICKERS = ("AAPL", "AMD", "MSFT")
RAW_PRICES = dg.AssetKey(["simulated", "raw_prices"])
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class SimulatedMarket:
    """Definitions of the window, the tables they write and the instance they run on."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    store: Store

    def run(self, *keys: str, **options: Any) -> dg.ExecuteInProcessResult:
        """A run of raw_prices alone, over the range from one key to another or over a single one."""
        first, last = keys[0], keys[-1]
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        partitions = {"tags": tags} if len(keys) > 1 else {"partition_key": first}
        return self.definitions.resolve_job_def(BACKFILL).execute_in_process(
            instance=self.instance,
            run_config=QUIET,
            asset_selection=[RAW_PRICES],
            raise_on_error=False,
            **partitions,
            **options,
        )

    def materialized(self) -> set[str]:
        """The partitions of raw_prices that Dagster holds for materialized."""
        return self.instance.get_materialized_partitions(RAW_PRICES)


@contextmanager
def simulated_market(folder: Path, last_session: date, sessions: int, minute: str) -> Iterator[SimulatedMarket]:
    """The market of `sessions` sessions, half a minute into `minute` (New York)."""
    settings = Settings(
        home=folder, store_root=str(folder / "tables"), last_session=last_session, sessions=sessions, tickers=TICKERS
    )
    wall: datetime = minute_from_label(minute).replace(second=30)
    with pytest.MonkeyPatch.context() as patch, fine_instance(folder / "dagster") as instance:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        exchange = SimulatedExchange(settings.seed, TICKERS, NO_TROUBLES)
        definitions = build_definitions(settings, wall, market_data=exchange, now=Now(MarketClock(), lambda: wall))
        yield SimulatedMarket(definitions, instance, Store.from_settings(settings))


def cause_of(result: dg.ExecuteInProcessResult) -> str:
    """What the run's failure event says made the run fail."""
    (failure,) = [event for event in result.all_events if event.is_job_failure]
    step = failure.job_failure_data.first_step_failure_event
    assert step is not None
    error = step.step_failure_data.error
    assert error is not None and error.cause is not None
    return error.cause.message.strip()
