"""Spark: pip's pyspark as one Spark Connect server, with the object store as s3a://."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stockpick_assets.services.java import jars, java, spark_home
from stockpick_assets.services.service import Service
from stockpick_assets.settings import Settings

# FAIR: with one queue for all, a backfill delays the live minute. Few shuffle partitions: a session of 39,000 rows is
# small, each partition of each query is a task, and each task writes the code of its windows anew. Without adaptive
# plans, which plan each of a query's stages again: a live minute's features took 2.7 s of processor time against 3.4
# s, with four partitions and adaptive plans. The JVM has both its compilers: with the first alone a server is warm
# sooner (start, fit, save and load of a model took 31 s of processor time against 57 s), but from its ninth live
# minute on features take 1.3 s against 2.7 s, at the close 1.9 s against 3.5 s. Without the plan cache a query is
# analysed two times more (a live minute's features took 6.6 s of processor time against 3.3 s). Features, indicators
# and forecasts have more than the 100 classes that the cache of compiled code holds by itself, and would compile all of
# them every minute. Tables that clients send are kept until their session of the server ends, 27 MB for each session of
# 100 tickers in a walk: above their share of the memory they go to disk, and the rest is for the rows that queries make
# of them, which Spark does not count. A server that has run out of memory answers nobody, so it ends.
PROPERTIES = """\
spark.master                                  local[*]
spark.app.name                                stockpick
spark.driver.memory                           2g
spark.driver.extraJavaOptions                 -XX:+ExitOnOutOfMemoryError
spark.memory.fraction                         0.3
spark.driver.host                             127.0.0.1
spark.driver.bindAddress                      127.0.0.1
spark.driver.extraClassPath                   {s3a}/*
spark.connect.grpc.binding.address            127.0.0.1
spark.connect.grpc.binding.port               {port}
spark.scheduler.mode                          FAIR
spark.sql.shuffle.partitions                  2
spark.sql.adaptive.enabled                    false
spark.connect.session.planCache.maxSize       4
spark.sql.codegen.cache.maxEntries            2000
spark.sql.session.timeZone                    UTC
spark.sql.catalogImplementation               in-memory
spark.sql.warehouse.dir                       {folder}/warehouse
spark.log.level                               WARN
spark.ui.enabled                              false
spark.ui.showConsoleProgress                  false
spark.hadoop.fs.s3a.endpoint                  {endpoint}
spark.hadoop.fs.s3a.endpoint.region           {region}
spark.hadoop.fs.s3a.path.style.access         true
spark.hadoop.fs.s3a.connection.ssl.enabled    {tls}
spark.hadoop.fs.s3a.attempts.maximum          3
"""


class Spark(Service):
    """One long-lived JVM that every run shares through Spark Connect."""

    name = "spark"
    setting = "spark_remote"

    def environment(self, settings: Settings) -> Mapping[str, str]:
        return {
            "SPARK_HOME": str(spark_home()),
            "SPARK_CONF_DIR": str(self.folder(settings)),
            "SPARK_LOCAL_DIRS": str(self.folder(settings) / "local"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            # Spark hands these two to s3a:// itself; unlike a property, no client can read them back.
            "AWS_ACCESS_KEY_ID": settings.s3_access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        }

    def require(self, settings: Settings) -> None:
        java()

    def arguments(self, settings: Settings) -> Sequence[str]:
        folder = self.folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "spark-defaults.conf"
        properties.write_text(render(settings, self.port(settings), folder, self._s3a(folder)), encoding="utf-8")
        submit = [str(spark_home() / "bin" / "spark-submit"), "--properties-file", str(properties)]
        return [*submit, "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]

    def _s3a(self, folder: Path) -> Path:
        return jars("s3a-3.5.0", "s3a.xml")

    def healthy(self, settings: Settings) -> bool:
        import grpc

        host, port = self.endpoint(settings)
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=2)
            except grpc.FutureTimeoutError:
                return False
        return True


class SparkAlone(Spark):
    """The same without the jars behind s3a://, which come from Maven Central: for a command that saves no model."""

    def _s3a(self, folder: Path) -> Path:
        return folder


def render(settings: Settings, port: int, folder: Path, s3a: Path) -> str:
    """The server's spark-defaults.conf. s3a: the folder of the jars behind s3a:// addresses."""
    return PROPERTIES.format(
        port=port,
        folder=folder,
        s3a=s3a,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        tls=str(settings.s3_endpoint.startswith("https")).lower(),
    )
