"""The Spark session of a run: opened on the Connect server when the run begins, closed when it ends."""

import dagster as dg
from dagster_pyspark import PySparkResource


class RunSpark(PySparkResource):
    """A Spark session that ends with its run.

    The server keeps what a session has cached until the session is closed, and a process that ends while it holds an
    MLlib model of an open session waits for minutes to tell the server to drop it.
    """

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the session."""
        self.spark_session.stop()
