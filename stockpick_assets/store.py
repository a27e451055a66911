"""The tables: where they are, how they are read and written. Shared by the IO manager, the command line and the app.

Delta tables written by delta-rs, one an asset, at `<root>/<source>/<table>`, partitioned by session. What belongs
here: locations, reading, committing, compacting. What does not: what the rows mean, and anything of Dagster.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileType, PyFileSystem

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.core.versions import last_of_each

if TYPE_CHECKING:
    from stockpick_assets.settings import Settings

WRITER = WriterProperties(compression="ZSTD")
# Of a commit that was refused. A live minute meets a compaction of its session every twenty minutes, at most.
REPETITIONS = 5

OBJECT = "object"
_FILE = "__filename"  # as Arrow calls it
# How many commits are looked at first, and then, and then all: each is an object that has to be fetched.
_COMMITS_LOOKED_AT = (20, 400, None)

# What delta-rs says of a version that the log has not, or has no more.
_NOT_IN_LOG = re.compile("No files in log segment|LogSegment end version|No table metadata or protocol found")
# Of an error of object_store: the arrow before each of its steps, what an S3 service says of itself, and what comes
# before it, in one line, when rows could not be written or read.
_STEP = re.compile(r"\s*(?:\x1b\[\d+m)?↳(?:\x1b\[0m)?\s*")
_ANSWER = re.compile(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", re.DOTALL)
_OF_ROWS = "Failed to parse parquet: External: "


class StoreError(StockpickError):
    """The store answered with an error; nothing is known about the rows that were asked for."""


class CommitRefused(StoreError):
    """A commit failed, as a rule because another was first that changed what it had read."""


class TableMissing(StoreError):
    """The table has not been written yet."""


class VersionGone(StoreError):
    """The table is there, and that version of it is not kept any more, or never was."""


@dataclass(frozen=True)
class Commit:
    """What a table's log says of one of its versions. at: wall time. metadata: what was given with the commit, and what
    delta-rs says of it.
    """

    version: int
    at: datetime
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a table's log says it holds at a version: nothing of its data is read.

    rows: their number, every version of a row counted. newest: start of its newest bar; None where it has no row, or
    no minutes. files: session to the names of the files that its rows stand in.
    """

    version: int
    rows: int
    newest: datetime | None
    files: Mapping[date, Sequence[str]]


