"""Where a message came from: from an alert or a message back to the bars, each row with its table's version and file.

A run writes into its commits which version of each table it read, and a message says it of its pick: so each row is
read as the run saw it. What belongs here: gathering. What does not: what a person sees of it (cli/lineage.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import minute_label, session_before, session_of
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import (
    ALERTS,
    BARS_FETCHED_AT,
    FACTORS,
    FEATURE_ROWS,
    PICKS,
    PREDICTIONS,
    RAW_PRICES,
    RETURN_MODEL,
    TRAINING_SET,
)
from stockpick_assets.core.versions import fetched_until
from stockpick_assets.store import OBJECT, Commit, Store, TableMissing, VersionGone, versions_read

LONGEST_ID = 200
_MINUTE_IN_ID = "%Y-%m-%dT%H:%M:%SZ"
_NOT_KNOWN = "which version was read is not known"
# The same in every step, or shown elsewhere.
_LEFT_OUT = ("session", "minute", "ticker", "source", "message", OBJECT)


class Untraceable(StockpickError):
    """An id that stands for no message and no alert of this store, or a version that the message does not have."""


@dataclass(frozen=True)
class Written:
    """The commit that wrote a row: the table's version then, wall time, and the Dagster run."""

    version: int
    at: datetime
    run_id: str


@dataclass(frozen=True)
class Step:
    """What was read of one table, and what that came from.

    version: of the table, as it is read here. remark: why that may not be what was read at the time, or what is wrong;
    None where there is nothing to say. objects: keys of the files that hold it, relative to the store's address.
    values: the row, or what is to be said of several. rows: those of them that are shown.
    """

    name: str
    table: str | None
    version: int | None
    remark: str | None
    written: Written | None
    objects: Sequence[str]
    values: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    came_from: Sequence["Step"] = ()


@dataclass(frozen=True)
class Lineage:
    """What an id stands for. store: the address that all keys are relative to. message: as it goes out; None where an
    alert stands for no pick. message_versions: of the messages with that id, ascending.
    """

    id: str
    source: str
    store: str
    message: Mapping[str, Any] | None
    message_versions: Sequence[int]
    step: Step


def trace(store: Store, wanted: str, version: int | None, bars: int) -> Lineage:
    """The lineage of the message or alert with the id `wanted`.

    version: of the message; by default the newest, and of an alert the newest that there was when it was raised.
    bars: how many of the ticker's bars are kept of each reading, the newest. Raises Untraceable, and StoreError.
    """
    found = _alert(store, wanted)
    if found is None:
        minute, ticker = _parsed(store.source, wanted)
        return _Trace(store, wanted, minute, ticker, bars).message(version)
    alert, step = found
    remark = "its rule speaks of no minute of one ticker"
    if alert["minute"] is not None and alert["ticker"]:
        try:
            of_pick = _Trace(store, wanted, alert["minute"], alert["ticker"], bars).message(
                version, alert["created_at"]
            )
            return replace(of_pick, step=replace(step, came_from=(of_pick.step,)))
        except (Untraceable, TableMissing) as error:
            remark = str(error)
    step = replace(step, remark=f"the alert stands for no pick: {remark}")
    return Lineage(wanted, store.source, store.uri(""), None, (), step)


@dataclass(frozen=True)
class _Reading:
    """The row that was read of a table, and how far it is what was read at the time. commit: the one that wrote it."""

    row: Mapping[str, Any] | None
    version: int
    remark: str | None
    commit: Commit | None

    def read(self, table: str) -> int | None:
        """The version of the table that the row's run read; None where that is not known."""
        return (self.tables or {}).get(table)

    @property
    def tables(self) -> Mapping[str, int] | None:
        """What its run read; None where its commit does not say, or the log has none."""
        told = self.commit.metadata.get("tables") if self.commit else None
        return None if told is None else json.loads(told)

    def step(self, name: str, table: str, came_from: Sequence[Step] = ()) -> Step:
        remarks = [self.remark, "it has no such row" if self.row is None else None]
        return Step(
            name,
            table,
            self.version,
            "; ".join(remark for remark in remarks if remark) or None,
            _written(self.commit),
            [] if self.row is None else [self.row[OBJECT]],
            _values(self.row or {}),
            came_from=came_from,
        )


