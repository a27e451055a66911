"""The Spark session of a run: joined on the Connect server when the run begins, left when it ends."""

import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import dagster as dg
from dagster_pyspark import PySparkResource
from dagster_pyspark.resources import spark_session_from_config
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.retries import DefaultPolicy

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.resources.now import wall_clock

PORT = 15002  # where an address names none
ANSWER_WITHIN = 5.0  # seconds
RETRIES = 4  # of a question to a server that is gone, 4 s; pyspark's own 15 are ten minutes


class SparkUnreachable(StockpickError):
    """There is no Spark Connect server where the settings say."""


class RunSpark(PySparkResource):
    """A run's part in a Spark session that the runs of an hour share on the server.

    Each session of the server compiles the code of its queries anew (SPARK-44795), 109 classes for the features: in a
    session of its own a live minute's features took 3.4 s, 6.2 s of processor time, and in one that others had used 1.9
    and 2.7. A session that no run has used for an hour is closed by the server and its name is then used up, hence one
    for each hour. A process that ends with a client still open would wait for minutes to drop its models.
    """

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Join the session. Raises SparkUnreachable, where pyspark by itself would try for ten minutes."""
        address = self.spark_config["spark.remote"]
        server = urlsplit(address)
        try:
            socket.create_connection((server.hostname, server.port or PORT), ANSWER_WITHIN).close()
        except OSError as error:
            raise SparkUnreachable(
                f"Spark does not answer at {server.hostname}:{server.port or PORT} ({error}). Is it up "
                "(`stockpick status`), and is STOCKPICK_SPARK_REMOTE right?"
            ) from error
        shared = {"spark.remote": shared_session(address, wall_clock())}
        self._spark_session = spark_session_from_config({**self.spark_config, **shared})
        self.spark_session.release_session_on_close = False
        give_up_early(self.spark_session)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leave the session to the other runs."""
        self.spark_session.stop()


def give_up_early(session: SparkSession) -> None:
    """Let what a session asks fail soon after its server died."""
    session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES)])


def shared_session(address: str, wall: datetime) -> str:
    """The address with the name of the session that runs share at that wall time; one that has a name keeps it."""
    if "session_id=" in address:
        return address
    name = uuid5(NAMESPACE_URL, f"{address} {wall.astimezone(UTC):%Y-%m-%dT%H}")
    start, _, parameters = address.partition("/;")
    return f"{start.rstrip('/')}/;{parameters + ';' if parameters else ''}session_id={name}"
