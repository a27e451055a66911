"""`stockpick evaluate` and `stockpick prove` on a file, as they are typed: where nothing runs, and beside what does."""

import json
import subprocess
from datetime import date
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stockpick_assets.services.process import MARK
from stockpick_assets.settings import Settings
from stockpick_assets_tests.cli.test_commands import STOCKPICK, shell, stockpick
from stockpick_assets_tests.short_market import short_market

DAYS = [date(2026, 11, 19), date(2026, 11, 20)]
NAMES = {"ticker": "ticker", "minute": "timestamp"} | {
    name: name for name in ("open", "high", "low", "close", "volume")
}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    market = short_market(DAYS, tickers=6, minutes=90)
    rows = pa.concat_tables([market.versions(session) for session in market.sessions])
    path = tmp_path_factory.mktemp("recorded") / "bars.parquet"
    pq.write_table(rows.select(list(NAMES)).rename_columns(list(NAMES.values())), path)
    return path


def left_running(folder: Path) -> list[psutil.Process]:
    """Servers that a command whose temporary files are in that folder started for the time."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(f"{folder}/stockpick-spark-"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def typed(bars: Path, folder: Path) -> subprocess.Popen[str]:
    """An evaluation of the file that has begun, with its temporary files in the folder."""
    environment = shell(folder / "home", TMPDIR=str(folder))
    return subprocess.Popen([*STOCKPICK, "evaluate", str(bars)], env=environment, stderr=subprocess.PIPE, text=True)


def test_a_file_is_evaluated_and_leaves_nothing_running(bars: Path, tmp_path: Path) -> None:
    forecasts, drawing = tmp_path / "forecasts.parquet", tmp_path / "picture.svg"
    options = ("--json", "--forecasts", str(forecasts), "--picture", str(drawing))
    answer = stockpick(tmp_path / "home", "evaluate", str(bars), *options, TMPDIR=str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert "one is started for the time" in answer.stderr
    told = json.loads(answer.stdout)
    assert told["sessions"] == [day.isoformat() for day in DAYS]
    assert {row["session"] for row in told["performance"] if row["kind"] == "linear"} == {DAYS[-1].isoformat()}
    made = pq.read_table(forecasts)
    assert made.column_names == ["ticker", "timestamp", "score", "p_profit"]
    assert made.num_rows == made["score"].null_count + len(made["score"].drop_null()) > 300
    assert set(made["ticker"].to_pylist()) == {f"T{number:02d}" for number in range(6)}
    assert drawing.read_text().startswith("<svg")
    assert left_running(tmp_path) == []


def test_a_server_that_dies_ends_the_command_with_its_last_words(bars: Path, tmp_path: Path) -> None:
    with typed(bars, tmp_path) as command:
        assert command.stderr is not None
        next(line for line in command.stderr if DAYS[0].isoformat() in line)
        for server in psutil.Process(command.pid).children(recursive=True):
            server.kill()
        said = command.stderr.read()
    assert command.returncode == 1
    assert "a service died: spark" in said
    assert left_running(tmp_path) == []


def test_a_command_that_is_terminated_leaves_nothing_running(bars: Path, tmp_path: Path) -> None:
    with typed(bars, tmp_path) as command:
        assert command.stderr is not None
        next(line for line in command.stderr if "one is started for the time" in line)
        command.terminate()
        command.stderr.read()
    assert command.returncode == 1
    assert left_running(tmp_path) == []


def test_a_file_is_proved_free_of_look_ahead_on_the_server_that_answers(
    bars: Path, tmp_path: Path, services: Settings
) -> None:
    arguments = ("prove", "--bars", str(bars), "--minutes", "1", "--history", "1")
    answer = stockpick(tmp_path / "home", *arguments, STOCKPICK_SPARK_REMOTE=services.spark_remote)
    assert answer.returncode == 0, answer.stderr
    assert "one is started" not in answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "RECORDED 2026-11-20: tickers 6, sessions before it 1"
    assert sum("holds" in line for line in lines) >= 6
    assert "says only that nothing dated later was used" in lines[-1]
