"""The one place where stockpick is put together.

    raw_prices ─> features ─> predictions ─> picks ─> scores      ticker × minute
       factors ───^   │       ^─── return_model                   session, made before it opens
                      └─> training_set ─> performance             session, made after its close
    universe                                                      session
    picks ─> Kafka topic per ticker                               sensors
    picks, raw_prices, failed runs, the relay's position ─> alerts
    raw_prices, asked again ─> what a revision touches            sensors

What a session leaves behind is what the next begins with: training_set goes into its factors and its return_model, and
predictions and performance into its return_model, which measures and chooses models by them.

`defs` is what Dagster loads; `build_definitions` builds the same from any settings, with any part replaced.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
from dagster_aws.s3 import S3Resource

from stockpick_assets.ask_again import ask_again_job
from stockpick_assets.assets.factors import factors
from stockpick_assets.assets.features import features
from stockpick_assets.assets.flow import Flow
from stockpick_assets.assets.performance import performance
from stockpick_assets.assets.picks import picks
from stockpick_assets.assets.predictions import predictions
from stockpick_assets.assets.raw_prices import raw_prices
from stockpick_assets.assets.return_model import return_model
from stockpick_assets.assets.scores import scores
from stockpick_assets.assets.training_set import training_set
from stockpick_assets.assets.universe import universe as universe_asset
from stockpick_assets.core.links import Links
from stockpick_assets.core.rules import rules_from
from stockpick_assets.fine_partitions.loading import decided_at_load
from stockpick_assets.io_managers import ModelIOManager, TableIOManager
from stockpick_assets.jobs import LIVE, jobs
from stockpick_assets.relay import Relay
from stockpick_assets.resources.code_server import CodeServer
from stockpick_assets.resources.kafka import Kafka, NewTopic
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now, wall_clock
from stockpick_assets.resources.relay_position import RelayPosition
from stockpick_assets.resources.sources import market_data, universe
from stockpick_assets.resources.spark import RunSpark
from stockpick_assets.resources.tables import Tables
from stockpick_assets.sensors.after_close import after_close_sensor
from stockpick_assets.sensors.alerts import alerts_sensor
from stockpick_assets.sensors.heal import heal_sensor
from stockpick_assets.sensors.live import live_sensor
from stockpick_assets.sensors.recompute import recompute_sensor
from stockpick_assets.sensors.relay import relay_sensor
from stockpick_assets.sensors.retention import retention_sensor
from stockpick_assets.sensors.sweep import sweep_sensor
from stockpick_assets.sensors.upkeep import upkeep_sensor
from stockpick_assets.sensors.window import window_sensor
from stockpick_assets.settings import Settings
from stockpick_assets.window import window


def build_definitions(settings: Settings, wall: datetime, **overrides: Any) -> dg.Definitions:
    """Every asset, check, job, sensor and resource of the settings' source.

    wall: wall time, which decides the window of live partitions. overrides: resources by name, in place of the real
    ones.
    """
    source: MarketData = overrides.get("market_data") or market_data(settings)
    flow = build_flow(settings, source, wall)
    every_job = jobs(flow)
    return dg.Definitions(
        assets=[
            universe_asset(flow),
            raw_prices(flow),
            features(flow),
            predictions(flow),
            picks(flow),
            scores(flow),
            training_set(flow),
            performance(flow),
            factors(flow),
            return_model(flow),
        ],
        jobs=[*every_job, ask_again_job(flow)],
        sensors=[
            live_sensor(flow),
            after_close_sensor(flow, every_job),
            heal_sensor(flow),
            sweep_sensor(flow),
            recompute_sensor(flow, every_job),
            relay_sensor(flow),
            alerts_sensor(flow, rules_from(settings.alert_rules)),
            retention_sensor(flow, timedelta(days=settings.keep_runs_days)),
            upkeep_sensor(flow, timedelta(days=settings.keep_versions_days)),
            window_sensor(flow, partial(window, settings, source)),
        ],
        resources=resources(settings, source, flow) | overrides,
        executor=dg.in_process_executor,
    )


def build_flow(settings: Settings, source: MarketData, wall: datetime) -> Flow:
    """What the assets of the settings' source share."""
    return Flow(
        source=settings.source,
        window=window(settings, source, wall),
        links=Links(settings.app_url, settings.dagster_url, settings.source),
        bar_delay=timedelta(seconds=settings.bar_delay_seconds),
        cost_bp=settings.cost_bp,
        seed=settings.seed,
        universe=universe(settings, source),
        closings=settings.closings,
        kinds=settings.kinds,
    )


def resources(settings: Settings, source: MarketData, flow: Flow) -> dict[str, Any]:
    """The real resources; what is secret is read from the environment when a run needs it."""
    tables = Tables(
        s3=S3Resource(
            endpoint_url=settings.s3_endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=dg.EnvVar("STOCKPICK_S3_ACCESS_KEY"),
            aws_secret_access_key=dg.EnvVar("STOCKPICK_S3_SECRET_KEY"),
        ),
        bucket=settings.s3_bucket,
        source=settings.source,
        root=settings.store_root,
    )
    pyspark = RunSpark(spark_config={"spark.remote": settings.spark_remote, "spark.sql.session.timeZone": "UTC"})
    now = Now(settings.clock)
    new_topic = NewTopic(settings.topic_partitions, settings.topic_replication, settings.topic_retention_hours)
    kafka = Kafka(settings.kafka_bootstrap, settings.kafka_security(), new_topic)
    return {
        "market_data": source,
        "now": now,
        "tables": tables,
        "pyspark": pyspark,
        "relay": Relay(flow.source, flow.window.tickers, settings.clock, kafka.outbox),
        "relay_position": RelayPosition(kafka, flow.source),
        "code_server": CodeServer(settings.dagster_code_server),
        "notifier": Notifier(settings.alert_urls.get_secret_value()),
        "io_manager": TableIOManager(tables=tables, now=now, live_job=LIVE),
        "model_io_manager": ModelIOManager(tables=tables, pyspark=pyspark, cost_bp=flow.cost_bp),
    }


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the definitions of the settings in the environment, as of now; in a run, as of the load that
    it was launched from, whose window has its partitions.
    """
    loaded_at = decided_at_load("loaded at", lambda: wall_clock().isoformat())
    return build_definitions(Settings.load(), datetime.fromisoformat(loaded_at))
