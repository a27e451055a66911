"""A run's Spark session where there is no Spark; integration/ has the runs where there is."""

import time

import dagster as dg
import pytest

from stockpick_assets.backfill import BackfillFailed, Step, run
from stockpick_assets.resources.spark import RunSpark
from stockpick_assets.services.process import free_ports


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
