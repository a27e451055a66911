"""A Spark session for a command: of the platform's server where one answers, else of one started for the time."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from stockpick_assets import services
from stockpick_assets.cli.signals import end_as_by_ctrl_c, ignore_ends
from stockpick_assets.resources.spark import give_up_early
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.service import ServiceError
from stockpick_assets.services.spark import Spark, SparkAlone
from stockpick_assets.services.supervisor import Progress
from stockpick_assets.settings import Settings

ANSWER_WITHIN = 2.0  # seconds


class SparkGone(ServiceError):
    """A server that answered does no more."""


@contextmanager
def connected(settings: Settings, say: Progress) -> Iterator[SparkSession]:
    """The session; what was started is stopped after it, also on an error, Ctrl-C, SIGTERM or SIGHUP.

    Raises ServiceError where no server answers and none can be started, and where it dies meanwhile.
    """
    server = Spark()
    if _answers(server.endpoint(settings)) or not server.is_local(settings):
        with _session(settings) as session:
            yield session
        return
    alone = (SparkAlone(),)
    with tempfile.TemporaryDirectory(prefix="stockpick-spark-") as home:
        own = settings.model_copy(update={"home": Path(home), "spark_remote": f"sc://127.0.0.1:{free_ports(1)[0]}"})
        end_as_by_ctrl_c()
        say("no Spark server answers; one is started for the time")
        try:
            services.start(own, alone)
            with _session(own) as session:
                yield session
        except SparkGone:
            services.check(own, alone)
            raise
        finally:
            ignore_ends()
            services.stop(own, alone)


def _answers(endpoint: tuple[str, int]) -> bool:
    try:
        socket.create_connection(endpoint, ANSWER_WITHIN).close()
    except OSError:
        return False
    return True


@contextmanager
def _session(settings: Settings) -> Iterator[SparkSession]:
    session = SparkSession.builder.remote(settings.spark_remote).create()
    give_up_early(session)
    try:
        yield session
    # A table that is being sent fails with gRPC's own error.
    except (PySparkException, grpc.RpcError) as error:
        if _answers(Spark().endpoint(settings)):
            raise
        raise SparkGone(
            f"Spark at {settings.spark_remote} answered at first and does no more; is it up (`stockpick status`)? "
            "Its log may say why it ended"
        ) from error
    finally:
        session.stop()
