"""What is requested once a session is over, on a real ephemeral instance and a local folder."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.jobs import jobs
from stockpick_assets.sensors.after_close import after_close_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION, scores
from stockpick_assets_tests.sensors.flows import FLOW, at, tables

FOLLOWING = session_after(SESSION)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path).store()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, store: Store) -> tuple[str | None, str | None]:
    """The job and partition that are requested a minute after the close; or none, and why."""
    resources = {"tables": tables(Path(store.root)), "now": at(SESSION.close + MINUTE)}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        answer = after_close_sensor(FLOW, jobs(FLOW))(context)
    if isinstance(answer, dg.RunRequest):
        return answer.job_name, answer.partition_key
    assert isinstance(answer, dg.SkipReason)
    return None, answer.skip_message


def made(store: Store, table: str, session: object) -> None:
    row = {"session": session, "source": FLOW.source}
    store.append(table, pa.Table.from_pylist([row], schema=TABLES[table].columns), {})


def test_the_next_sessions_universe_waits_for_nothing_and_the_rest_for_every_minute(
    instance: dg.DagsterInstance, store: Store
) -> None:
    assert tick(instance, store) == ("universe", FOLLOWING.label())
    made(store, "universe", FOLLOWING.date)
    assert tick(instance, store) == (None, f"Session {SESSION.label()} still has minutes without an answer.")
    store.append("scores", scores(390, tickers=TICKERS), {})
    assert tick(instance, store) == ("training_set", SESSION.label())
    made(store, "training_set", SESSION.date)
    assert tick(instance, store) == ("return_model", FOLLOWING.label())
    made(store, "return_model", FOLLOWING.date)
    assert tick(instance, store) == (None, f"Session {SESSION.label()} has its training set and model.")
