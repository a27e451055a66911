"""A real code server that is asked to reload: its definitions are made anew, and everyone who knows it follows."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient
from dagster_graphql.test.utils import execute_dagster_graphql

from stockpick_assets.services.process import free_ports
from stockpick_assets_tests.fine_partitions.code_servers import Served, serve, until

LAUNCH = """
mutation($job: String!) {
  launchRun(executionParams: {mode: "default", selector: {
    repositoryLocationName: "test", repositoryName: "__repository__", jobName: $job
  }}) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def served(tmp_path: Path, port: int) -> Iterator[Served]:
    """A server whose definitions have the job `first`."""
    says(tmp_path, "first")
    module = "stockpick_assets_tests.fine_partitions.changing_location"
    with serve(tmp_path, port, module, module=module) as served:
        yield served


def says(folder: Path, loaded: str) -> None:
    """Let the next load have the job of that name."""
    (folder / "loaded").write_text(loaded, encoding="utf-8")


def known(served: Served) -> set[str]:
    """The jobs that a webserver or a daemon knows of."""
    (repository,) = served.workspace.get_code_location("test").get_repositories().values()
    return {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}


def loaded_by_run(served: Served, job: str) -> dict[str, str]:
    """The tags of a run of the job, launched as the UI does."""
    result = execute_dagster_graphql(served.workspace, LAUNCH, {"job": job})
    (run,) = served.finished(result.data["launchRun"]["run"]["runId"])
    assert run.status == dg.DagsterRunStatus.SUCCESS
    return dict(run.tags)


def test_a_reload_makes_the_definitions_anew_and_who_watches_follows(served: Served, tmp_path: Path, port: int) -> None:
    client = DagsterGrpcClient(host="127.0.0.1", port=port)
    before, forker = client.get_server_id(), served.fork_server().pid
    assert known(served) == {"first"}

    says(tmp_path, "second")
    client.reload_code(timeout=60)

    assert client.get_server_id() != before
    until(lambda: known(served) == {"second"})
    tags = loaded_by_run(served, "second")
    assert tags["loaded"] == "second"
    assert tags["parent"] == str(forker) == str(served.fork_server().pid)


def test_reload_in_the_ui_makes_the_definitions_anew(served: Served, tmp_path: Path) -> None:
    says(tmp_path, "second")

    served.workspace.reload_code_location("test")

    assert known(served) == {"second"}


def test_a_run_has_the_definitions_it_was_launched_from(served: Served, tmp_path: Path) -> None:
    says(tmp_path, "second")

    assert loaded_by_run(served, "first")["loaded"] == "first"


def test_definitions_that_cannot_be_loaded_leave_those_before(served: Served, tmp_path: Path, port: int) -> None:
    client = DagsterGrpcClient(host="127.0.0.1", port=port)
    before = client.get_server_id()
    says(tmp_path, "")

    with pytest.raises(DagsterUserCodeUnreachableError) as refused:
        client.reload_code(timeout=60)

    assert "Error occurred during the loading of Dagster definitions" in str(refused.value.__cause__)
    assert client.get_server_id() == before
    assert loaded_by_run(served, "first")["loaded"] == "first"
