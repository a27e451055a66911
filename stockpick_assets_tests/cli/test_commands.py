"""The `stockpick` command as it is typed, on a machine where nothing runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STOCKPICK = [sys.executable, "-c", "from stockpick_assets.cli import main; main()"]


def shell(home: Path, **environment: str) -> dict[str, str]:
    """The environment that a command is typed in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOCKPICK_")}
    return {**kept, "STOCKPICK_HOME": str(home), "STOCKPICK_PORT_OFFSET": "17000", **environment}


def stockpick(home: Path, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STOCKPICK, *arguments],
        env=shell(home, **environment),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_list_of_commands_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from stockpick_assets.cli import stockpick; stockpick(['--help'], standalone_mode=False); "
        "print(sorted({'dagster', 'pyspark', 'pandas', 'pyarrow', 'kafka', 'deltalake'} & set(sys.modules)))"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert listed.stdout.splitlines()[-1] == "[]"
    for command in ("up", "down", "status", "clean", "model"):
        assert f"\n  {command} " in listed.stdout
    assert "\n  stockpick " not in listed.stdout


def test_a_setting_that_cannot_be_used_is_one_line_and_no_trace(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "status", STOCKPICK_SPEED="fast")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("STOCKPICK_SPEED: ")


def test_a_command_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "sell")
    assert answer.returncode == 2
    assert "No such command 'sell'" in answer.stderr


def test_a_missing_java_is_one_line_and_nothing_is_left_running(tmp_path: Path) -> None:
    answer = stockpick(tmp_path / "home", "up", JAVA_HOME=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"no Java at {tmp_path}/bin/java, where JAVA_HOME points; install Java 17")
    assert len(answer.stderr.splitlines()) == 1
    assert list((tmp_path / "home" / "processes").glob("*")) == []


def test_stopping_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "down")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"nothing of {tmp_path} runs\n", "")


def test_status_says_what_does_not_answer_and_takes_nothing_for_empty(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "status", "--json")
    assert answer.returncode == 0, answer.stderr
    status = json.loads(answer.stdout)
    assert {service["healthy"] for service in status["services"]} == {False}
    assert {service["pid"] for service in status["services"]} == {None}
    assert {table["problem"] for table in status["tables"]} == {"the object store does not answer"}
    assert status["message_problem"] == "kafka does not answer"
    assert (status["newest_message"], status["lag_seconds"]) == (None, None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that was made by `stockpick up`, stopped since."""
    home = tmp_path / "home"
    (home / "object_store").mkdir(parents=True)
    (home / "stockpick.env").write_text("STOCKPICK_S3_ACCESS_KEY='a'\n")
    return home


def test_data_is_removed_only_after_a_yes(home: Path) -> None:
    refused = stockpick(home, "clean", typed="n\n")
    assert refused.returncode == 1
    assert f"remove {home} with every table, message, run and log in it" in refused.stdout
    assert (home / "object_store").exists()
    assert stockpick(home, "clean", typed="y\n").returncode == 0
    assert not home.exists()
    assert stockpick(home, "clean").stdout == f"there is nothing at {home}\n"


def test_a_folder_that_is_no_home_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear reader")
    answer = stockpick(tmp_path, "clean", "--yes")
    assert answer.returncode == 1
    assert "was not made by `stockpick up`; nothing was removed" in answer.stderr
    assert (tmp_path / "letters").exists()


def test_a_home_that_holds_the_working_folder_is_not_removed(home: Path) -> None:
    answer = subprocess.run(
        [*STOCKPICK, "clean", "--yes"],
        env={**os.environ, "STOCKPICK_HOME": str(home)},
        cwd=home / "object_store",
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert home.exists()
