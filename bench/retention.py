"""What Dagster and the tables keep on disk while sessions come and go: it stops growing once the window is full.

Each session is the traffic of a day on a small universe: a backfill of its partitions in one run, live minutes of a run
each, a failed run, a backfill's record, ticks of a sensor, and a commit a minute to a table. Then the window moves by
one, and retention, compaction and vacuum do their work, all through the product's own code. Partitions, runs and ticks
leave by the age in sessions that stands for the age in days. The last line printed is one JSON object.

It shows that what comes and what goes are in balance: the size after all sessions over that after ten is 1. It does not
show how large a home becomes, which takes the traffic of a real day (39,000 partitions an asset and 390 live runs), nor
the age of seven days at which a version of a table leaves: vacuum is called with an age of none.

    .venv/bin/python bench/retention.py --sessions 60
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from common import event_log, report
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import TickData, TickStatus

from stockpick_assets.backfill import QUIET
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import Session, sessions_until
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.fine_partitions import retention
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.upkeep import compact_tables
from stockpick_assets.store import Store

ASSETS = [dg.AssetKey(f"asset_{number}") for number in range(5)]
LAST_SESSION = date(2026, 11, 20)
WINDOW_SESSIONS = 5
# Runs are kept 7 days, which are 5 sessions, and ticks of a sensor that had nothing to do one.
RUN_SESSIONS, TICK_SESSIONS = 5, 1
# The window is full, and what left it has been forgotten for five sessions.
EARLY = 10
PARTS = {
    "event_log": "history/runs/*",
    "runs": "history/runs.db*",
    "schedules": "schedules/*",
    "compute_logs": "storage/**/*",
    "tables": "tables/**/*",
}


def job(window: Window) -> dg.JobDefinition:
    """Five trivial assets with the window's partitions; they print a line, and fail if the run's tag says so."""

    def asset(key: dg.AssetKey) -> dg.AssetsDefinition:
        @dg.asset(key=key, partitions_def=window.ticker_minutes, backfill_policy=dg.BackfillPolicy.single_run())
        def trivial(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            sys.stderr.write(f"{len(context.partition_keys)} partitions\n")
            if "fails" in context.run.tags:
                raise dg.Failure("the source did not answer")
            return dg.MaterializeResult(metadata={"rows": len(context.partition_keys)})

        return trivial

    definitions = dg.Definitions(
        assets=[asset(key) for key in ASSETS],
        jobs=[dg.define_asset_job("flow", ASSETS)],
        executor=dg.in_process_executor,
    )
    return definitions.resolve_job_def("flow")


def trade(instance: dg.DagsterInstance, window: Window, session: Session, live_runs: int, ticks: int) -> None:
    """The traffic of a session."""
    flow, minutes = job(window), [minute.to_pydatetime() for minute in session.minutes()]

    def run(first: datetime, last: datetime, **tags: str) -> None:
        selected = window.select(first, last).tags()
        flow.execute_in_process(instance=instance, run_config=QUIET, tags={**selected, **tags}, raise_on_error=False)

    run(minutes[0], minutes[-1])
    for minute in minutes[:live_runs]:
        run(minute, minute)
    run(minutes[0], minutes[-1], fails="yes")
    now = time.time()
    instance.add_backfill(
        PartitionBackfill(
            backfill_id=session.date.strftime("%Y%m%d"),
            partition_set_origin=None,
            status=BulkActionStatus.COMPLETED_SUCCESS,
            from_failure=False,
            tags={"session": session.label()},
            backfill_timestamp=now,
            partition_names=[f"{minute:%H:%M}" for minute in minutes],
        )
    )
    for _ in range(ticks):
        tick = instance.create_tick(
            TickData(
                instigator_origin_id="sensor",
                selector_id="sensor",
                instigator_name="live",
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.STARTED,
                timestamp=time.time(),
            )
        )
        done = tick.with_status(
            TickStatus.SKIPPED, skip_reason=f"Every closed minute of {session.label()} is answered."
        )
        instance.update_tick(done)


def forget(instance: dg.DagsterInstance, window: Window, runs_before: datetime, ticks_before: datetime) -> int:
    """What the sensor `retention` and Dagster's daemon do after the window has moved; the number of runs that went."""
    retention.forget_partitions_before(instance, ASSETS, window.sessions[0].label())
    runs = retention.forget_runs_before(instance, runs_before)
    retention.forget_backfills_before(instance, runs_before)
    instance.purge_ticks("sensor", "sensor", ticks_before.timestamp(), [TickStatus.SKIPPED])
    return runs


