"""What goes in and out of assets: Delta tables, and the model through MLlib's own save.

An asset's input says how far it reads (`Extent`); the IO manager turns that and the run's partitions into one read.
It refuses to write rows that the run has no partition for, another schema than the declared one, or another source.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from dagster_pyspark import PySparkResource
from pydantic import PrivateAttr
from pyspark.ml import PipelineModel

from stockpick_assets import __version__
from stockpick_assets.champions import champions_of
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import (
    MINUTE,
    Session,
    minute_from_label,
    minute_label,
    session_before,
    session_of,
    sessions_until,
)
from stockpick_assets.core.schemas import PICKS, RAW_PRICES, RETURN_MODEL, TABLES
from stockpick_assets.core.versions import new_versions, picks_kept
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.spark.scoring import FITTED_OF, Model, SessionModels, load, save
from stockpick_assets.store import CommitRefused, Store, TableMissing, versions_read

EXTENT = "extent"
# At the stored rows, when another commit comes before each own one: three runs of a minute each need three at most.
LOOKS = 11
Committed = TypeVar("Committed")


class RefusedRows(StockpickError):
    """An asset's output that must not be written."""


class Extent(StrEnum):
    """How far an input reads, given the partitions of the run."""

    PARTITIONS = "partitions"  # the run's own minutes and tickers
    MINUTES = "minutes"  # the run's minutes, every ticker
    SESSION_SO_FAR = "session_so_far"  # from the opening to the run's last minute, every ticker
    TWO_SESSIONS = "two_sessions"  # the session so far, and the whole session before it
    SESSION = "session"  # the sessions of the run, whole


@dataclass(frozen=True)
class Bounds:
    """The corners of a run's partitions: sessions alone, or minutes and tickers too. All ends are included."""

    sessions: tuple[date, date]
    minutes: tuple[datetime, datetime] | None = None
    tickers: tuple[str, str] | None = None

    @classmethod
    def of(cls, keys: dg.PartitionKeyRange) -> "Bounds":
        """Bounds of a run; the keys are sessions, or `minute|ticker`."""
        if "|" not in keys.start:
            return cls((date.fromisoformat(keys.start), date.fromisoformat(keys.end)))
        (first, first_ticker), (last, last_ticker) = (key.split("|", 1) for key in (keys.start, keys.end))
        minutes = (minute_from_label(first), minute_from_label(last))
        sessions = (session_of(minutes[0]).date, session_of(minutes[1]).date)
        return cls(sessions, minutes, (first_ticker, last_ticker))

    def conditions(self) -> list[tuple[str, str, Any]]:
        """The bounds as (column, operator, value)."""
        conditions = [("session", ">=", self.sessions[0]), ("session", "<=", self.sessions[1])]
        for column, ends in (("minute", self.minutes), ("ticker", self.tickers)):
            if ends:
                conditions += [(column, ">=", ends[0]), (column, "<=", ends[1])]
        return conditions

    def sql(self, tickers: Sequence[str] = ()) -> str:
        """The bounds as a predicate of delta-rs; every value in it is quoted.

        tickers: of these alone, should there be others between the bounds: rows of tickers that have left the window.
        """

        def literal(value: date | datetime | str) -> str:
            if isinstance(value, datetime):
                return f"arrow_cast('{value:%Y-%m-%dT%H:%M:%S}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"
            return "'" + str(value).replace("'", "''") + "'"

        parts = [f"{column} {operator} {literal(value)}" for column, operator, value in self.conditions()]
        if tickers:
            parts.append(f"ticker IN ({', '.join(map(literal, tickers))})")
        return " AND ".join(parts)


