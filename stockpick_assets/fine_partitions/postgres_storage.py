"""The Postgres event log for assets of tens of thousands of partitions a run, configured in `dagster.yaml`.

Needs `dagster-postgres` and `psycopg2`. What does not belong here: what is added to the database (`postgres_schema`),
and what is the same in another database (`storage`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from io import StringIO
from typing import Any, Self

from dagster import AssetKey, EventLogEntry, Field
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres.auth import PgTokenProvider
from dagster_postgres.event_log.event_log import PostgresEventLogStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    set_pg_statement_timeout,
)
from sqlalchemy import event as engine_event
from sqlalchemy import func, insert, make_url, select, text
from sqlalchemy.engine import Connection, Engine

from stockpick_assets.fine_partitions import postgres_schema
from stockpick_assets.fine_partitions.connections import connect, leave_to_parent
from stockpick_assets.fine_partitions.overrides import SQL_METHODS, StockMethod
from stockpick_assets.fine_partitions.postgres_schema import LOCKS, RUN_LOGS
from stockpick_assets.fine_partitions.range_copy import COLUMNS, copies
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage

events = SqlEventLogStorageTable

DRIVER = "postgresql+psycopg2"
# Stock gives a server up after 11 s, less than one takes that is moved to another machine. Longer than the 60 s of a
# sensor's tick: a tick that is ended is repeated, a run is not.
PATIENCE_SECONDS = 90.0

_SEQUENCE = "pg_get_serial_sequence('event_logs', 'id')"

POSTGRES_METHODS: tuple[StockMethod, ...] = (
    StockMethod(
        PostgresEventLogStorage,
        "__init__",
        "(self, postgres_url, should_autocreate_tables=True, inst_data=None, token_provider=None)",
    ),
    StockMethod(PostgresEventLogStorage, "_connect", "(self)"),
    StockMethod(
        PostgresEventLogStorage, "optimize_for_webserver", "(self, statement_timeout, pool_recycle, max_overflow)"
    ),
    StockMethod(PostgresEventLogStorage, "run_connection", "(self, run_id=None)"),
    StockMethod(PostgresEventLogStorage, "index_transaction", "(self)"),
    StockMethod(PostgresEventLogStorage, "store_event", "(self, event)"),
    StockMethod(PostgresEventLogStorage, "store_event_batch", "(self, events)"),
)


class FinePartitionsPostgresStorage(FinePartitionsStorage, PostgresEventLogStorage):
    """Dagster's Postgres event log with ranges of partitions kept cheaply.

    A run's own log has one materialization for partitions that are alike; every query by asset or partition sees one
    per partition. Writers of one asset wait for each other.

    Whatever needs a connection waits for a server that is away, and goes on. A transaction that breaks is not repeated:
    nobody knows whether the server had it, so the step fails, and its retry writes all of it or finds none of it.

    Args:
        postgres_url: address of the database; `postgresql://` is taken as `postgresql+psycopg2://`.
        should_autocreate_tables: whether missing tables are made: Dagster's, and those of `postgres_schema`.
        overrides: whether Dagster's methods are overridden in this process (`overrides.install`). Without them the
            storage gives the same answers and runs are slow.
        patience_seconds: how long a server that cannot be reached, or a pool in use, is waited for. A run has to
            outlast that; a sensor's tick is ended by Dagster after 60 s, and repeated.

    Raises:
        UnsupportedDagster: the installed Dagster is not the one this package was written for.
        ValueError: the address names another driver than psycopg2.
        ServerUnreachable: from any method, when the server stayed away longer than that, or at once when it refuses
            the account or has no such database.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
        overrides: bool = True,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._begin(SQL_METHODS + POSTGRES_METHODS, overrides)
        self._patience_seconds = patience_seconds
        address = _with_driver(postgres_url)
        engine = _keeping_engine(address, token_provider, max_overflow=-1)
        with _alone(engine, patience_seconds) if should_autocreate_tables else nullcontext():
            super().__init__(address, should_autocreate_tables, inst_data, token_provider)
            self._engine = engine
            if should_autocreate_tables:
                with self.index_transaction() as connection:
                    postgres_schema.prepare(connection)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Stock's, `overrides` and `patience_seconds`."""
        stock = PostgresEventLogStorage.config_type()
        assert isinstance(stock, dict)
        return {
            **stock,
            "overrides": Field(bool, default_value=True, is_required=False),
            "patience_seconds": Field(float, default_value=PATIENCE_SECONDS, is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of a `dagster.yaml`."""
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value["should_autocreate_tables"],
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
            overrides=config_value["overrides"],
            patience_seconds=config_value["patience_seconds"],
        )

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Stock's settings of an engine; stock's own hands out connections that a restart of the server has ended."""
        self._engine.dispose()
        self._engine = _keeping_engine(
            self.postgres_url, self._token_provider, max_overflow=max_overflow, pool_recycle=pool_recycle
        )
        engine_event.listen(
            self._engine, "connect", lambda connection, _: set_pg_statement_timeout(connection, statement_timeout)
        )

    def dispose(self) -> None:
        """Close the connection that is kept; the next use opens anew."""
        super().dispose()
        self._engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with connect(self._engine, self._patience_seconds) as connection:
            yield connection

    @contextmanager
    def run_connection(self, run_id: str | None = None) -> Iterator[Connection]:
        """A connection to the own log of a run, in which a range is one event; of no run, to the tables."""
        with self._connect() as connection:
            if run_id is not None:
                connection = connection.execution_options(schema_translate_map={None: RUN_LOGS})
            yield connection

    @contextmanager
    def asset_transaction(self, asset_keys: Iterable[AssetKey]) -> Iterator[Connection]:
        """See `FinePartitionsStorage`.

        An id is taken from the sequence before its row can be seen: without the lock a short write could overtake a
        range that takes seconds, and the status cache would never look for the ids it jumped over.
        """
        with self.index_transaction() as connection:
            for asset_key in sorted(key.to_string() for key in asset_keys):
                connection.execute(select(func.pg_advisory_xact_lock(LOCKS, func.hashtext(asset_key))))
            yield connection

    def write_range(self, connection: Connection, event: EventLogEntry, partition_keys: Sequence[str]) -> range:
        """See `FinePartitionsStorage`."""
        row = self._event_to_row(event)
        first_id = connection.execute(text(f"SELECT nextval({_SEQUENCE})")).scalar_one() + 1
        cursor: Any = connection.connection.cursor()
        for lines in copies(row, partition_keys):
            cursor.copy_expert(f"COPY event_logs ({', '.join(COLUMNS)}) FROM STDIN", StringIO(lines))
        last_id = connection.execute(text(f"SELECT currval({_SEQUENCE})")).scalar_one()
        return range(first_id, last_id + 1)

    def write_to_run(self, events_of_run: Sequence[EventLogEntry]) -> None:
        """See `FinePartitionsStorage`; a run's own log is in the same table."""

    def write_summary(self, event: EventLogEntry) -> None:
        """See `FinePartitionsStorage`; of no asset, as every query of an asset has the rows of the range."""
        with self._connect() as connection:
            connection.execute(
                insert(events).values(self._event_to_row(event) | {"asset_key": None, "partition": None})
            )


def _keeping_engine(address: str, token_provider: PgTokenProvider | None, **options: Any) -> Engine:
    """An engine that keeps a connection, and asks it whether the server still knows it before it is used again.

    Stock connects for each event: 9 ms on a busy machine, and a new server process with empty caches behind it.
    """
    engine = create_pg_engine(
        address, token_provider, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True, **options
    )
    leave_to_parent(engine)
    return engine


@contextmanager
def _alone(engine: Engine, patience_seconds: float) -> Iterator[None]:
    """Whoever opens the database next waits: of two that make Dagster's tables at one time, one would fail."""
    with connect(engine, patience_seconds) as connection:
        lock, unlock = func.pg_advisory_lock(LOCKS, 0), func.pg_advisory_unlock(LOCKS, 0)
        connection.execute(select(lock))
        try:
            yield
        finally:
            connection.execute(select(unlock))


def _with_driver(postgres_url: str) -> str:
    url = make_url(postgres_url)
    if url.drivername not in ("postgresql", DRIVER):
        raise ValueError(
            f"FinePartitionsPostgresStorage writes ranges by psycopg2's COPY and cannot use {url.drivername}:"
            f" say {DRIVER}:// in its postgres_url, or scheme: {DRIVER} in its postgres_db."
        )
    return url.set(drivername=DRIVER).render_as_string(hide_password=False)
