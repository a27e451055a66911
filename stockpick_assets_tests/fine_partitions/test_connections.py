"""Engines that stay open."""

import os
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import Engine

from stockpick_assets.fine_partitions.connections import MOST_OPEN, OpenEngines


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
