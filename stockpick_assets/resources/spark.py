"""The Spark session of a run: opened on the Connect server when the run begins, closed when it ends."""

import socket
from urllib.parse import urlsplit

import dagster as dg
from dagster_pyspark import PySparkResource

from stockpick_assets.core.errors import StockpickError

PORT = 15002  # where an address names none
ANSWER_WITHIN = 5.0  # seconds


class SparkUnreachable(StockpickError):
    """There is no Spark Connect server where the settings say."""


class RunSpark(PySparkResource):
    """A Spark session that ends with its run.

    The server keeps what a session has cached until the session is closed, and a process that ends while it holds an
    MLlib model of an open session waits for minutes to tell the server to drop it.
    """

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Open the session. Raises SparkUnreachable, where pyspark by itself would try for ten minutes."""
        address = self.spark_config["spark.remote"]
        server = urlsplit(address)
        try:
            socket.create_connection((server.hostname, server.port or PORT), ANSWER_WITHIN).close()
        except OSError as error:
            raise SparkUnreachable(
                f"Spark does not answer at {server.hostname}:{server.port or PORT} ({error}). Is it up "
                "(`stockpick status`), and is STOCKPICK_SPARK_REMOTE right?"
            ) from error
        super().setup_for_execution(context)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the session."""
        self.spark_session.stop()
