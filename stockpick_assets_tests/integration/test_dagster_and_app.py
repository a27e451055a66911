"""Dagster and the app as `stockpick up` starts them, beside the services that run already."""

from stockpick_assets import services as local
from stockpick_assets.services.dagster import answer
from stockpick_assets.services.process import free_ports, port_is_free
from stockpick_assets.services.status import read_status
from stockpick_assets.settings import Settings

ABOVE = [service for service in local.ALL if service not in local.DATA]
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""


def test_dagster_and_the_app_answer_load_the_definitions_and_leave_no_port_behind(services: Settings) -> None:
    code, web, app = free_ports(3)
    settings = services.model_copy(
        update={
            "dagster_code_server": f"127.0.0.1:{code}",
            "dagster_url": f"http://127.0.0.1:{web}",
            "app_url": f"http://127.0.0.1:{app}",
        }
    )
    try:
        local.start(settings, local.ALL, print)
        status = read_status(settings)
        assert {service.name: service.healthy for service in status.services} == dict.fromkeys(
            (service.name for service in local.ALL), True
        )
        assert status.message_problem is None
        assert [table.problem for table in status.tables] == [None] * len(status.tables)
        (location,) = answer(f"{settings.dagster_url}/graphql", {"query": LOCATIONS})["data"]["workspaceOrError"][
            "locationEntries"
        ]
        assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation", location
        local.check(settings)
    finally:
        local.stop(settings, ABOVE, print)
    assert [service.name for service in local.running(settings)] == [service.name for service in local.DATA]
    assert all(port_is_free(port) for port in (code, web, app))
