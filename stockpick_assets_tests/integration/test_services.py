"""The services as they really run: the fixture starts the object store, Kafka and Spark."""

import os
import socket
import stat

import pandas as pd
import psutil
import pytest
from deltalake import DeltaTable, write_deltalake
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pyarrow.fs import S3FileSystem
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession

from stockpick_assets import services as local
from stockpick_assets.services import environment_file
from stockpick_assets.services.object_store import filesystem
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.service import ServiceError
from stockpick_assets.settings import Settings
from stockpick_assets.store import s3_options


def test_a_second_start_leaves_what_runs_as_it_is(services: Settings) -> None:
    pids = [service.process(services).leader().pid for service in local.DATA]
    assert local.start(services, local.DATA) == services
    assert [service.process(services).leader().pid for service in local.DATA] == pids
    local.check(services)


def test_what_runs_with_other_settings_is_not_taken_for_ours(services: Settings) -> None:
    other = services.model_copy(update={"s3_access_key": type(services.s3_access_key)("another")})
    with pytest.raises(
        ServiceError, match=r"spark already runs in .* with other settings; stop it with `stockpick down`"
    ):
        local.start(other, local.DATA)
    environment_file.write_settings(services)


def test_nothing_listens_beyond_this_machine(services: Settings) -> None:
    pids = {process.pid for service in local.DATA for process in service.process(services).members()}
    listening = [c for c in psutil.net_connections("tcp") if c.pid in pids and c.status == psutil.CONN_LISTEN]
    assert len(listening) >= len(local.DATA)
    assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}


def test_no_secret_is_on_a_command_line_or_in_a_log_and_files_of_secrets_are_the_owners_alone(
    services: Settings,
) -> None:
    secret = services.s3_secret_key.get_secret_value()
    for service in local.DATA:
        process = service.process(services)
        assert secret not in " ".join(process.leader().cmdline())
        assert secret not in process.log.read_text()
    holding = [path for path in services.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert {path.name for path in holding} == {"stockpick.env", "identities.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_the_object_store_refuses_other_keys(services: Settings) -> None:
    stranger = S3FileSystem(
        endpoint_override=services.s3_endpoint, access_key="stranger", secret_key="guess", region=services.s3_region
    )
    with pytest.raises(OSError, match="INVALID_ACCESS_KEY_ID"):
        stranger.open_output_stream(f"{services.s3_bucket}/stranger").close()


@pytest.mark.parametrize("store", ["services", "minio"])
def test_a_delta_table_is_written_and_read_on_both_stores(store: str, request: pytest.FixtureRequest) -> None:
    settings: Settings = request.getfixturevalue(store)
    filesystem(settings).create_dir(settings.s3_bucket)
    options = s3_options(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        settings.s3_region,
    )
    uri = f"s3://{settings.s3_bucket}/test_services/table"
    for _ in range(2):
        write_deltalake(uri, pd.DataFrame({"a": [1, 2]}), mode="append", storage_options=options)
    table = DeltaTable(uri, storage_options=options)
    assert (table.version(), table.to_pyarrow_table().num_rows) == (1, 4)


def test_kafka_commits_a_transaction_and_makes_no_topic_by_itself(services: Settings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=services.kafka_bootstrap)
    admin.create_topics(["test_services"])
    producer = KafkaProducer(bootstrap_servers=services.kafka_bootstrap, transactional_id="test_services")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send("test_services", b"once")
    producer.commit_transaction()
    producer.close()
    reader = KafkaConsumer(
        "test_services",
        "test_services_misspelt",
        bootstrap_servers=services.kafka_bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=10000,
    )
    assert next(reader).value == b"once"
    reader.close()
    assert "test_services_misspelt" not in admin.list_topics()
    admin.close()


def test_a_fitted_pipeline_is_saved_on_the_object_store_and_loaded_again(services: Settings) -> None:
    spark = SparkSession.builder.remote(services.spark_remote).create()
    frame = spark.createDataFrame(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0], "y": [2.0, 5.0, 6.0]}))
    stages = [VectorAssembler(inputCols=["a", "b"], outputCol="f"), LinearRegression(featuresCol="f", labelCol="y")]
    model = Pipeline(stages=stages).fit(frame)
    path = f"s3a://{services.s3_bucket}/test_services/model"
    model.write().save(path)
    loaded = PipelineModel.load(path)
    predictions = [row.prediction for row in loaded.transform(frame).collect()]
    assert predictions == pytest.approx([2.0, 5.0, 6.0], abs=1e-6)
    spark.stop()


def test_a_start_that_fails_stops_what_it_started_and_names_the_port(services: Settings) -> None:
    store, kafka = free_ports(2)
    home = services.home / "second"
    second = Settings(home=home, s3_endpoint=f"http://127.0.0.1:{store}", kafka_bootstrap=f"127.0.0.1:{kafka}")
    taken = pytest.raises(ServiceError, match=f"port {kafka} of the kafka is taken by process {os.getpid()}")
    with socket.create_server(("127.0.0.1", kafka)), taken:
        local.start(second, local.DATA[:2])
    assert local.running(second) == []


def test_a_service_that_dies_is_named_with_its_log(services: Settings) -> None:
    home = services.home / "third"
    third = Settings(home=home, kafka_bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    kafka = local.DATA[1:2]
    try:
        local.start(third, kafka)
        local.check(third)
        leader = kafka[0].process(third).leader()
        leader.kill()
        leader.wait()
        with pytest.raises(local.ServiceDied, match=r"a service died: kafka; its log .*kafka.log ends:"):
            local.check(third)
    finally:
        local.stop(third)
