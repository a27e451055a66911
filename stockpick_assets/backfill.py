"""Works through whole sessions in this process, against the real Dagster instance: what `stockpick backfill` does.

Sessions are done one after the other, because a session's predictions need the model that earlier ones train, and
because a run holds all its rows: five sessions in one would take the memory of five. What the tables hold is done, and
nothing else says so: a backfill that was stopped goes on where they end.
"""

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

import dagster as dg
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_shared.error import SerializableErrorInfo

from stockpick_assets.core.due import daily_work, due_minutes
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session, last_closed_minute
from stockpick_assets.core.quality import FINAL
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.jobs import BACKFILL, FLOW
from stockpick_assets.partitions import Selection, Window
from stockpick_assets.sensors.after_close import has_session
from stockpick_assets.sensors.live import IN_PROGRESS, rows_by_minute
from stockpick_assets.services.process import START_TIME_TOLERANCE_SECONDS
from stockpick_assets.store import Store, TableMissing

PROCESS = "stockpick/process"  # the tag of each run made here: host, id and start of its process, and the run's id
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BackfillFailed(StockpickError):
    """A run of the backfill failed; the message names it and its first error."""


@dataclass(frozen=True)
class Step:
    """One run: a job, which of its assets, and the partitions it is for."""

    job: str
    label: str
    assets: tuple[str, ...]
    selection: Selection | None = None
    session: Session | None = None


def plan(
    window: Window, sessions: Sequence[Session], tickers: Sequence[str], now: datetime, delay: timedelta
) -> Iterator[Step]:
    """The runs for the sessions, oldest first: the flow of a session, and the daily work that follows its close.

    Minutes that have not closed at market time `now` are left out. The daily assets are only made of sessions that
    are over, and for all tickers.
    """
    for session in sorted(sessions):
        closed = last_closed_minute(session, now, delay)
        if closed is None:
            continue
        for chosen in _runs_of_tickers(window, tickers):
            selection = window.select(session.open, closed, chosen)
            yield Step(BACKFILL, _label(selection), FLOW, selection=selection)
        if closed == session.last_minute and not tickers:
            for due in daily_work(session, window.following(session)):
                label = f"{due.session.label()} {due.asset.replace('_', ' ')}"
                yield Step(due.asset, label, (due.asset,), session=due.session)


def missing(store: Store, steps: Iterable[Step]) -> Iterator[Step]:
    """What of the steps, in the order of `plan`, the tables do not hold. Raises StoreError.

    Of a session's flow: the minutes from the first that lacks a ticker in some table, and the assets from the first
    that lacks rows, as those after it were not made of them. Its daily work is made again with it.
    """
    lacking = None
    for step in steps:
        if step.selection is not None:
            lacking = _lacking(store, step, step.selection)
        elif lacking is not None or (step.session is not None and not has_session(store, step.job, step.session)):
            lacking = step
        if lacking is not None:
            yield lacking


def _lacking(store: Store, step: Step, selection: Selection) -> Step | None:
    (session,) = selection.sessions
    tickers = len(selection.tickers)
    found = [due_minutes(session, _answered(store, asset, selection), tickers, selection.last) for asset in step.assets]
    firsts = [due.first for due in found if due is not None]
    if not firsts:
        return None
    rest = selection.window.select(min(firsts), selection.last, selection.tickers)
    begins = next(number for number, due in enumerate(found) if due is not None)
    return replace(step, label=_label(rest), assets=step.assets[begins:], selection=rest)


def _answered(store: Store, table: str, selection: Selection) -> Counter[datetime]:
    """How many of the selection's tickers have a row, by minute; of raw_prices one that asking again cannot change."""
    bars = table == RAW_PRICES.name
    (session,) = selection.sessions
    try:
        rows = store.read(
            table,
            from_session=session.date,
            to_session=session.date,
            first=selection.first,
            last=selection.last,
            columns=["minute", "ticker", *(["reason"] if bars else [])],
        )
    except TableMissing:
        return Counter()
    chosen = rows.filter(pc.is_in(rows["ticker"], pa.array(selection.tickers)))
    if bars:
        chosen = chosen.filter(pc.is_in(chosen["reason"], pa.array(sorted(FINAL))))
    return rows_by_minute(chosen)


