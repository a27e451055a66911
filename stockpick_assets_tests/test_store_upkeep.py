"""Compaction and vacuum while others write, and writers that are killed; on a local folder.

integration/test_store_on_s3.py asks the same of real object stores.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.store import REPETITIONS, CommitRefused, Store
from stockpick_assets_tests.rows import SESSION, bars
from stockpick_assets_tests.writers import COMMITTED, TICKERS, predicate, race

WEEK = timedelta(days=7)
LIFE = "from stockpick_assets_tests.writers import write_without_end; write_without_end({root!r})"


@dataclass(frozen=True)
class Overtaken(Store):
    """A store where another commit comes between the opening of a table and what is done with it."""

    others: list[Callable[[], object]] = field(default_factory=list)

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        table = super().open(name, version)
        if self.others:
            self.others.pop()()
        return table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


@pytest.fixture
def overtaken(store: Store) -> Overtaken:
    return Overtaken(store.root, store.source, store.options)


def fill(store: Store, minutes: int) -> None:
    for minute in range(minutes):
        store.append("raw_prices", bars(1, start=minute, tickers=TICKERS), {})


def stored(store: Store) -> pa.Table:
    return store.read("raw_prices", every_version=True).replace_schema_metadata(None)


def test_a_compaction_leaves_one_file_and_every_version_of_every_row(store: Store) -> None:
    fill(store, 25)
    store.append("raw_prices", bars(1, close=2.0, fetched_at=datetime(2026, 11, 21, tzinfo=UTC)), {})
    before = stored(store)
    assert store.compact("raw_prices", SESSION.date) == 26
    assert stored(store).equals(before)
    assert len(store.contents("raw_prices").files[SESSION.date]) == 1


def test_a_compaction_of_what_is_compact_is_no_commit(store: Store) -> None:
    fill(store, 2)
    store.compact("raw_prices", SESSION.date)
    version = store.version("raw_prices")
    assert store.compact("raw_prices", SESSION.date) == 0
    assert store.version("raw_prices") == version


def test_what_was_appended_during_a_compaction_is_kept(store: Store, overtaken: Overtaken) -> None:
    fill(store, 3)
    overtaken.others.append(lambda: store.append("raw_prices", bars(1, start=3, tickers=TICKERS), {}))
    assert overtaken.compact("raw_prices", SESSION.date) == 3
    assert stored(store).equals(bars(4, tickers=TICKERS))


def test_an_append_that_a_compaction_overtakes_is_kept(store: Store, overtaken: Overtaken) -> None:
    fill(store, 3)
    overtaken.others.append(lambda: store.compact("raw_prices", SESSION.date))
    overtaken.append("raw_prices", bars(1, start=3, tickers=TICKERS), {})
    assert stored(store).equals(bars(4, tickers=TICKERS))


def test_a_compaction_gives_way_to_a_replacement_of_what_it_had_read(store: Store, overtaken: Overtaken) -> None:
    fill(store, 3)
    healed = bars(1, start=1, tickers=TICKERS, close=2.0)
    overtaken.others.append(lambda: store.replace("raw_prices", healed, predicate(1, 1), {}))
    with pytest.raises(CommitRefused):
        overtaken.compact("raw_prices", SESSION.date)
    assert [row["close"] for row in stored(store).to_pylist()] == [100.0] * 3 + [2.0] * 3 + [100.0] * 3


def test_a_replacement_that_a_compaction_overtakes_is_done_again(store: Store, overtaken: Overtaken) -> None:
    fill(store, 3)
    overtaken.others.append(lambda: store.compact("raw_prices", SESSION.date))
    healed = bars(1, start=1, tickers=TICKERS, close=2.0)
    overtaken.replace("raw_prices", healed, predicate(1, 1), {"run_id": "healing"})
    assert [row["close"] for row in stored(store).to_pylist()] == [100.0] * 3 + [2.0] * 3 + [100.0] * 3
    assert [commit.get("run_id") for commit in store.open("raw_prices").history()].count("healing") == 1


def test_a_replacement_that_is_overtaken_each_time_fails_and_changes_nothing(
    store: Store, overtaken: Overtaken
) -> None:
    fill(store, 1)
    other = bars(1, tickers=TICKERS, close=3.0)
    overtaken.others.extend([lambda: store.replace("raw_prices", other, predicate(0, 0), {})] * (REPETITIONS + 1))
    with pytest.raises(CommitRefused, match="could not write table raw_prices"):
        overtaken.replace("raw_prices", bars(1, tickers=TICKERS, close=2.0), predicate(0, 0), {})
    assert stored(store).equals(other)


def test_writers_compactions_and_vacuums_at_one_time_lose_and_double_nothing(store: Store) -> None:
    assert race(store, commits=12) == []


def test_a_vacuum_keeps_what_versions_of_its_time_need(store: Store) -> None:
    fill(store, 3)
    before = store.version("raw_prices")
    store.compact("raw_prices", SESSION.date)
    assert store.vacuum("raw_prices", WEEK) == 0
    assert store.read("raw_prices", version=before).num_rows == 9
    assert store.vacuum("raw_prices", timedelta(0)) == 3
    assert stored(store).equals(bars(3, tickers=TICKERS))


def test_a_vacuum_deletes_what_a_dead_writer_left_and_not_what_one_at_work_writes(store: Store) -> None:
    fill(store, 1)
    folder = Path(store.uri("raw_prices")) / f"session={SESSION.date}"
    left, at_work = folder / "left.parquet", folder / "at-work.parquet"
    for file in (left, at_work):
        file.write_bytes(b"half a file")
    long_ago = time.time() - (WEEK + timedelta(hours=1)).total_seconds()
    os.utime(left, (long_ago, long_ago))
    assert store.vacuum("raw_prices", WEEK) == 1
    assert not left.exists()
    assert at_work.exists()


@pytest.mark.timeout(180)
def test_writers_killed_at_any_moment_leave_whole_commits_and_a_table_that_can_be_read(store: Store) -> None:
    chance = random.Random(7)
    announced: set[int] = set()
    for _ in range(8):
        announced |= set(committed_before_death(store.root, chance.randrange(1, 12), chance.random() / 50))
        rows = stored(store)
        minutes = [int((minute - SESSION.open) / MINUTE) for minute in rows["minute"].to_pylist()]
        of_minute = {minute: minutes.count(minute) for minute in minutes}
        assert set(of_minute.values()) == {len(TICKERS)}
        assert announced <= set(of_minute)
    assert announced
    store.compact("raw_prices", SESSION.date)
    store.vacuum("raw_prices", timedelta(0))
    assert stored(store).equals(rows)


def committed_before_death(root: str, lines: int, then: float) -> Iterator[int]:
    """Minutes that a writer said it had committed before it was killed, `then` seconds after its `lines`-th line."""
    with subprocess.Popen([sys.executable, "-c", LIFE.format(root=root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(then)  # so that death strikes within an operation, not always at its beginning
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    for line in said:
        if line.startswith(COMMITTED) and line.endswith("\n"):
            yield int(line.removeprefix(COMMITTED))