@dataclass(frozen=True)
class _Trace:
    """One ticker's minute, followed back. wanted: the id that was asked for. bars: how many are kept of a reading."""

    store: Store
    wanted: str
    minute: datetime
    ticker: str
    bars: int

    @property
    def session(self) -> date:
        return session_of(self.minute).date

    def message(self, version: int | None, until: datetime | None = None) -> Lineage:
        """until: wall time up to which messages were produced; what comes later counts where `version` names it."""
        rows = self.store.read(PICKS.name, **self._ends(), every_version=True)
        picks = self._sent(rows.to_pylist())
        messages = {number: json.loads(row["message"]) for number, row in picks.items()}
        if version is None:
            in_time = [
                number
                for number, message in messages.items()
                if until is None or datetime.fromisoformat(message["produced_at"]) <= until
            ]
            version = max(in_time, default=min(messages))
        if version not in messages:
            raise Untraceable(
                f"{self._shown()} has no message of version {version}; there is {', '.join(map(str, messages))}"
            )
        message = messages[version]
        commit = self._commit(PICKS.name, None, message["run_id"])
        reading = _Reading(picks[version], versions_read(rows)[PICKS.name], None, commit)
        came_from = (
            self._prediction(message["tables"].get(PREDICTIONS.name)),
            self._bars(
                "bars for price and changes",
                message["tables"].get(RAW_PRICES.name),
                session_before(session_of(self.minute)).date,
                datetime.fromisoformat(message["produced_at"]),
            ),
        )
        step = reading.step("pick", PICKS.name, came_from)
        return Lineage(self.wanted, self.store.source, self.store.uri(""), message, list(messages), step)

    def _sent(self, rows: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
        """The picks that go out, by the version of their message, ascending. Raises Untraceable where there is none."""
        by_version = sorted(
            (row for row in rows if row["message"] is not None),
            key=lambda row: (row["message_version"], row["published"]),
        )
        if by_version:
            return {row["message_version"]: row for row in by_version}
        sessions = sorted(self.store.contents(PICKS.name).files)
        if self.session in sessions:
            raise Untraceable(
                f"{self._shown()} has no message: {self.store.source}/picks has no pick of {one_line(self.ticker)} at "
                f"{minute_label(self.minute)} New York that goes out, though it has others of that session"
            )
        held = f"it has {sessions[0]} to {sessions[-1]}" if sessions else "it has none"
        raise Untraceable(
            f"{self._shown()} has no message: {self.store.source}/picks has nothing of the session {self.session}, "
            f"{held}; `stockpick backfill {self.session} {self.session}` makes it"
        )

    def _prediction(self, version: int | None) -> Step:
        reading = self._read(PREDICTIONS.name, version)
        came_from = [self._features(reading.read(FEATURE_ROWS.name))]
        if reading.row and reading.row["model_version"]:
            came_from.append(self._model(reading.row["model_version"]))
        return reading.step("prediction", PREDICTIONS.name, came_from)

    def _features(self, version: int | None) -> Step:
        reading = self._read(FEATURE_ROWS.name, version)
        came_from: list[Step] = []
        if reading.tables is None or FACTORS.name in reading.tables:
            factors = self._read(FACTORS.name, reading.read(FACTORS.name), daily=True)
            came_from.append(factors.step("factors", FACTORS.name))
        stamp = reading.row[BARS_FETCHED_AT] if reading.row else None
        came_from.append(self._bars("bars", reading.read(RAW_PRICES.name), self.session, stamp))
        return reading.step("features", FEATURE_ROWS.name, came_from)

    def _model(self, name: str) -> Step:
        ends = {"to_session": self.session, "located": True}
        # The name ends with the first characters of the id of the run that fitted it.
        run = name.rpartition("-")[2]
        commits = self.store.commits(RETURN_MODEL.name)
        commit = next((commit for commit in commits if commit.metadata.get("run_id", "").startswith(run)), None)
        rows, remark = self.store.read(RETURN_MODEL.name, **ends), None
        row = _of_version(rows, name)
        if row is None and commit is not None:
            then, gone = self._at(RETURN_MODEL.name, commit.version, ends)
            rows, row = (rows, None) if then is None else (then, _of_version(then, name))
            remark = f"the newest has it no more, as its session was fitted again{'; ' + gone if gone else ''}"
        reading = _Reading(row, versions_read(rows)[RETURN_MODEL.name], remark, commit)
        if row is None:
            return replace(reading.step("model", RETURN_MODEL.name), values={"version": name})
        came_from: list[Step] = []
        if row["path"]:
            keys = self.store.keys(row["path"])
            missing = None if keys else "the folder is empty or gone"
            came_from.append(Step("fitted model", None, None, missing, None, keys, {"path": row["path"]}))
        came_from.append(self._training_set(row))
        return reading.step("model", RETURN_MODEL.name, came_from)

    def _training_set(self, model: Mapping[str, Any]) -> Step:
        version, remark = json.loads(model["tables"] or "{}").get(TRAINING_SET.name), None
        sessions: list[date] = model["training_sessions"] or []
        values = {"sessions": sessions, "rows": model["rows"]}
        if not sessions:
            return Step("training set", TRAINING_SET.name, version, "the model was fitted to none", None, [], values)
        try:
            contents = self.store.contents(TRAINING_SET.name, version)
        except VersionGone:
            contents, remark = self.store.contents(TRAINING_SET.name), f"version {version} is no longer kept"
        objects = [f"{TRAINING_SET.name}/{file}" for session in sessions for file in contents.files.get(session, ())]
        if version is None:
            remark = _NOT_KNOWN
        elif set(objects) - set(self.store.keys(TRAINING_SET.name)):
            remark = f"version {version} is no longer kept: some of its files are deleted"
        return Step("training set", TRAINING_SET.name, contents.version, remark, None, objects, values)

    def _bars(self, name: str, version: int | None, first_session: date, until: datetime | None) -> Step:
        """The bars of a session, or from an earlier one on, up to the minute, as they were read.

        until: wall time up to which bars were fetched that were read, for where the version is gone. Of raw_prices
        nothing is ever replaced, so that the newest version has them too.
        """
        ends = {"from_session": first_session, "to_session": self.session, "last": self.minute, "located": True}
        rows, remark = self._at(RAW_PRICES.name, version, ends)
        if rows is None:
            rows = self.store.read(RAW_PRICES.name, **ends, every_version=True)
            told = rows.schema.metadata
            rows = fetched_until(rows, until).replace_schema_metadata(told)
            when = "none was" if until is None else f"until {until.astimezone(UTC).isoformat(sep=' ')}"
            remark = f"{remark}; these are of the newest, what was fetched {when}"
        own = rows.filter(pc.equal(rows["ticker"], pa.scalar(self.ticker)))
        shown = own.slice(max(0, own.num_rows - self.bars)).to_pylist()
        values = {**_counts(own), **{f"{name}_of_all_tickers": count for name, count in _counts(rows).items()}}
        return Step(
            name,
            RAW_PRICES.name,
            versions_read(rows)[RAW_PRICES.name],
            remark,
            None,
            sorted({row[OBJECT] for row in shown}),
            values,
            [{name: value for name, value in row.items() if name not in ("ticker", "source")} for row in shown],
        )

    def _read(self, name: str, version: int | None, *, daily: bool = False) -> _Reading:
        """The row of the ticker, and of the minute unless the table is `daily`, at the version; else at the newest."""
        ends = self._ends(daily=daily)
        rows, gone = self._at(name, version, ends)
        commit = None if version is None else self._commit(name, version)
        if rows is not None:
            return _Reading(_last(rows), versions_read(rows)[name], None, commit)
        rows, newest = self.store.read(name, **ends), self._commit(name)
        since = "which may have been written again"
        if commit is not None and newest is not None:
            since = f"where run {newest.metadata['run_id']} wrote it again"
            if commit.version == newest.version:
                since = "where the row is still the same"
        remark = f"{gone}; this is the newest, {since}"
        return _Reading(_last(rows), versions_read(rows)[name], remark, commit or newest)

    def _at(self, name: str, version: int | None, ends: Mapping[str, Any]) -> tuple[pa.Table | None, str | None]:
        """Rows at the version; or None, and why there are none."""
        if version is None:
            return None, _NOT_KNOWN
        try:
            return self.store.read(name, **ends, version=version), None
        except VersionGone:
            return None, f"version {version} is no longer kept"

    def _commit(self, name: str, version: int | None = None, run_id: str | None = None) -> Commit | None:
        """The newest commit up to the version that wrote the ticker's minute; None where the log has it no more."""
        try:
            for commit in self.store.commits(name, version):
                if self._covers(commit) and run_id in (None, commit.metadata["run_id"]):
                    return commit
        except VersionGone:
            pass
        return None

    def _covers(self, commit: Commit) -> bool:
        start, end = (commit.metadata.get(f"partition_{end}") for end in ("start", "end"))
        if start is None or end is None:  # a compaction
            return False
        if "|" not in start:
            return start <= self.session.isoformat() <= end
        (first, first_ticker), (last, last_ticker) = (key.split("|", 1) for key in (start, end))
        return first <= minute_label(self.minute) <= last and first_ticker <= self.ticker <= last_ticker

    def _ends(self, *, daily: bool = False) -> dict[str, Any]:
        minute = {} if daily else {"first": self.minute, "last": self.minute}
        session = {"from_session": self.session, "to_session": self.session}
        return {**session, **minute, "from_ticker": self.ticker, "to_ticker": self.ticker, "located": True}

    def _shown(self) -> str:
        return one_line(self.wanted, LONGEST_ID)


def _alert(store: Store, wanted: str) -> tuple[dict[str, Any], Step] | None:
    """The alert with that id, and its step; None where there is none."""
    rows = store.read_if_written(ALERTS.name, located=True)
    row = _last(rows.filter(pc.equal(rows["id"], pa.scalar(wanted))))
    if row is None:
        return None
    return row, Step("alert", ALERTS.name, versions_read(rows)[ALERTS.name], None, None, [row[OBJECT]], _values(row))


def _parsed(source: str, wanted: str) -> tuple[datetime, str]:
    """Minute and ticker of a message's id. Raises Untraceable where it is none of the source."""
    shown = one_line(wanted, LONGEST_ID)
    told, _, rest = wanted.partition("/")
    minute, _, ticker = rest.partition("/")
    try:
        at = datetime.strptime(minute, _MINUTE_IN_ID).replace(tzinfo=UTC)
    except ValueError:
        at = None
    if at is None or not ticker:
        raise Untraceable(
            f"{source}/alerts has no alert {shown}, and it is no id of a message; one is written "
            "source/minute/ticker, as in simulated/2026-11-23T14:30:00Z/AAPL"
        )
    if told != source:
        raise Untraceable(
            f"{shown} is of the source {one_line(told)}, and the settings have {source}; set STOCKPICK_SOURCE to read "
            "another's tables"
        )
    if "/" in ticker:
        raise Untraceable(
            f"{source}/alerts has no alert {shown}; a message of its minute would have the id "
            f"{one_line('/'.join(wanted.split('/')[:3]), LONGEST_ID)}"
        )
    return at, ticker


def _counts(rows: pa.Table) -> dict[str, Any]:
    """Of rows RAW_PRICES: how many there are, how many are bars, and when the newest of these was fetched."""
    bars = rows.filter(pc.equal(rows["reason"], pa.scalar(Reason.PRESENT.value)))
    return {"minutes": rows.num_rows, "bars": bars.num_rows, "newest_fetched_at": pc.max(bars["fetched_at"]).as_py()}


def _of_version(models: pa.Table, version: str) -> dict[str, Any] | None:
    return _last(models.filter(pc.equal(models["version"], pa.scalar(version))))


def _last(rows: pa.Table) -> dict[str, Any] | None:
    return rows.slice(rows.num_rows - 1).to_pylist()[0] if rows.num_rows else None


def _written(commit: Commit | None) -> Written | None:
    return None if commit is None else Written(commit.version, commit.at, commit.metadata.get("run_id", ""))


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _LEFT_OUT}
