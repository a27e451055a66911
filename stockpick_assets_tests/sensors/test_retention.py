"""What Dagster still knows after the retention sensor's ticks, on a real instance."""

from pathlib import Path

import dagster as dg

from stockpick_assets.core.market_hours import minute_label, session_before
from stockpick_assets.jobs import FLOW as ASSETS
from stockpick_assets.sensors.retention import retention_sensor
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, fine_instance

LEFT = f"{minute_label(session_before(SESSION).last_minute)}|{TICKERS[0]}"
KEPT = f"{minute_label(SESSION.open)}|{TICKERS[0]}"
NOTHING_LEFT = f"Nothing is left of the time before {minute_label(SESSION.open)} New York."


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[str | None, str | None]:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        answer = retention_sensor(FLOW).evaluate_tick(context)
    return answer.skip_message, answer.cursor


def materialize(instance: dg.DagsterInstance) -> None:
    for asset in ASSETS:
        for key in (LEFT, KEPT):
            instance.report_runless_asset_event(dg.AssetMaterialization(FLOW.key(asset), partition=key))


def test_partitions_that_left_the_window_are_forgotten_one_asset_a_tick(tmp_path: Path) -> None:
    with fine_instance(tmp_path / "dagster") as instance:
        materialize(instance)
        cursor: str | None = None
        for asset in ASSETS:
            assert instance.get_materialized_partitions(FLOW.key(asset)) == {LEFT, KEPT}
            said, cursor = tick(instance, cursor)
            assert said == f"simulated/{asset}: 1 events before {minute_label(SESSION.open)} New York forgotten."
            assert instance.get_materialized_partitions(FLOW.key(asset)) == {KEPT}
        assert tick(instance, cursor) == (NOTHING_LEFT, cursor)


def test_dagsters_own_event_log_is_left_alone(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialize(instance)
        said, _ = tick(instance)
        assert said == "Dagster's own event log keeps what it knows of every partition."
        assert instance.get_materialized_partitions(FLOW.key(ASSETS[0])) == {LEFT, KEPT}
