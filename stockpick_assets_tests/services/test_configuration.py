"""What Kafka, Spark and Dagster are told at their start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from stockpick_assets.services import dagster, kafka, spark
from stockpick_assets.services.service import ServiceError
from stockpick_assets.settings import Settings


def properties(text: str, separator: str | None) -> dict[str, str]:
    return dict(line.split(separator, 1) for line in text.splitlines())


def test_kafka_listens_on_this_machine_alone_and_keeps_one_copy_of_everything(tmp_path: Path) -> None:
    told = properties(kafka.render(9092, 9999, tmp_path), "=")
    assert told["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9999"
    assert told["controller.quorum.voters"] == "1@127.0.0.1:9999"
    assert told["log.dirs"] == str(tmp_path)
    copies = {value for name, value in told.items() if name.endswith(("replication.factor", "min.isr"))}
    assert copies == {"1"}
    assert told["auto.create.topics.enable"] == "false"


def test_a_cluster_id_is_one_that_kafka_takes() -> None:
    ids = {kafka.cluster_id() for _ in range(300)}
    assert len(ids) == 300
    assert {len(text) for text in ids} == {22}
    assert not any(text.startswith("-") for text in ids)


def test_spark_is_told_where_the_object_store_is_but_its_keys_only_through_the_environment(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, s3_access_key=SecretStr("an-access"), s3_secret_key=SecretStr("a-secret"))
    text = spark.render(settings, 15002, tmp_path, tmp_path / "jars")
    told = properties(text, None)
    assert told["spark.connect.grpc.binding.address"] == told["spark.driver.bindAddress"] == "127.0.0.1"
    assert told["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:8333"
    assert told["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "false"
    assert told["spark.scheduler.mode"] == "FAIR"
    assert "a-secret" not in text
    environment = spark.Spark().environment(settings)
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == ("an-access", "a-secret")


def test_two_copies_of_dagster_have_instances_and_code_servers_of_their_own(tmp_path: Path) -> None:
    copies = [Settings(home=tmp_path / str(offset), port_offset=offset) for offset in (0, 1000)]
    for settings in copies:
        dagster.lay_configuration(settings)
    first, second = map(dagster.instance_environment, copies)
    assert (first["CODE_SERVER_PORT"], second["CODE_SERVER_PORT"]) == ("4000", "5000")
    assert first["DAGSTER_HOME"] != second["DAGSTER_HOME"]
    for environment in (first, second):
        told = yaml.safe_load(Path(environment["DAGSTER_HOME"], "dagster.yaml").read_text())
        assert told["event_log_storage"]["config"]["base_dir"] == {"env": "EVENT_LOG_DIR"}
        assert Path(environment["EVENT_LOG_DIR"]).is_relative_to(environment["DAGSTER_HOME"])


def test_what_runs_find_imported_starts_no_thread_and_opens_no_connection() -> None:
    imports = "\n".join(f"import {module}" for module in dagster.PRELOAD)
    script = f"""{imports}
import psutil
this = psutil.Process()
print(this.num_threads(), len(this.net_connections("all")))"""
    counted = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=os.environ | dagster.WITHOUT_THREADS,
        check=True,
        capture_output=True,
        text=True,
    )
    assert counted.stdout.split() == ["1", "0"]


def test_a_code_server_is_warm_where_a_process_can_be_forked_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    warm = dagster.CodeServer().arguments(settings)
    assert warm[2] == "stockpick_assets.fine_partitions.code_server"
    assert [warm[at + 1] for at, word in enumerate(warm) if word == "--preload"] == list(dagster.PRELOAD)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert dagster.CodeServer().arguments(settings)[2:5] == ["dagster", "api", "grpc"]


def test_a_missing_file_of_the_project_is_named() -> None:
    with pytest.raises(ServiceError, match=r"no_such\.yaml is missing; run stockpick from its repository"):
        dagster.project_file("no_such.yaml")


@pytest.mark.parametrize("address", ["127.0.0.1", "nonsense:port"])
def test_an_address_without_a_port_is_refused_with_its_setting(tmp_path: Path, address: str) -> None:
    with pytest.raises(ServiceError, match=f"STOCKPICK_KAFKA_BOOTSTRAP is '{address}', which names no host and port"):
        kafka.Kafka().port(Settings(home=tmp_path, kafka_bootstrap=address))
