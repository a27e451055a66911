"""The asset events' database, new or taken over from Dagster's own storage."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from stockpick_assets.fine_partitions.index_schema import prepare


def test_a_new_database_can_be_prepared_by_several_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare, [path] * 8))

    with closing(sqlite3.connect(path)) as connection:
        (created,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'event_logs'").fetchone()
        assert "AUTOINCREMENT" in created
        assert connection.execute("PRAGMA page_size").fetchone() == (16_384,)
