"""One Spark Connect server for all tests of this folder: the plans of production, in the process of the test."""

import secrets
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

SERVER = {
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.codegen.cache.maxEntries": "2000",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session of a Connect server with two threads, bound to this machine, at a port that is free."""
    builder = SparkSession.builder.remote("local[2]")
    for name, value in SERVER.items():
        builder = builder.config(name, value)
    # Until the session is there only, so that no other test's process sees them.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_TESTING", "1")  # makes pyspark take any free port, where it would insist on 15002
        environment.setenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", secrets.token_hex(16))
        session = builder.getOrCreate()
    yield session
    # Also because a process that ends with an MLlib model and an open session never ends.
    session.stop()