class TableIOManager(dg.ConfigurableIOManager):
    """Arrow tables in and out of the Delta table that has the asset's name.

    live_job: the job whose commits say how long after the close they came.
    """

    tables: dg.ResourceDependency[Tables]
    now: dg.ResourceDependency[Now]
    live_job: str
    _since: float = PrivateAttr(default_factory=monotonic)  # the last commit of the run, or its beginning
    # By step: the version of each table that it read.
    _versions: dict[str, dict[str, int]] = PrivateAttr(default_factory=dict[str, dict[str, int]])

    def handle_output(self, context: dg.OutputContext, obj: pa.Table) -> None:
        """Commit the rows in place of those of the same partitions; bars are appended where they are new or differ,
        and picks that went out stay (core/versions.py).

        Raises RefusedRows, and StoreError when the commit fails.
        """
        store, name = self.tables.store(), context.asset_key.path[-1]
        keys = context.step_context.partition_key_range
        bounds = Bounds.of(keys)
        _check(obj, name, bounds, store.source)
        metadata = commit_metadata(context.run_id, keys, self._versions.get(context.step_context.step.key))
        if name == RAW_PRICES.name:
            version, added = append_new_versions(store, obj, bounds, metadata, self.now)
            context.add_output_metadata({"new versions": added})
        else:
            # Rows of tickers that have left the window stay; a session's own rows are one whole.
            tickers: list[Any] = pc.unique(obj["ticker"]).to_pylist() if bounds.tickers else []
            if name == PICKS.name:
                version = replace_picks(store, obj, bounds, bounds.sql(tickers), metadata)
            else:
                version = store.replace(name, obj, bounds.sql(tickers), metadata)
        committed, speed = {"table": store.uri(name), "table version": version}, self._speed(obj.num_rows)
        context.log.info(f"{name}: {obj.num_rows:,} rows answered, {speed['rows/s']:,} a second")
        context.add_output_metadata(committed | speed | self._latency(context, bounds))

    def _speed(self, rows: int) -> dict[str, float]:
        """Metadata of a commit: the seconds since the run's last one, for its rows."""
        seconds, self._since = monotonic() - self._since, monotonic()
        return {"seconds": round(seconds, 3), "rows/s": round(rows / seconds)}

    def _latency(self, context: dg.OutputContext, bounds: Bounds) -> dict[str, float]:
        """Metadata of a commit of a live run: the seconds of wall time since its newest minute closed."""
        if context.job_name != self.live_job or bounds.minutes is None:
            return {}
        return {"seconds after close": round(-self.now.seconds_until(bounds.minutes[1] + MINUTE), 3)}

    def load_input(self, context: dg.InputContext) -> pa.Table:
        """The rows that the input's extent names, in key order.

        A table that was never written is the empty table for an input that declares `may_be_missing`, and raises
        TableMissing for any other.
        """
        declared = context.definition_metadata or {}
        extent = Extent(declared.get(EXTENT, Extent.PARTITIONS))
        name = context.asset_key.path[-1]
        bounds = Bounds.of(context.step_context.partition_key_range)
        try:
            rows = read(self.tables.store(), name, extent, bounds)
        except TableMissing:
            if declared.get("may_be_missing"):
                return TABLES[name].empty()
            raise
        self._versions.setdefault(context.step_context.step.key, {}).update(versions_read(rows))
        return rows


@dataclass(frozen=True)
class NewModels:
    """What return_model hands over: its rows of RETURN_MODEL but for the paths, and what was fitted, by kind."""

    rows: Sequence[Mapping[str, Any]]
    pipelines: Mapping[str, PipelineModel]


