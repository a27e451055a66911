"""The tables: where they are, how they are read and written. Shared by the IO manager, the command line and the app.

Delta tables written by delta-rs, one an asset, at `<root>/<source>/<table>`, partitioned by session. What belongs
here: locations, reading, committing, compacting. What does not: what the rows mean, and anything of Dagster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.schemas import TABLES

if TYPE_CHECKING:
    from stockpick_assets.settings import Settings

# Uncompacted, 390 one-minute commits make a read 3.4 s and an append 266 ms; a compaction takes 0.2 s.
COMMITS_BETWEEN_COMPACTIONS = 30


class StoreError(StockpickError):
    """The store answered with an error; nothing is known about the rows that were asked for."""


class TableMissing(StoreError):
    """The table has not been written yet."""


@dataclass(frozen=True)
class Store:
    """The tables of one source below one root.

    root: `s3://<bucket>` or a local folder. options: delta-rs storage options (see `s3_options`).
    """

    root: str
    source: str
    options: Mapping[str, str]

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
        """The Delta table. Raises TableMissing before its first commit, StoreError when the store does not answer."""
        with self._errors(name, "open"):
            return DeltaTable(self.uri(name), version=version, storage_options=dict(self.options))

    def version(self, name: str) -> int:
        """The table's newest version. Raises TableMissing, StoreError."""
        return self.open(name).version()

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
        every_version: bool = False,
    ) -> pa.Table:
        """Rows in key order, of all sessions, minutes and tickers between the given ends; an end left out is open.

        All ends are included but `before`, a session. Of a row that was written several times the newest is returned,
        unless `every_version` is asked for. The answer's schema metadata names the table and the version that was read.
        Rows that are not there are missing from the answer; a table that is not there raises TableMissing, and a
        read that fails raises StoreError.
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
        )
        filters = [end for end in ends if end[2] is not None]
        newest = "fetched_at" if "fetched_at" in schema.columns.names and not every_version else None
        wanted = list(columns) or schema.columns.names
        read = list(dict.fromkeys([*wanted, *schema.key, *([newest] if newest else [])]))
        table = self.open(name, version)
        with self._errors(name, "read"):
            rows = table.to_pyarrow_table(columns=read, filters=filters or None)
        rows = rows.cast(pa.schema([schema.columns.field(column) for column in read]))
        rows = rows.sort_by([(column, "ascending") for column in (*schema.key, *([newest] if newest else []))])
        if newest:
            rows = _last_of_each(rows, schema.key)
        return rows.select(wanted).replace_schema_metadata({"table": name, "version": str(table.version())})

    def replace(self, name: str, rows: pa.Table, predicate: str, metadata: Mapping[str, str]) -> int:
        """Commit `rows` in place of those that `predicate` (SQL) selects, as one commit; returns the new version.

        rows: exactly the table's declared schema. metadata: kept with the commit. Raises StoreError.
        """
        return self._write(name, rows, metadata, mode="overwrite", predicate=predicate)

    def append(self, name: str, rows: pa.Table, metadata: Mapping[str, str]) -> int:
        """Commit `rows` beside those that are there; returns the new version. Raises StoreError."""
        return self._write(name, rows, metadata, mode="append")

    def _write(self, name: str, rows: pa.Table, metadata: Mapping[str, str], **how: Any) -> int:
        schema = TABLES[name]
        if how["mode"] == "overwrite" and not self.exists(name):
            how = {"mode": "append"}
        with self._errors(name, "write"):
            write_deltalake(
                self.uri(name),
                rows,
                partition_by=["session"],
                storage_options=dict(self.options),
                commit_properties=CommitProperties(custom_metadata=dict(metadata)),
                writer_properties=WriterProperties(compression="ZSTD"),
                description=schema.name,
                **how,
            )
            table = self.open(name)
            if table.version() and table.version() % COMMITS_BETWEEN_COMPACTIONS == 0:
                table.optimize.compact()
                table.create_checkpoint()
        return table.version()

    @contextmanager
    def _errors(self, name: str, doing: str) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError as error:
            raise TableMissing(
                f"table {name} at {self.uri(name)} has not been written; materialize {self.source}/{name} first"
            ) from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(
                f"could not {doing} table {name} at {self.uri(name)}: {error}. "
                "Is the object store up (`stockpick status`), and are its address and keys right?"
            ) from error


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
        "timeout": "30s",
        "connect_timeout": "5s",
    }


def _last_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """The last row of each run of equal keys, in a table sorted by them."""
    if rows.num_rows < 2:
        return rows
    changed: Callable[[str], pa.ChunkedArray] = lambda column: pc.not_equal(  # noqa: E731
        rows[column].slice(1), rows[column].slice(0, rows.num_rows - 1)
    )
    last = changed(key[0])
    for column in key[1:]:
        last = pc.or_(last, changed(column))
    return rows.filter(pa.chunked_array([*last.chunks, pa.array([True])]))