def bars(session: Session, minute: datetime, tickers: Sequence[str]) -> pa.Table:
    """Raw prices of a minute."""
    columns = dict.fromkeys(RAW_PRICES.columns.names, None) | {"session": session.date, "minute": minute}
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    times = {"fetched_at": minute, "known_at": minute, "backfilled": False}
    words = {"source": "simulated", "reason": "present"}
    rows = [{**columns, **numbers, **times, **words, "ticker": ticker} for ticker in tickers]
    return pa.Table.from_pylist(rows, schema=RAW_PRICES.columns)


def write_tables(store: Store, session: Session, tickers: Sequence[str], minutes: int) -> int:
    """A commit a minute, then what the sensor `upkeep` does after the close; bytes of the files of the newest version.

    Vacuum keeps nothing that a newer version replaced: its age is the file's own, which no test can set.
    """
    for minute in session.minutes()[:minutes]:
        store.append(RAW_PRICES.name, bars(session, minute.to_pydatetime(), tickers), {})
    now = Now(MarketClock())
    list(compact_tables(store, None, now, now.wall() + timedelta(minutes=1)))
    store.vacuum(RAW_PRICES.name, timedelta())
    files = pa.table(store.open(RAW_PRICES.name).get_add_actions(flatten=True))
    return pc.sum(files["size_bytes"]).as_py()


def bytes_of(home: Path) -> dict[str, int]:
    """What each part takes on disk."""
    return {
        part: sum(path.stat().st_size for path in home.glob(pattern) if path.is_file())
        for part, pattern in PARTS.items()
    }


def main() -> None:
    """Let the sessions go by and compare the disk after ten of them with the disk after all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=60, help="sessions that go by, more than ten (60)")
    parser.add_argument("--tickers", type=int, default=4, help="tickers (4)")
    parser.add_argument("--live-runs", type=int, default=2, help="live minutes a session, a run each (2)")
    parser.add_argument("--ticks", type=int, default=100, help="ticks of a sensor a session (100)")
    arguments = parser.parse_args()
    if arguments.sessions <= EARLY:
        parser.error(f"--sessions must be more than {EARLY}: the disk is compared with that after {EARLY}")
    logging.disable(logging.ERROR)
    tickers = tuple(f"T{number:03d}" for number in range(arguments.tickers))
    sessions = sessions_until(LAST_SESSION, arguments.sessions + WINDOW_SESSIONS)
    began: list[datetime] = []
    disk: list[dict[str, int]] = []
    live_bytes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = Store(str(home / "tables"), "simulated", {})
        overrides = {"event_log_storage": event_log(home / "history" / "runs")}
        with dg.DagsterInstance.local_temp(folder, overrides=overrides) as instance:
            for number in range(arguments.sessions):
                began.append(datetime.now(UTC))
                session = sessions[number + WINDOW_SESSIONS]
                window = Window(tuple(sessions[number + 1 : number + 1 + WINDOW_SESSIONS]), tickers)
                trade(instance, window, session, arguments.live_runs, arguments.ticks)
                runs_before = began[max(0, number - RUN_SESSIONS)]
                gone = forget(instance, window, runs_before, began[max(0, number - TICK_SESSIONS)])
                live_bytes.append(write_tables(store, session, tickers, arguments.live_runs))
                disk.append(bytes_of(home))
                parts = ", ".join(f"{part} {size / 1e6:.2f}" for part, size in disk[-1].items())
                took = (datetime.now(UTC) - began[-1]).total_seconds()
                sys.stdout.write(
                    f"{session.label()}: MB {parts}; {gone} runs gone, {instance.get_runs_count()} kept; {took:.1f} s\n"
                )
                sys.stdout.flush()
    figures: dict[str, float] = {"sessions": arguments.sessions, "partitions_a_session": 5 * 390 * len(tickers)}
    for part in PARTS:
        early, late = disk[EARLY - 1][part], disk[-1][part]
        figures |= {
            f"{part}_after_{EARLY}_mb": early / 1e6,
            f"{part}_at_end_mb": late / 1e6,
            f"{part}_ratio": late / early,
        }
    dagsters = [sum(size for part, size in sizes.items() if part != "tables") for sizes in (disk[EARLY - 1], disk[-1])]
    figures |= {f"dagster_after_{EARLY}_mb": dagsters[0] / 1e6, "dagster_at_end_mb": dagsters[1] / 1e6}
    figures["dagster_ratio"] = dagsters[1] / dagsters[0]
    for name, number in ((f"after_{EARLY}", EARLY - 1), ("at_end", -1)):
        figures[f"tables_{name}_over_newest_version"] = disk[number]["tables"] / live_bytes[number]
    report(figures, digits=3)


if __name__ == "__main__":
    main()
