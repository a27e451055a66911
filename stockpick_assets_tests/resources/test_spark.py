"""A run's Spark session where there is no Spark; integration/ has the runs where there is."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest
from pyspark.sql.connect.client.core import DefaultChannelBuilder as ChannelBuilder

from stockpick_assets.backfill import BackfillFailed, Step, run
from stockpick_assets.resources.spark import RunSpark, shared_session
from stockpick_assets.services.process import free_ports

MORNING = datetime(2026, 11, 20, 14, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("address", ["sc://127.0.0.1:15002", "sc://spark/", "sc://spark:7/;user_id=me;use_ssl=true"])
def test_runs_of_an_hour_share_a_session_and_those_of_the_next_another(address: str) -> None:
    first, second, third = (
        ChannelBuilder(shared_session(address, MORNING + timedelta(seconds=seconds))) for seconds in (-3599, 0, 1)
    )
    assert first.session_id == second.session_id != third.session_id
    own = ChannelBuilder(address)
    assert (second.endpoint, second.userId, second.secure) == (own.endpoint, own.userId, own.secure)


def test_another_server_is_another_session() -> None:
    one, other = (ChannelBuilder(shared_session(f"sc://{host}", MORNING)).session_id for host in ("one", "other"))
    assert one != other


def test_an_address_that_names_its_session_keeps_it() -> None:
    address = f"sc://spark/;session_id={uuid4()}"
    assert shared_session(address, MORNING) == address


def test_without_a_spark_server_a_run_fails_at_once_and_says_where_it_looked() -> None:
    (port,) = free_ports(1)

    @dg.asset
    def asset(pyspark: RunSpark) -> None:
        """Needs Spark."""

    definitions = dg.Definitions(
        assets=[asset],
        resources={"pyspark": RunSpark(spark_config={"spark.remote": f"sc://127.0.0.1:{port}/;user_id=me"})},
        jobs=[dg.define_asset_job("job", [asset], executor_def=dg.in_process_executor)],
    )
    began = time.monotonic()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(
            BackfillFailed, match=rf"failed: .*Spark does not answer at 127.0.0.1:{port} .*`stockpick status`"
        ),
    ):
        run(definitions, instance, Step("job", "one", ("asset",)), lambda _: None)
    assert time.monotonic() - began < 60