def _label(selection: Selection) -> str:
    return f"{selection.sessions[0].label()} {selection.size:,} partitions"


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, step: Step, on_asset: Callable[[str], None]) -> None:
    """Run one step to its end; `on_asset` is told of each asset as it is done. Raises BackfillFailed."""
    run_id = str(uuid4())

    def listen(event: dg.EventLogEntry) -> None:
        done = event.dagster_event
        asset = (done.step_key or "").split("__")[-1] if done is not None and done.is_step_success else None
        if asset in step.assets:  # and no check
            on_asset(asset)

    instance.add_event_listener(run_id, listen)
    job = definitions.resolve_job_def(step.job)
    keys = job.asset_layer.selected_asset_keys
    chosen = [key for key in keys if key.path[-1] in step.assets]
    result = job.execute_in_process(
        instance=instance,
        run_id=run_id,
        asset_selection=chosen if len(chosen) < len(keys) else None,
        run_config=QUIET,
        tags={PROCESS: _process_of(run_id), **(step.selection.tags() if step.selection else {})},
        partition_key=step.session.label() if step.session else None,
        raise_on_error=False,
    )
    if any(_is_interruption(event) for event in result.all_events):
        raise KeyboardInterrupt  # Dagster made it the run's failure
    if not result.success:
        causes = (cause for event in result.all_events if (cause := _cause(event)))
        why = next(causes, "the run did not start a step")
        raise BackfillFailed(f"run {run_id[:8]} ({step.job}, {step.label}) failed: {why}")


def fail_runs_left_behind(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed the runs at work whose process on this machine was killed; returns their ids.

    Until `max_runtime_seconds` of dagster.yaml nothing else does: the queue and the window would wait for them.
    """
    at_work = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
    left = [run for run in at_work if PROCESS in run.tags and _was_killed(run)]
    for run in left:
        instance.report_run_failed(run, "its process was killed; a backfill goes on where the tables end")
    return [run.run_id for run in left]


def _process_of(run_id: str) -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time()}:{run_id}"


def _was_killed(run: dg.DagsterRun) -> bool:
    host, pid, began, run_id = run.tags[PROCESS].rsplit(":", 3)
    if (host, run_id) != (socket.gethostname(), run.run_id):  # a retry has the tags of the run that it repeats
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(began)) > START_TIME_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return True


def _step_error(event: dg.DagsterEvent) -> SerializableErrorInfo | None:
    """The error that made a step fail, without what Dagster wraps it in; None for any other event."""
    error = event.step_failure_data.error if event.is_step_failure else None
    return error.cause or error if error else None


def _is_interruption(event: dg.DagsterEvent) -> bool:
    error = _step_error(event)
    return error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__


def _cause(event: dg.DagsterEvent) -> str | None:
    """What made a step or a resource fail, in the words of the error behind it; None for any other event."""
    if event.is_step_failure:
        error = _step_error(event)
        return f"{event.step_key}: {error.message.strip() if error else 'unknown'}"
    if event.event_type is dg.DagsterEventType.RESOURCE_INIT_FAILURE and event.engine_event_data.error:
        return event.engine_event_data.error.message.strip()
    return None


def _runs_of_tickers(window: Window, tickers: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The chosen tickers as runs that are consecutive in key order: a run of Dagster is one rectangle of partitions."""
    if not tickers:
        yield window.tickers
        return
    window.select(window.sessions[0].open, window.sessions[0].open, tickers)
    run: list[str] = []
    for ticker in window.tickers:
        if ticker in tickers:
            run.append(ticker)
        elif run:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)
