"""How services are started, watched and stopped, on small programs in place of the real ones."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from stockpick_assets.services import supervisor
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.services.supervisor import (
    ServiceDied,
    StoppedElsewhere,
    bring_up,
    check_alive,
    only_one,
    take_down,
)
from stockpick_assets.settings import Settings


class Program(Service):
    """A shell script as a service, healthy when `answers` says so."""

    def __init__(
        self, name: str, script: str = "exec sleep 600", needs: tuple[str, ...] = (), setting: str = ""
    ) -> None:
        self.name, self.script, self.needs, self.setting = name, script, needs, setting
        self.answers: Callable[[Settings], bool] = lambda settings: True
        self.given: dict[str, str] = {}

    def environment(self, settings: Settings) -> Mapping[str, str]:
        return self.given

    def arguments(self, settings: Settings) -> Sequence[str]:
        return ["bash", "-c", self.script]

    def healthy(self, settings: Settings) -> bool:
        return self.answers(settings)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, app_url=f"http://127.0.0.1:{free_ports(1)[0]}")


def silent(line: str) -> None:
    pass


def alive(settings: Settings, *services: Service) -> list[str]:
    return [service.name for service in services if service.process(settings).leader()]


def test_services_are_started_told_of_and_stopped_and_both_can_be_repeated(settings: Settings) -> None:
    lines: list[str] = []
    services = [Program("one", setting="app_url"), Program("two")]
    for _ in range(2):
        bring_up(settings, services, lines.append)
    assert alive(settings, *services) == ["one", "two"]
    assert {line.split(" (")[0] for line in lines} == {f"one answers at {settings.app_url}", "two answers"}
    check_alive(settings, services)
    for _ in range(2):
        take_down(settings, [services], lines.append)
    assert alive(settings, *services) == []
    assert len([line for line in lines if "stopped" in line]) == 2


def test_a_service_is_launched_after_those_it_needs_answer(settings: Settings) -> None:
    below, above = Program("below"), Program("above", needs=("below",))
    seen: list[list[str]] = []

    def answers(settings: Settings) -> bool:
        seen.append(alive(settings, above))
        return len(seen) == 3

    below.answers = answers
    bring_up(settings, [above, below], silent)
    assert seen == [[], [], []]
    assert alive(settings, above, below) == ["above", "below"]
    take_down(settings, [[above, below]], silent)


def test_a_service_that_dies_at_its_start_is_named_with_its_log_and_the_others_are_stopped(settings: Settings) -> None:
    other, dying = Program("other"), Program("dying", "echo the disk is full; exit 3", needs=("other",))
    dying.answers = lambda settings: False
    with pytest.raises(ServiceDied) as died:
        bring_up(settings, [other, dying], silent)
    log = dying.process(settings).log
    assert str(died.value) == f"the dying died at its start (exit status 3); its log {log} ends:\nthe disk is full"
    assert alive(settings, other, dying) == []


def test_a_service_that_never_answers_is_given_up(settings: Settings) -> None:
    mute = Program("mute")
    mute.answers, mute.patience_seconds = lambda settings: False, 0.2
    with pytest.raises(ServiceError, match=r"the mute gave no answer within 0 s; its log .*/logs/mute.log ends:"):
        bring_up(settings, [mute], silent)
    assert alive(settings, mute) == []


def test_services_that_ran_before_a_start_that_fails_go_on(settings: Settings) -> None:
    running, dying = Program("running"), Program("dying", "exit 1")
    dying.answers = lambda settings: False
    bring_up(settings, [running], silent)
    with pytest.raises(ServiceDied):
        bring_up(settings, [running, dying], silent)
    assert alive(settings, running) == ["running"]
    take_down(settings, [[running]], silent)


def test_a_taken_port_is_named_with_its_holder_and_what_to_do(settings: Settings) -> None:
    service = Program("app", setting="app_url")
    port = service.port(settings)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceError) as taken:
        bring_up(settings, [service], silent)
    assert str(taken.value).startswith(f"port {port} of the app is taken by process {os.getpid()} (")
    assert str(taken.value).endswith(
        "stop that, or set STOCKPICK_APP_URL to another port, or STOCKPICK_PORT_OFFSET to move every port"
    )


def test_a_service_that_died_since_is_told(settings: Settings) -> None:
    service = Program("worker", "echo started; exec sleep 600")
    service.answers = lambda settings: service.process(settings).last_lines() == ["started"]
    bring_up(settings, [service], silent)
    leader = service.process(settings).leader()
    assert leader is not None
    leader.kill()
    leader.wait()
    with pytest.raises(ServiceDied, match=r"a service died: worker; its log .*/logs/worker.log ends:\nstarted"):
        check_alive(settings, [service])
    bring_up(settings, [service], silent)
    check_alive(settings, [service])
    take_down(settings, [[service]], silent)


def test_services_that_another_command_stops_or_has_stopped_did_not_die(settings: Settings) -> None:
    one, two = Program("one"), Program("two")
    bring_up(settings, [one, two], silent)
    leader = one.process(settings).leader()
    assert leader is not None
    with only_one(settings):
        check_alive(settings, [one, two])
        leader.kill()
        leader.wait()
        with pytest.raises(StoppedElsewhere, match="another command stopped the services of /"):
            check_alive(settings, [one, two])
    take_down(settings, [[one, two]], silent)
    with pytest.raises(StoppedElsewhere):
        check_alive(settings, [one, two])


def test_a_service_that_runs_with_other_settings_is_not_taken_for_ours(settings: Settings) -> None:
    service = Program("app")
    service.given = {"STOCKPICK_SOURCE": "simulated"}
    bring_up(settings, [service], silent)
    service.given = {"STOCKPICK_SOURCE": "yahoo"}
    with pytest.raises(
        ServiceError, match=r"the app already runs in .* with other settings; stop it with `stockpick down`"
    ):
        bring_up(settings, [service], silent)
    assert alive(settings, service) == ["app"]
    take_down(settings, [[service]], silent)


def test_a_service_elsewhere_is_asked_but_neither_started_nor_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SECONDS_FOR_ONE_ELSEWHERE", 0.0)
    settings = Settings(home=tmp_path, app_url="http://app.example.com")
    service = Program("app", setting="app_url")
    bring_up(settings, [service], silent)
    assert not service.process(settings).recorded
    service.answers = lambda settings: False
    with pytest.raises(
        ServiceError, match=r"no answer from the app at http://app.example.com .* is STOCKPICK_APP_URL right"
    ):
        bring_up(settings, [service], silent)


def test_two_commands_do_not_work_on_one_home_at_a_time(settings: Settings) -> None:
    refused = pytest.raises(ServiceError, match="being started or stopped by another command")
    with only_one(settings), refused, only_one(settings):
        pass
    with only_one(settings):
        pass
