"""Connections that stay open: SQLite engines, one per database file, servers that go away, forks.

Stock opens and closes a connection per event, and the close of an SQLite database's last connection checkpoints its
write-ahead log: 10 to 50 ms of file synchronisation an event. What does not belong here: what the databases hold.
"""

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable

from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.pool import QueuePool

# A webserver that shows runs opens a file per run; the files of runs looked at longest ago are closed.
MOST_OPEN = 16
SECONDS_BETWEEN_ATTEMPTS = 0.5
SECONDS_BETWEEN_WARNINGS = 10.0
# psycopg2 gives no code with an error of connecting, so these are Postgres' English words; in another language
# (lc_messages) such a server is waited for as one that is away.
REFUSALS = ("authentication failed", "no pg_hba.conf entry", "no password supplied", '" does not exist')

logger = logging.getLogger(__name__)


class ServerUnreachable(Exception):
    """A database server gave no connection for as long as it is waited for, or refuses this account or database."""


class OpenEngines:
    """The last `MOST_OPEN` engines asked for, by connection string; safe between threads and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def get(self, connection_string: str, prepare: Callable[[Engine], None]) -> Engine:
        """The engine of `connection_string`; `prepare` is called with a new one before anyone else gets it."""
        with self._lock:
            if self._process != os.getpid():
                self._forget_parents()
            engine = self._engines.get(connection_string)
            if engine is None:
                engine = _open(connection_string)
                prepare(engine)
                self._engines[connection_string] = engine
            self._engines.move_to_end(connection_string)
            while len(self._engines) > MOST_OPEN:
                self._engines.popitem(last=False)[1].dispose()
            return engine

    def forget(self, connection_string: str) -> None:
        """Close the engine of `connection_string`, if there is one."""
        with self._lock:
            engine = self._engines.pop(connection_string, None)
            if engine is not None:
                engine.dispose(close=self._process == os.getpid())

    def close(self) -> None:
        """Close every engine; the next `get` opens anew."""
        with self._lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    def _forget_parents(self) -> None:
        # SQLite forbids carrying a connection across a fork, closing it included: its locks are the parent's.
        for engine in self._engines.values():
            engine.dispose(close=False)
        self._engines.clear()
        self._process = os.getpid()


def connect(engine: Engine, patience_seconds: float) -> Connection:
    """A connection to a server that may be away, or of a pool that may be in use: asked again for `patience_seconds`.

    The first attempt that fails is logged, and then one each 10 s. A server that refuses the account or has no such
    database is not asked again.

    Raises ServerUnreachable.
    """
    begun = time.monotonic()
    warn_from = begun
    while True:
        try:
            return engine.connect()
        except (OperationalError, TimeoutError) as error:
            server = engine.url.render_as_string(hide_password=True)
            cause = " ".join(str(error.orig if isinstance(error, OperationalError) else error).split())
            if any(words in cause for words in REFUSALS):
                raise ServerUnreachable(
                    f"the event log at {server} refuses to be opened: {cause}. Correct the account, its password or "
                    "the database in the address of the event log in dagster.yaml"
                ) from error
            now = time.monotonic()
            if now >= begun + patience_seconds:
                raise ServerUnreachable(
                    f"the event log at {server} gave no connection for {patience_seconds:g} s: {cause}. Start the "
                    "server, correct its address or allow the webserver more connections (--db-pool-max-overflow), and "
                    "run again what failed; patience_seconds of the event log in dagster.yaml is how long it is waited "
                    "for"
                ) from error
            if now >= warn_from:
                logger.warning("waiting for the event log at %s: %s", server, cause)
                warn_from = now + SECONDS_BETWEEN_WARNINGS
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def leave_to_parent(engine: Engine) -> None:
    """Let processes that are forked off open connections of their own; they share `engine`'s with their parent."""
    reference = weakref.ref(engine)

    def forget() -> None:
        if (inherited := reference()) is not None:
            inherited.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


def _open(connection_string: str) -> Engine:
    engine = create_engine(
        connection_string,
        poolclass=QueuePool,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _synchronise_at_checkpoints)
    return engine


def _synchronise_at_checkpoints(connection: DBAPIConnection, _record: object) -> None:
    # In a write-ahead log NORMAL loses no committed event when a process dies, only when the machine does.
    connection.cursor().execute("PRAGMA synchronous=NORMAL")
