"""How the platform stands: services, tables, the newest message, and how far the picks are behind the market.

Cheap to ask at any time: tables are described by their Delta logs alone, and what does not answer is said, not waited
for. What does not belong here: how it is shown.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from kafka.structs import TopicPartition
from sqlalchemy.exc import SQLAlchemyError

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.messages import Message, parse_message, topic_prefix
from stockpick_assets.core.schemas import PICKS, TABLES
from stockpick_assets.fine_partitions import UnsupportedDagster
from stockpick_assets.latency import Latency, newest_latencies
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.services import ALL, OBJECT_STORE, Service
from stockpick_assets.services.dagster import instance_environment, instance_home
from stockpick_assets.services.kafka import Kafka as KafkaService
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store, TableMissing

# Of each topic so many of the last offsets are read: a message, the marker of its transaction, and those of
# transactions that were aborted.
LAST_OFFSETS = 10
SECONDS_FOR_MESSAGES = 5.0
# The newest live runs may have no latency: those that a person started.
RUNS_LOOKED_AT = 5


@dataclass(frozen=True)
class ServiceStatus:
    """A service. pid: None where this home does not run it. memory: resident, of all its processes, in bytes."""

    name: str
    address: str
    pid: int | None
    memory: int
    healthy: bool


@dataclass(frozen=True)
class TableStatus:
    """A table. rows counts every version of a row. newest: the last minute, of tables by session the last session.

    problem: why nothing is known of it; None where it could be read.
    """

    name: str
    address: str
    rows: int
    newest: datetime | date | None
    problem: str | None = None


@dataclass(frozen=True)
class Status:
    """What `read_status` found. lag: market time less the newest minute of the picks; None where there is none.

    latency: of the newest live run of this home that succeeded; None where there is none, or latency_problem says why
    nothing is known.
    """

    source: str
    market_time: datetime
    services: tuple[ServiceStatus, ...]
    tables: tuple[TableStatus, ...]
    newest_message: Message | None
    message_problem: str | None
    lag: timedelta | None
    latency: Latency | None
    latency_problem: str | None


def read_status(settings: Settings) -> Status:
    """Ask everything once. Whatever cannot be read says so in its place; raises nothing for it."""
    with ThreadPoolExecutor(max_workers=len(ALL)) as pool:
        services = dict(zip(ALL, pool.map(lambda service: _service(settings, service), ALL), strict=True))
    store = Store.from_settings(settings)
    if settings.store_root or services[OBJECT_STORE].healthy:
        tables = tuple(_table(store, name) for name in TABLES)
    else:
        problem = "the object store does not answer"
        tables = tuple(TableStatus(name, store.uri(name), 0, None, problem) for name in TABLES)
    newest, problem = None, "kafka does not answer"
    if any(status.healthy for service, status in services.items() if isinstance(service, KafkaService)):
        try:
            newest, problem = (
                newest_message(Kafka(settings.kafka_bootstrap, settings.kafka_security()), settings.source),
                None,
            )
        except StockpickError as error:
            problem = str(error)
    market_time = settings.clock.at(datetime.now(UTC))
    picked = next(table.newest for table in tables if table.name == PICKS.name)
    lag = market_time - picked if isinstance(picked, datetime) else None
    latency, of_latency = _latency(settings)
    of_services = tuple(services.values())
    return Status(settings.source, market_time, of_services, tables, newest, problem, lag, latency, of_latency)


def newest_message(kafka: Kafka, source: str) -> Message | None:
    """The message of the latest minute among the last of every topic; None when there is none. Raises BrokerError."""
    with closing(kafka.consumer()) as consumer:
        places = [
            TopicPartition(topic, partition)
            for topic in consumer.topics()
            if topic.startswith(topic_prefix(source))
            for partition in consumer.partitions_for_topic(topic) or ()
        ]
        if not places:
            return None
        consumer.assign(places)
        ends: Mapping[TopicPartition, int] = consumer.end_offsets(places)
        for place, end in ends.items():
            consumer.seek(place, max(0, end - LAST_OFFSETS))
        texts: list[bytes] = []
        deadline = time.monotonic() + SECONDS_FOR_MESSAGES
        while time.monotonic() < deadline and any((consumer.position(place) or 0) < end for place, end in ends.items()):
            texts += [record.value for records in consumer.poll(200).values() for record in records]
    return max((parse_message(text) for text in texts), key=lambda message: message.minute, default=None)


def _latency(settings: Settings) -> tuple[Latency | None, str | None]:
    """The newest live run's, or what is in the way of it."""
    if not (instance_home(settings) / "dagster.yaml").exists():
        return None, None
    if settings.source != "yahoo" and not settings.clock.replayed:
        return None, None  # the replay is over, and with it the clock by which a minute closed
    os.environ.update(instance_environment(settings))
    try:
        with dg.DagsterInstance.get() as instance:
            # Earlier runs of a replay had another clock.
            newest = newest_latencies(instance, settings.clock, RUNS_LOOKED_AT, settings.replay_started_at)
    except (UnsupportedDagster, SQLAlchemyError) as error:
        return None, f"Dagster's records cannot be read: {error}"
    return next(iter(newest), None), None


def _service(settings: Settings, service: Service) -> ServiceStatus:
    process = service.process(settings)
    leader = process.leader()
    healthy = (leader is not None or not service.is_local(settings)) and service.healthy(settings)
    return ServiceStatus(
        service.name, service.address(settings), leader.pid if leader else None, process.memory(), healthy
    )


def _table(store: Store, name: str) -> TableStatus:
    try:
        held = store.contents(name)
    except TableMissing:
        return TableStatus(name, store.uri(name), 0, None)
    except StockpickError as error:
        return TableStatus(name, store.uri(name), 0, None, str(error))
    return TableStatus(name, store.uri(name), held.rows, held.newest or max(held.files, default=None))
