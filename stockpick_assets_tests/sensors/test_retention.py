"""What Dagster still knows after the retention sensor's ticks, on a real instance."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.due import DAILY
from stockpick_assets.core.market_hours import minute_label, session_before
from stockpick_assets.jobs import FLOW as ASSETS
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors import retention
from stockpick_assets.sensors.retention import retention_sensor
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, fine_instance

BEFORE = session_before(SESSION)
MINUTES = tuple(f"{minute_label(minute)}|{TICKERS[0]}" for minute in (BEFORE.last_minute, SESSION.open))
SESSIONS = (BEFORE.label(), SESSION.label())
KEYS = dict.fromkeys(ASSETS, MINUTES) | dict.fromkeys(DAILY, SESSIONS)
FIRST = SESSION.label()
PARTITIONS_SEEN_TO = json.dumps(dict.fromkeys(KEYS, FIRST))
NOTHING_LEFT = f"Nothing is left of the time before {FIRST}, nor to do today."
KEPT = timedelta(days=7)


def tick(
    instance: dg.DagsterInstance, cursor: str | None = None, later: timedelta = timedelta()
) -> tuple[str | None, str | None]:
    resources = {"now": Now(MarketClock(), lambda: datetime.now(UTC) + later)}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        answer = retention_sensor(FLOW, KEPT).evaluate_tick(context)
    return answer.skip_message, answer.cursor


def materialize(instance: dg.DagsterInstance) -> None:
    for asset, keys in KEYS.items():
        for key in keys:
            instance.report_runless_asset_event(dg.AssetMaterialization(FLOW.key(asset), partition=key))


def failed_run(instance: dg.DagsterInstance) -> str:
    @dg.job
    def fails() -> None:
        pass

    run = instance.create_run_for_job(fails)
    instance.report_run_failed(run)
    return run.run_id


def test_partitions_that_left_the_window_are_forgotten_one_asset_a_tick(tmp_path: Path) -> None:
    with fine_instance(tmp_path / "dagster") as instance:
        materialize(instance)
        cursor: str | None = None
        for asset, (left, kept) in KEYS.items():
            assert instance.get_materialized_partitions(FLOW.key(asset)) == {left, kept}
            said, cursor = tick(instance, cursor)
            assert said == f"simulated/{asset}: 1 events before {FIRST} forgotten."
            assert instance.get_materialized_partitions(FLOW.key(asset)) == {kept}
            (record,) = instance.get_asset_records([FLOW.key(asset)])
            counted = record.asset_entry.cached_status
            assert counted is not None and counted.serialized_materialized_partition_subset is not None
        assert cursor == PARTITIONS_SEEN_TO
        assert tick(instance, cursor)[0] == "0 runs and 0 backfills older than 7 days forgotten."


def test_runs_without_a_partition_of_the_window_are_forgotten_some_a_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS_A_TICK", 2)
    with fine_instance(tmp_path / "dagster") as instance:
        runs = [failed_run(instance) for _ in range(3)]

        said, cursor = tick(instance, PARTITIONS_SEEN_TO, later=KEPT)
        assert said == "2 runs and 0 backfills older than 7 days forgotten."
        assert [run.run_id for run in instance.get_runs()] == runs[2:]
        said, cursor = tick(instance, cursor, later=KEPT)
        assert said == "1 runs and 0 backfills older than 7 days forgotten."
        assert instance.get_runs() == []
        assert tick(instance, cursor, later=KEPT)[0] == NOTHING_LEFT


def test_old_runs_are_forgotten_each_day_of_a_window_that_stays(tmp_path: Path) -> None:
    with fine_instance(tmp_path / "dagster") as instance:
        said, cursor = tick(instance, PARTITIONS_SEEN_TO, later=KEPT)
        assert said == "0 runs and 0 backfills older than 7 days forgotten."
        failed_run(instance)
        assert tick(instance, cursor, later=KEPT)[0] == NOTHING_LEFT
        said, _ = tick(instance, cursor, later=KEPT + timedelta(days=1))
        assert said == "1 runs and 0 backfills older than 7 days forgotten."


def test_runs_that_are_not_old_stay(tmp_path: Path) -> None:
    with fine_instance(tmp_path / "dagster") as instance:
        run = failed_run(instance)
        tick(instance, PARTITIONS_SEEN_TO, later=KEPT - timedelta(minutes=5))
        assert [each.run_id for each in instance.get_runs()] == [run]


def test_dagsters_own_event_log_is_left_alone(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialize(instance)
        said, _ = tick(instance)
        assert said == "Dagster's own event log keeps what it knows of every partition."
        assert instance.get_materialized_partitions(FLOW.key(ASSETS[0])) == set(MINUTES)
