import json
import os
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from stockpick_assets.services.process import ServiceProcess, free_ports, holder_of, port_is_free


def gate(folder: Path) -> Path:
    """A named pipe: reading it waits until the launched process writes to it."""
    path = folder / "gate"
    os.mkfifo(path)
    return path


def launch(process: ServiceProcess, script: str, **environment: str) -> psutil.Popen:
    return process.launch(["bash", "-c", script], environment, process.home)


def test_a_launched_process_is_recognised_and_ended_with_its_children(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "a service")
    opened = gate(tmp_path)
    launched = launch(process, f"sleep 600 & echo $! > {opened}; wait")
    child = psutil.Process(int(opened.read_text()))
    assert process.leader() == psutil.Process(launched.pid)
    assert {member.pid for member in process.members()} == {launched.pid, child.pid}
    assert process.memory() > 0
    assert process.end()
    assert process.members() == []
    assert not child.is_running()


def test_ending_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    assert not ServiceProcess(tmp_path, "never launched").end()


def test_a_process_that_was_given_a_recorded_id_later_is_not_touched(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "service")
    launch(process, "exit 0").wait()
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        record = next((tmp_path / "processes").iterdir())
        saved = json.loads(record.read_text())
        record.write_text(json.dumps(saved | {"pid": stranger.pid, "started": saved["started"] - 60}))
        assert process.leader() is None
        assert not process.end()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_a_dead_service_left_behind_is_ended(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "service")
    opened = gate(tmp_path)
    launched = launch(process, f"sleep 600 & echo $! > {opened}")
    orphan = psutil.Process(int(opened.read_text()))
    launched.wait()
    assert process.leader() is None
    assert [member.pid for member in process.members()] == [orphan.pid]
    assert process.end()
    assert not orphan.is_running()


def test_a_process_that_will_not_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "service")
    opened = gate(tmp_path)
    launched = launch(process, f"trap '' TERM; echo > {opened}; while :; do sleep 600; done")
    opened.read_text()
    assert process.end(grace=0.2)
    assert not launched.is_running()


def test_the_log_of_the_launch_before_is_kept(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "service")
    for words in ("first", "second"):
        launch(process, f"seq 30; echo {words}").wait()
    assert process.last_lines(2) == ["30", "second"]
    assert process.log.with_suffix(".previous.log").read_text().endswith("first\n")


def test_settings_and_credentials_of_the_shell_do_not_reach_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKPICK_SPEED", "60")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("LANGUAGE_OF_THE_SHELL", "kept")
    process = ServiceProcess(tmp_path, "service")
    launch(process, 'echo "$STOCKPICK_SPEED,$AWS_ACCESS_KEY_ID,$LANGUAGE_OF_THE_SHELL,$GIVEN"', GIVEN="given").wait()
    assert process.last_lines() == [",,kept,given"]


def test_it_is_known_with_which_environment_a_service_runs_without_its_secrets(tmp_path: Path) -> None:
    process = ServiceProcess(tmp_path, "service")
    launch(process, "exit 0", SECRET="hush").wait()
    assert process.launched_with({"SECRET": "hush"})
    assert not process.launched_with({"SECRET": "other"})
    assert "hush" not in "".join(path.read_text() for path in (tmp_path / "processes").iterdir())


def test_a_port_is_taken_also_when_its_holder_would_share_it() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not port_is_free(port)
        assert holder_of(port).startswith(f"process {os.getpid()} (")


def test_free_ports_differ() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(port_is_free(port) for port in ports)
