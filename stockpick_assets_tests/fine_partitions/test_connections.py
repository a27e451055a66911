"""Engines that stay open."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

from stockpick_assets.fine_partitions import connections
from stockpick_assets.fine_partitions.connections import MOST_OPEN, OpenEngines, ServerUnreachable, connect, logger


class _Waiting(logging.Handler):
    """Notices that somebody waits for a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.set()


@contextmanager
def waits() -> Iterator[Event]:
    """An event that is set once somebody waits for a connection."""
    waiting = _Waiting()
    logger.addHandler(waiting)
    try:
        yield waiting.seen
    finally:
        logger.removeHandler(waiting)


def test_an_engine_is_prepared_once_and_kept(tmp_path: Path) -> None:
    prepared: list[Engine] = []
    engines = OpenEngines()
    url = f"sqlite:///{tmp_path / 'a.db'}"

    first, second = engines.get(url, prepared.append), engines.get(url, prepared.append)

    assert first is second
    assert prepared == [first]
    with first.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 1
    engines.close()


def test_the_files_looked_at_longest_ago_are_closed(tmp_path: Path) -> None:
    prepared: list[Engine] = []
    engines = OpenEngines()
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(MOST_OPEN + 1)]
    for url in urls:
        with engines.get(url, prepared.append).connect() as connection:
            connection.execute(text("SELECT 1"))

    assert engines.get(urls[-1], prepared.append) is prepared[-1]
    assert engines.get(urls[0], prepared.append) is not prepared[0]
    engines.close()


def test_a_connection_of_a_pool_in_use_is_waited_for(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'a.db'}", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    with ThreadPoolExecutor(1) as pool, waits() as waited:
        with engine.connect():
            later = pool.submit(connect, engine, 60.0)
            assert waited.wait(30), "nobody waited for the connection"
            assert not later.done()
        with later.result(timeout=30) as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_a_pool_that_stays_in_use_is_told_of_after_the_patience(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'a.db'}", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    with engine.connect(), pytest.raises(ServerUnreachable, match=r"gave no connection for 0 s: QueuePool limit"):
        connect(engine, 0.0)
    engine.dispose()


def test_the_first_attempt_and_then_one_each_interval_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "SECONDS_BETWEEN_ATTEMPTS", 0.001)
    nowhere = create_engine(f"sqlite:///{tmp_path / 'missing' / 'a.db'}")
    for interval, most in ((10.0, 1), (0.0, 1_000)):
        monkeypatch.setattr(connections, "SECONDS_BETWEEN_WARNINGS", interval)
        caplog.clear()
        with pytest.raises(ServerUnreachable):
            connect(nowhere, 0.2)
        assert 1 <= len(caplog.records) <= most
        assert (len(caplog.records) > 1) == (most > 1)


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    engines = OpenEngines()
    url = f"sqlite:///{tmp_path / 'a.db'}"
    parents = engines.get(url, lambda _: None)
    with parents.begin() as connection:
        connection.execute(text("CREATE TABLE seen (by_child INTEGER)"))

    child = os.fork()
    if child == 0:
        own = engines.get(url, lambda _: None)
        with own.begin() as connection:
            connection.execute(text("INSERT INTO seen VALUES (1)"))
        os._exit(0 if own is not parents else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with engines.get(url, lambda _: None).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM seen")).scalar_one() == 1
    engines.close()