@dataclass(frozen=True)
class Store:
    """The tables of one source below one root.

    root: `s3://<bucket>` or a local folder. options: delta-rs storage options (see `s3_options`).
    """

    root: str
    source: str
    options: Mapping[str, str] = field(repr=False)  # with the keys of the object store

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Store":
        """The tables of the settings' source, in its bucket or, where one is named, its folder."""
        if settings.store_root:
            return cls(settings.store_root, settings.source, {})
        options = s3_options(
            settings.s3_endpoint,
            settings.s3_access_key.get_secret_value(),
            settings.s3_secret_key.get_secret_value(),
            settings.s3_region,
        )
        return cls(f"s3://{settings.s3_bucket}", settings.source, options)

    def uri(self, name: str) -> str:
        """Where a table, or a folder beside the tables, is."""
        return f"{self.root.rstrip('/')}/{self.source}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the table has been written. Raises StoreError when the store does not answer."""
        with self._errors(name, "look for"):
            return DeltaTable.is_deltatable(self.uri(name), dict(self.options))

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """The Delta table. Raises TableMissing before its first commit, VersionGone where its log has not the version,
        StoreError when the store does not answer.
        """
        with self._errors(name, "open", version):
            return DeltaTable(self.uri(name), version=version, storage_options=dict(self.options))

    def version(self, name: str) -> int:
        """The table's newest version. Raises TableMissing, StoreError."""
        return self.open(name).version()

    def commits(self, name: str, version: int | None = None) -> Iterator[Commit]:
        """The commits up to a version, newest first, as far back as the log goes. Raises TableMissing, StoreError."""
        until = self.version(name) if version is None else version
        for limit in _COMMITS_LOOKED_AT:
            history = self._history(name, limit)
            for entry in history:
                if entry["version"] <= until:
                    yield Commit(entry["version"], datetime.fromtimestamp(entry["timestamp"] / 1000, UTC), entry)
                    until = entry["version"] - 1
            if limit is None or len(history) < limit:
                return

    def _history(self, name: str, limit: int | None) -> list[dict[str, Any]]:
        # delta-rs numbers the commits from the version that is open, and lists those that have come since too.
        for _ in range(REPETITIONS):
            table = self.open(name)
            with self._errors(name, "read the log of"):
                history = table.history(limit)
            if self.version(name) == table.version():
                return history
        raise StoreError(
            f"could not read the log of table {name} at {self.uri(name)}: it had a new commit each of {REPETITIONS} "
            "times; try again"
        )

    def keys(self, folder: str) -> list[str]:
        """What is below a folder beside the tables: keys relative to `uri("")`, ascending. Raises StoreError."""
        with self._errors(folder, "list"):
            handler: Any = DeltaStorageHandler(self.uri(""), dict(self.options))
            below = PyFileSystem(handler).get_file_info(FileSelector(folder, allow_not_found=True, recursive=True))
        return sorted(file.path for file in below if file.type is FileType.File)

    def contents(self, name: str, version: int | None = None) -> Contents:
        """What the table holds, as its log says. Raises VersionGone, TableMissing, StoreError."""
        table = self.open(name, version)
        with self._errors(name, "read the log of"):
            actions = pa.table(table.get_add_actions(flatten=True))
        newest = pc.max(actions["max.minute"]).as_py() if "max.minute" in actions.column_names else None
        rows, files = 0, defaultdict[date, list[str]](list)
        for file in actions.select(["path", "num_records", "partition.session"]).to_pylist():
            rows += file["num_records"]
            files[file["partition.session"]].append(file["path"])
        return Contents(table.version(), rows, newest, dict(files))

    def newest(self, name: str) -> datetime | None:
        """Start of the table's newest bar; None where it has no row. Raises TableMissing, StoreError."""
        return self.contents(name).newest

    def read(
        self,
        name: str,
        *,
        from_session: date | None = None,
        to_session: date | None = None,
        before: date | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        from_ticker: str | None = None,
        to_ticker: str | None = None,
        columns: Sequence[str] = (),
        version: int | None = None,
        opened: DeltaTable | None = None,
        as_of: datetime | None = None,
        every_version: bool = False,
        located: bool = False,
    ) -> pa.Table:
        """Rows in key order, of all sessions, minutes and tickers between the given ends; an end left out is open.

        All ends are included but `before`, a session. Of a bar that was written several times the newest is returned,
        of a pick the published one, unless `every_version` is asked for. as_of: of bars, what was known at that market
        time. located: with a last column OBJECT, the key of the file that the row stands in, relative to `uri("")`.
        opened: the table, of which several reads then see one version. The answer's schema metadata names the table and
        the version that was read.
        Rows that are not there are missing from the answer; a table that is not there raises TableMissing, a version
        that is not kept VersionGone, and a read that fails StoreError.
        """
        schema = TABLES[name]
        ends = (
            ("session", ">=", from_session),
            ("session", "<=", to_session),
            ("session", "<", before),
            ("minute", ">=", first),
            ("minute", "<=", last),
            ("ticker", ">=", from_ticker),
            ("ticker", "<=", to_ticker),
            ("known_at", "<=", as_of),
        )
        filters: list[tuple[str, str, Any]] = [end for end in ends if end[2] is not None]
        if "published" in schema.columns.names and not every_version:
            filters.append(("published", "=", True))
        newest = "fetched_at" if "fetched_at" in schema.columns.names and not every_version else None
        wanted = list(columns) or schema.columns.names
        read: list[str] = list(dict.fromkeys([*wanted, *schema.key, *([newest] if newest else [])]))
        table = opened or self.open(name, version)
        self._require(name, table)
        with self._errors(name, "read", version):
            found = table.to_pyarrow_table(columns=[*read, *([_FILE] if located else [])], filters=filters or None)
        rows = found.select(read).cast(pa.schema([schema.columns.field(column) for column in read]))
        if located:
            rows = rows.append_column(OBJECT, pa.array([f"{name}/{file}" for file in found[_FILE].to_pylist()]))
            wanted = [*wanted, OBJECT]
        rows = rows.sort_by([(column, "ascending") for column in (*schema.key, *([newest] if newest else []))])
        if newest:
            rows = last_of_each(rows, schema.key)
        return rows.select(wanted).replace_schema_metadata({"table": name, "version": str(table.version())})

    def read_if_written(self, name: str, columns: Sequence[str] = (), **ends: Any) -> pa.Table:
        """As `read`; no rows of a table that was never written. Raises StoreError."""
        try:
            return self.read(name, columns=columns, **ends)
        except TableMissing:
            return TABLES[name].empty().select(list(columns) or TABLES[name].columns.names)

    def replace(
        self, name: str, rows: pa.Table, predicate: str, metadata: Mapping[str, str], after: int | None = None
    ) -> int:
        """Commit `rows` in place of those that `predicate` (SQL) selects, as one commit; returns the new version.

        rows: exactly the table's declared schema. metadata: kept with the commit. A commit that was refused because
        another came first is done again from the beginning, on the table as it is then. Raises StoreError.

        after: the version that the rows were chosen by, as of `append`; a commit that was refused is then not done
        again, and raises CommitRefused.
        """
        for _ in range(REPETITIONS if after is None else 0):
            with suppress(CommitRefused):
                return self._write(name, rows, metadata, predicate)
        return self._write(name, rows, metadata, predicate, after)

    def append(self, name: str, rows: pa.Table, metadata: Mapping[str, str], after: int | None = None) -> int:
        """Commit `rows` beside those that are there; returns the new version. Raises StoreError.

        after: the version that the rows were chosen by, 0 where there was no table; raises CommitRefused where the
        table has a later one. Without it nothing another commit does is in its way. It is never done twice: of an
        append that failed nobody knows whether the store has it.
        """
        return self._write(name, rows, metadata, after=after)

    def compact(self, name: str, session: date) -> int:
        """Put the rows of a session's files into as few as can be; returns how many files that replaced.

        Raises CommitRefused when one of them was replaced meanwhile, and then changes nothing. Raises StoreError.
        """
        table = self.open(name)
        with self._errors(name, "compact"):
            done = table.optimize.compact([("session", "=", session.isoformat())], writer_properties=WRITER)
            if done["numFilesRemoved"]:
                table.create_checkpoint()
        return done["numFilesRemoved"]

    def vacuum(self, name: str, older_than: timedelta) -> int:
        """Delete files that no version needs that is younger than `older_than` (whole hours), and what a write left
        behind that was never committed; returns how many. Raises StoreError.

        It must be longer than any write takes: the files of one at work are in no version yet.
        """
        table = self.open(name)
        with self._errors(name, "vacuum"):
            hours = older_than // timedelta(hours=1)
            return len(table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))

    def _write(
        self,
        name: str,
        rows: pa.Table,
        metadata: Mapping[str, str],
        predicate: str | None = None,
        after: int | None = None,
    ) -> int:
        table = self._opened_or_made(name)
        self._require(name, table)
        if after is not None and table.version() != after:
            raise CommitRefused(
                f"could not write table {name} at {self.uri(name)}: version {after} was read, and it is at "
                f"{table.version()}"
            )
        with self._errors(name, "write"):
            retries = None if after is None else 0
            commit = CommitProperties(custom_metadata=dict(metadata), max_commit_retries=retries)
            write = partial(write_deltalake, table, rows, commit_properties=commit, writer_properties=WRITER)
            if predicate is None:
                write(mode="append")
            else:
                write(mode="overwrite", predicate=predicate)
        return table.version()

    def _opened_or_made(self, name: str) -> DeltaTable:
        with suppress(TableMissing):
            return self.open(name)
        # Not left to the first write: of two at one time one would fail, and an append must not be done twice.
        with self._errors(name, "make"), suppress(CommitFailedError):
            DeltaTable.create(
                self.uri(name),
                TABLES[name].columns,
                mode="ignore",
                partition_by=["session"],
                description=name,
                storage_options=dict(self.options),
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        return self.open(name)

    def _require(self, name: str, table: DeltaTable) -> None:
        lacking = set(TABLES[name].columns.names) - {field.name for field in table.schema().fields}
        if lacking:
            raise StoreError(
                f"table {name} at {self.uri(name)} was written by an earlier stockpick and lacks the column "
                f"{', '.join(sorted(lacking))}; keep its bucket or folder as it is and name another "
                "(STOCKPICK_S3_BUCKET, STOCKPICK_STORE_ROOT), or begin anew (`make clean`)"
            )

    def _gone(self, name: str, version: int) -> VersionGone:
        return VersionGone(
            f"version {version} of table {name} at {self.uri(name)} is not kept any more; for how long one is, "
            "STOCKPICK_KEEP_VERSIONS_DAYS says"
        )

    @contextmanager
    def _errors(self, name: str, doing: str, version: int | None = None) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError as error:
            if version is not None and _NOT_IN_LOG.search(str(error)):
                raise self._gone(name, version) from error
            raise TableMissing(
                f"table {name} at {self.uri(name)} has not been written; materialize {self.source}/{name} first"
            ) from error
        except CommitFailedError as error:
            raise CommitRefused(f"could not {doing} table {name} at {self.uri(name)}: {_cause(error)}") from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            if version is not None and (isinstance(error, FileNotFoundError) or _NOT_IN_LOG.search(str(error))):
                raise self._gone(name, version) from error
            advice = ""
            if isinstance(error, OSError) or str(error).startswith(_OF_ROWS):
                advice = ". Is there room on the disk, and may this account use the folder?"
                if self.options:
                    advice = ". Is the object store up (`stockpick status`), and are its address and keys right?"
            raise StoreError(f"could not {doing} table {name} at {self.uri(name)}: {_cause(error)}{advice}") from error


def versions_read(*tables: pa.Table) -> dict[str, int]:
    """The version of each table that was read, by name, as `Store.read` wrote it into the rows' schema."""
    told = [table.schema.metadata for table in tables if table.schema.metadata]
    return {metadata[b"table"].decode(): int(metadata[b"version"]) for metadata in told}


def s3_options(endpoint: str, access_key: str, secret_key: str, region: str) -> dict[str, str]:
    """delta-rs options for an S3 service at `endpoint`; commits rely on its conditional writes."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": region,
        "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower(),
        "conditional_put": "etag",
        # A store that refuses is given up after 2 to 6 s and one that does not answer after 10; by itself delta-rs asks
        # for up to three minutes.
        "timeout": "10s",
        "connect_timeout": "5s",
        "retry_timeout": "5s",
        "backoff_config.max_backoff": "1s",
    }


def _cause(error: Exception) -> str:
    """What failed and the innermost reason, of an error that tells every step between in a line of its own."""
    text = str(error).strip() or type(error).__name__
    what, *steps = _STEP.split(text)
    what = what.partition("\n")[0].removeprefix("Kernel error -> ").removeprefix(_OF_ROWS)
    what, _, request = what.partition(": Error performing ")
    if request:
        steps = [request.rpartition(": ")[2]]
    answer = _ANSWER.search(text)
    if answer:
        return f"{what}: {answer[1]}, {answer[2].rstrip('.')}"
    return ": ".join([what, *(step.partition("\n")[0] for step in steps[-1:])])
