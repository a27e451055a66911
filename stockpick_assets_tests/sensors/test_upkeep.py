"""What the upkeep sensor does to the tables, tick by tick, on a local folder."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.core.upkeep import MOST_FILES, MOST_FILES_WHILE_OPEN
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.upkeep import BEGIN_WITHIN, compact_tables, upkeep_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.rows import SESSION, bars
from stockpick_assets_tests.sensors.flows import FLOW, at, tables

DURING, AFTER = SESSION.open + 30 * MINUTE, SESSION.close + MINUTE
COMPACT = "Every table is compact."


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path).store()


def tick(store: Store, market: datetime, cursor: str | None = None) -> tuple[str, str | None]:
    sensor = upkeep_sensor(FLOW, timedelta(days=7))
    resources = {"tables": tables(Path(store.root)), "now": at(market)}
    with dg.build_sensor_context(cursor=cursor, resources=resources) as context:
        answer = sensor.evaluate_tick(context)
    assert answer.skip_message is not None
    return answer.skip_message, answer.cursor


def fill(store: Store, files: int) -> None:
    for minute in range(files):
        store.append("raw_prices", bars(1, start=minute), {})


def files(store: Store) -> int:
    return len(store.contents("raw_prices").files[SESSION.date])


def test_an_open_session_is_compacted_when_it_has_too_many_files_and_not_before(store: Store) -> None:
    fill(store, MOST_FILES_WHILE_OPEN)
    assert tick(store, DURING) == (COMPACT, "{}")
    store.append("raw_prices", bars(1, start=MOST_FILES_WHILE_OPEN), {})
    said, _ = tick(store, DURING)
    assert said == f"raw_prices of 2026-11-20: {MOST_FILES_WHILE_OPEN + 1} files compacted."
    assert files(store) == 1
    assert store.read("raw_prices").num_rows == MOST_FILES_WHILE_OPEN + 1


def test_after_the_close_a_session_is_compacted_and_then_each_table_vacuumed_once(store: Store) -> None:
    fill(store, MOST_FILES + 1)
    said, cursor = tick(store, AFTER)
    assert said == f"raw_prices of 2026-11-20: {MOST_FILES + 1} files compacted."
    told: list[str] = []
    for _ in TABLES:
        said, cursor = tick(store, AFTER, cursor)
        told.append(said)
    assert told[0] == "raw_prices: 0 files deleted."
    assert told[1:] == [f"{name} has not been written." for name in list(TABLES)[1:]]
    assert tick(store, AFTER, cursor)[0] == COMPACT


def test_no_compaction_is_begun_when_the_time_of_a_tick_is_up(store: Store) -> None:
    fill(store, MOST_FILES + 1)
    now: Now = at(AFTER)
    assert list(compact_tables(store, None, now, now.wall())) == []
    assert len(list(compact_tables(store, None, now, now.wall() + BEGIN_WITHIN))) == 1


def test_before_any_table_is_written_there_is_nothing_to_do(store: Store) -> None:
    assert tick(store, DURING) == (COMPACT, "{}")