class ModelIOManager(dg.ConfigurableIOManager):
    """Models in and out of the store: MLlib saves and loads them, return_model says which are for which session.

    cost_bp: what forecasts are graded at.
    """

    tables: dg.ResourceDependency[Tables]
    pyspark: dg.ResourceDependency[PySparkResource]
    cost_bp: float

    def handle_output(self, context: dg.OutputContext, obj: NewModels) -> None:
        """Save the models beside the tables, then commit their rows: a row never names a model that is not there."""
        store, name = self.tables.store(), context.asset_key.path[-1]
        keys = context.step_context.partition_key_range
        paths: dict[str, str] = {}
        for row in obj.rows:
            if row["kind"] in obj.pipelines:
                # Not below the table's own folder, where a vacuum removes what is not the table's.
                folder = f"models/{row['session']}/{row['version']}"
                paths[row["kind"]] = f"{folder}/{save(obj.pipelines[row['kind']], _spark_uri(store, folder))}"
        located = [{**row, "path": paths.get(FITTED_OF.get(row["kind"], ""))} for row in obj.rows]
        rows = pa.Table.from_pylist(located, schema=RETURN_MODEL.columns)
        _check(rows, name, Bounds.of(keys), store.source)
        version = store.replace(name, rows, Bounds.of(keys).sql(), commit_metadata(context.run_id, keys))
        context.add_output_metadata(
            {"table": store.uri(name), "table version": version, "models": ", ".join(paths.values()) or "none"}
        )

    def load_input(self, context: dg.InputContext) -> dict[date, SessionModels]:
        """The models of the run's sessions, by session; a session that has none is not in it. Raises ModelMismatch."""
        store = self.tables.store()
        try:
            rows = read(store, RETURN_MODEL.name, Extent.SESSION, Bounds.of(context.step_context.partition_key_range))
        except TableMissing:
            return {}
        _ = self.pyspark.spark_session  # MLlib loads into the session that is active
        fitted: dict[str | None, Any] = {None: None}  # linear and average name one folder

        def model(row: Mapping[str, Any]) -> Model:
            path = row["path"]
            if path not in fitted:
                made_of = (row["features"], row["features_digest"])
                fitted[path] = load(_spark_uri(store, path), row["kind"], row["version"], *made_of)
            return Model(
                kind=row["kind"],
                version=row["version"],
                fitted=fitted[path],
                cost_bp=row["cost_bp"],
                calibration=row["calibration"],
                return_per_score=row["expected_return_per_score"],
                obtainable_per_score=row["expected_obtainable_per_score"],
                abstain=row["abstain"],
            )

        candidates = defaultdict[date, list[Model]](list)
        for row in rows.to_pylist():
            candidates[row["session"]].append(model(row))
        champions = champions_of(store, rows, self.cost_bp)
        return {session: SessionModels(model(champions[session]), tuple(of)) for session, of in candidates.items()}


def _spark_uri(store: Store, path: str) -> str:
    """Where Spark finds what delta-rs finds at `store.uri(path)`."""
    return store.uri(path).replace("s3://", "s3a://", 1)


def read(store: Store, name: str, extent: Extent, bounds: Bounds, *, every_version: bool = False) -> pa.Table:
    """The rows of a table within an extent of the bounds. Raises TableMissing, StoreError."""
    from_session, to_session = bounds.sessions
    of_sessions = partial(
        store.read, name, from_session=from_session, to_session=to_session, every_version=every_version
    )
    if extent is Extent.SESSION or bounds.minutes is None or bounds.tickers is None:
        return of_sessions()
    first, last = bounds.minutes
    opening = session_of(first)
    if extent is Extent.MINUTES:
        return of_sessions(first=first, last=last)
    if extent is Extent.SESSION_SO_FAR:
        return of_sessions(first=opening.open, last=last)
    if extent is Extent.TWO_SESSIONS:
        return store.read(name, from_session=session_before(opening).date, to_session=to_session, last=last)
    from_ticker, to_ticker = bounds.tickers
    return of_sessions(first=first, last=last, from_ticker=from_ticker, to_ticker=to_ticker)


def earlier(store: Store, name: str, session: Session, count: int, columns: Sequence[str] = ()) -> pa.Table:
    """The rows of a table of up to `count` sessions before one; none where the table was never written.

    Raises StoreError.
    """
    first = sessions_until(session_before(session).date, count)[0]
    return store.read_if_written(name, columns, from_session=first.date, before=session.date)


