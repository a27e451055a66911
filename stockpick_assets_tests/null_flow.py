"""The five assets of the flow with their keys, partitions, jobs and IO manager, that compute nothing.

Each writes a row of nulls for every partition of its run, with `Told.mark` in its first column of numbers and of bars
`Told.reason`. Tests say what is to happen on `Told`, as a code location is loaded by its name.
"""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pyarrow as pa
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import session_of, sessions_until
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.jobs import BACKFILL, FLOW, LIVE, jobs
from stockpick_assets.partitions import Selection, Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store

SESSIONS = tuple(sessions_until(date(2026, 11, 20), 2))
TICKERS = ("AAPL", "AMD", "MSFT", "NVDA")
NULL_FLOW = Flow(
    source="simulated",
    window=Window(SESSIONS, TICKERS),
    links=Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated"),
    bar_delay=timedelta(seconds=2),
    cost_bp=2.0,
    seed=7,
)


class Told:
    """What a test tells the assets, and what they tell it; in a process of their own, what stands here."""

    folder: ClassVar[Path] = Path("tables")
    mark: ClassVar[float] = 1.0
    reason: ClassVar[Reason] = Reason.PRESENT
    instead: ClassVar[dict[str, Callable[[], None]]] = {}  # by asset, called before it writes
    ran: ClassVar[list[str]] = []

    @classmethod
    def anew(cls, folder: Path) -> Store:
        """Forget everything; the tables are in that folder."""
        cls.folder, cls.mark, cls.reason, cls.instead, cls.ran = folder, 1.0, Reason.PRESENT, {}, []
        return Store(str(folder), NULL_FLOW.source, {})


def marked(table: str) -> str:
    """The column of the mark."""
    return next(field.name for field in TABLES[table].columns if field.type == pa.float64())


def rows(table: str, selection: Selection) -> pa.Table:
    """A row for each partition of the selection."""
    row: dict[str, Any] = {"source": NULL_FLOW.source, marked(table): Told.mark}
    row["reason"], row["published"] = Told.reason.value, True
    row["fetched_at"] = row["made_at"] = selection.last + timedelta(hours=Told.mark)
    made = [
        {**row, "session": session_of(minute).date, "minute": minute, "ticker": ticker}
        for minute in selection.minutes()
        for ticker in selection.tickers
    ]
    return pa.Table.from_pylist(made, schema=TABLES[table].columns)


def asset(name: str, before: str | None) -> dg.AssetsDefinition:
    """The asset of that name."""
    deps = [NULL_FLOW.key(before)] if before else []

    @dg.asset(**NULL_FLOW.minutely(name, description=None, kinds=set()), deps=deps)
    def written(context: dg.AssetExecutionContext) -> dg.Output[pa.Table]:
        Told.ran.append(name)
        if name in Told.instead:
            Told.instead[name]()
        return NULL_FLOW.output(rows(name, NULL_FLOW.selection(context)), ("ticker", "minute"))

    return written


@dg.definitions
def defs() -> dg.Definitions:
    """The five assets and the jobs of the flow."""
    tables = Tables(s3=S3Resource(), bucket="none", source=NULL_FLOW.source, root=str(Told.folder))
    return dg.Definitions(
        assets=[asset(name, before) for name, before in zip(FLOW, (None, *FLOW), strict=False)],
        jobs=jobs(NULL_FLOW)[:2],
        resources={"io_manager": TableIOManager(tables=tables, now=Now(MarketClock()), live_job=LIVE)},
        executor=dg.in_process_executor,
    )


def backfill_job() -> dg.JobDefinition:
    """The job `backfill`, by a name that a retry can find."""
    return defs().resolve_job_def(BACKFILL)
