"""The live log of a run whose writer keeps its connection open.

What does not belong here: reading the log, which is the storage's.
"""

from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from watchdog.events import FileSystemEvent


class WriteAheadLogWatchdog(SqliteEventLogStorageWatchdog):
    """Hands a run's new events to a callback when its database or the write-ahead log beside it is written.

    Stock watches the database alone, which an open connection does not touch until a checkpoint: a run page would stand
    still for the length of a run.
    """

    def __init__(
        self, event_log: SqliteEventLogStorage, run_id: str, callback: EventHandlerFn, cursor: str | None
    ) -> None:
        super().__init__(event_log, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        """Hand over what is new."""
        self._process_log()
