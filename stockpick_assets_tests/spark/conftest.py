"""One Spark Connect server on this machine for all tests of this folder, as in production but in the test's process."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

SERVER = {
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.optimizer.excludedRules": "org.apache.spark.sql.catalyst.optimizer.ConvertToLocalRelation",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session of a Connect server with two threads, bound to this machine, at a port that is free."""
    with pytest.MonkeyPatch.context() as environment:
        # What makes pyspark take any free port, where it would insist on 15002.
        environment.setenv("SPARK_TESTING", "1")
        builder = SparkSession.builder.remote("local[2]")
        for name, value in SERVER.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()
