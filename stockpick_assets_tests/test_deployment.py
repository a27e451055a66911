"""What holds for every container of docker-compose.yml, and that the lists in documents match what there is."""

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from sqlalchemy import make_url

from stockpick_assets.fine_partitions import remove
from stockpick_assets.services.dagster import WITHOUT_THREADS, CodeServer, code_server
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets_tests.fine_partitions.code_servers import until
from stockpick_assets_tests.fine_partitions.flows import UPSTREAM, keys, run, statuses
from stockpick_assets_tests.fine_partitions.postgres import cluster, new_database

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# Ports that docker-compose.yml publishes are settings of compose, not of stockpick.
OF_COMPOSE = {"STOCKPICK_DAGSTER_PORT", "STOCKPICK_APP_PORT"}

every_service = pytest.mark.parametrize("name", SERVICES)


@every_service
def test_a_container_can_change_nothing_but_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "pid", "network_mode"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]


@every_service
def test_no_container_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    if service["image"].startswith("stockpick"):
        folder = {"stockpick": ".", "stockpick-minio": "docker/minio"}[service["image"]]
        lines = (ROOT / folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
        assert "user" not in service
    else:
        user, _, group = service["user"].partition(":")
        assert int(user) > 0
        assert int(group) > 0


@every_service
def test_ports_are_published_on_this_machine_alone(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@every_service
def test_only_what_must_leave_the_machine_can(name: str) -> None:
    networks = set(SERVICES[name]["networks"])
    assert "back" in networks
    assert ("out" in networks) == (name == "dagster-code")
    assert ("front" in networks) == ("ports" in SERVICES[name])
    assert COMPOSE["networks"]["back"]["internal"] is True


@every_service
def test_logs_are_rotated(name: str) -> None:
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@every_service
def test_a_service_that_others_wait_for_says_when_it_is_ready(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"


@every_service
def test_no_secret_is_written_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET", variable):
            assert variable.endswith("_FILE"), f"{variable} is {value}"


def test_every_secret_is_made_and_none_is_shipped(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    _make_secrets(folder)
    declared = {secret["file"].removeprefix("secrets/") for secret in COMPOSE["secrets"].values()}
    assert {path.name for path in folder.iterdir()} == declared
    values = [path.read_text(encoding="utf-8").strip() for path in folder.iterdir() if path.name != "alert_urls"]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch("[A-Za-z0-9]{40}", value) for value in values)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    before = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    _make_secrets(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == before


def test_the_example_shows_every_setting_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("STOCKPICK_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = re.findall(r"^#(STOCKPICK_\w+)=(.*)$", example, re.MULTILINE)
    assert {name for name, _ in lines} - OF_COMPOSE == {f"STOCKPICK_{name.upper()}" for name in Settings.model_fields}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines), encoding="utf-8")
    assert Settings.load() == Settings()


def test_every_dependency_is_accounted_for() -> None:
    document = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    setup = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    named = [
        keyword.value
        for node in ast.walk(setup)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("install_requires", "extras_require")
    ]
    names = {text.value for value in named for text in ast.walk(value) if isinstance(text, ast.Constant)} - {"dev"}
    assert len(names) > 20
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_the_containers_keep_dagsters_records_in_postgres_with_ranges_of_partitions(tmp_path: Path) -> None:
    told = yaml.safe_load((ROOT / "docker" / "dagster.yaml").read_text(encoding="utf-8"))
    with cluster() as server:
        address = new_database(server)
        for storage in ("run_storage", "schedule_storage", "event_log_storage"):
            assert set(told[storage]["config"]["postgres_db"]) == {
                *("scheme", "hostname", "port", "db_name", "username", "password")
            }
            assert make_url(address).drivername == told[storage]["config"]["postgres_db"]["scheme"]
            told[storage] = told[storage] | {"config": {"postgres_url": address}}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
        try:
            with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
                instance.upgrade()
                assert run(instance).success
                assert statuses(instance, UPSTREAM)["materialized"] == sorted(keys())
                assert type(instance.run_storage) is PostgresRunStorage
                assert type(instance.schedule_storage) is PostgresScheduleStorage
        finally:
            remove()
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]


def test_the_code_server_of_a_container_is_the_one_of_this_machine_on_every_address(tmp_path: Path) -> None:
    service = SERVICES["dagster-code"]
    (port,) = free_ports(1)
    environment = os.environ | {
        "DAGSTER_HOME": str(tmp_path),
        "STOCKPICK_HOME": str(tmp_path),
        "STOCKPICK_DAGSTER_CODE_SERVER": f"dagster-code:{port}",
    }
    with subprocess.Popen([sys.executable, *service["command"][1:]], cwd=ROOT, env=environment) as process:
        try:
            until(lambda: CodeServer().healthy(Settings(dagster_code_server=f"127.0.0.1:{port}")))
            served = psutil.Process(process.pid)
            assert served.cmdline()[1:] == list(code_server("0.0.0.0", port))[1:]
            assert served.environ().items() >= WITHOUT_THREADS.items()
        finally:
            process.terminate()


def _make_secrets(folder: Path) -> None:
    subprocess.run([ROOT / "docker" / "make-secrets", folder], check=True, capture_output=True)