def commit_metadata(
    run_id: str, keys: dg.PartitionKeyRange, tables: Mapping[str, int] | None = None
) -> Mapping[str, str]:
    """What every commit says of itself: the lineage from a row back to the run that wrote it, and to what that read.

    tables: the version of each table that was read; what was not there is not in it. None where no input was read by
    an IO manager.
    """
    read = {} if tables is None else {"tables": json.dumps(tables)}
    return {
        "run_id": run_id,
        "partition_start": keys.start,
        "partition_end": keys.end,
        "code_version": __version__,
        **read,
    }


def _check(rows: pa.Table, name: str, bounds: Bounds, source: str) -> None:
    declared = TABLES[name].columns
    if not rows.schema.equals(declared):
        wrong = sorted(set(map(str, rows.schema)) ^ set(map(str, declared)))
        raise RefusedRows(f"{name}: the rows have another schema than the declared one; they differ in {wrong}")
    if rows.num_rows == 0:
        if bounds.minutes:
            raise RefusedRows(
                f"{name}: there is no row of the run's partitions ({bounds.sql()}), which would then be materialized "
                "and empty; materialize the assets that it reads for them first"
            )
        return
    strangers = pc.unique(rows["source"].combine_chunks()).to_pylist()
    if strangers != [source]:
        raise RefusedRows(f"{name}: rows of source {strangers} do not belong into the table of {source}")
    for column, operator, end in bounds.conditions():
        value = pc.min(rows[column]).as_py() if operator == ">=" else pc.max(rows[column]).as_py()
        if value is None or (value < end if operator == ">=" else value > end):
            label = minute_label if isinstance(end, datetime) else str
            found = "none" if value is None else label(value)
            raise RefusedRows(
                f"{name}: a row has {column} {found}, outside the run's partitions ({operator} {label(end)})"
            )


def append_new_versions(
    store: Store, rows: pa.Table, bounds: Bounds, metadata: Mapping[str, str], now: Now
) -> tuple[int, int]:
    """Append the rows of an answer that are new versions of bars; the table's version then, and how many they were.

    Raises what `_upon_newest` raises: two runs of the same minutes at one time would both find them new.
    """

    def commit(stored: pa.Table, after: int) -> tuple[int, int]:
        wall = now.wall()
        new = new_versions(rows, stored, now.clock.at(wall), wall)
        return (store.append(RAW_PRICES.name, new, metadata, after), new.num_rows) if new.num_rows else (after, 0)

    return _upon_newest(store, RAW_PRICES.name, bounds, commit)


def replace_picks(store: Store, made: pa.Table, bounds: Bounds, predicate: str, metadata: Mapping[str, str]) -> int:
    """Commit what picks holds of the partitions once `made` is there (core/versions.py); returns the new version.

    Raises what `_upon_newest` raises: of two runs of the same minutes at one time the later would take away what the
    earlier one published.
    """

    def commit(stored: pa.Table, after: int) -> int:
        return store.replace(PICKS.name, picks_kept(made, stored), predicate, metadata, after)

    return _upon_newest(store, PICKS.name, bounds, commit, every_version=True)


def _upon_newest(
    store: Store,
    name: str,
    bounds: Bounds,
    commit: Callable[[pa.Table, int], Committed],
    *,
    every_version: bool = False,
    looks: int = LOOKS,
) -> Committed:
    """What `commit` answers to the rows that the table has of the partitions, and its version that has them.

    Where another commit comes between the look and that one, it looks again. Raises CommitRefused when that was so each
    time or no other came, and StoreError.
    """
    try:
        stored = read(store, name, Extent.PARTITIONS, bounds, every_version=every_version)
        after = versions_read(stored)[name]
    except TableMissing:
        stored, after = TABLES[name].empty(), 0
    try:
        return commit(stored, after)
    except CommitRefused:
        if looks == 1 or store.version(name) == after:
            raise
    return _upon_newest(store, name, bounds, commit, every_version=every_version, looks=looks - 1)
