"""Real services for the tests of this folder: started once a session, on free ports, in a folder of their own."""

import secrets
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pydantic import SecretStr

from stockpick_assets import services as local
from stockpick_assets.resources.kafka import Kafka
from stockpick_assets.services.java import cache_folder
from stockpick_assets.services.process import ServiceProcess, free_ports
from stockpick_assets.settings import Settings

# The first test that asks for the services waits for them to start, on a busy machine with their jars fetched anew.
SECONDS_OF_A_TEST = 600
_sources = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder that do not say otherwise more time than the unit tests have."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS_OF_A_TEST))


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running object store, Kafka and Spark; the source is `simulated`, the bucket is empty."""
    store, kafka, spark = free_ports(3)
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        s3_endpoint=f"http://127.0.0.1:{store}",
        kafka_bootstrap=f"127.0.0.1:{kafka}",
        spark_remote=f"sc://127.0.0.1:{spark}",
    )
    try:
        yield local.start(settings, local.DATA, print)
    finally:
        local.stop(settings, on_progress=print)


@pytest.fixture
def kafka(services: Settings) -> Kafka:
    return Kafka(services.kafka_bootstrap)


@pytest.fixture
def source() -> str:
    """A source of its own for each test, so that none sees another's topics or position."""
    return f"test{next(_sources)}"


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose object store is a running MinIO without a bucket; the other services are not there."""
    binary = shutil.which("minio") or str(cache_folder() / "bin" / "minio")
    assert Path(binary).exists(), f"no MinIO at {binary}; `make test` builds it"
    home = tmp_path_factory.mktemp("minio")
    settings = Settings(
        home=home,
        s3_endpoint=f"http://127.0.0.1:{free_ports(1)[0]}",
        s3_access_key=SecretStr(secrets.token_hex(10)),
        s3_secret_key=SecretStr(secrets.token_urlsafe(30)),
    )
    process = ServiceProcess(home, "minio")
    address = settings.s3_endpoint.removeprefix("http://")
    process.launch(
        [binary, "server", "--quiet", "--address", address, str(home / "data")],
        {
            "MINIO_ROOT_USER": settings.s3_access_key.get_secret_value(),
            "MINIO_ROOT_PASSWORD": settings.s3_secret_key.get_secret_value(),
            "MINIO_BROWSER": "off",
        },
        home,
    )
    try:
        end = time.monotonic() + 60
        while not _answers(f"{settings.s3_endpoint}/minio/health/live"):
            assert process.leader(), "\n".join(process.last_lines())
            assert time.monotonic() < end, "MinIO gave no answer within a minute"
            time.sleep(0.1)
        yield settings
    finally:
        process.end()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False
