"""What `stockpick alert` sends, lists and explains."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stockpick_assets.cli.alert import alert
from stockpick_assets.core.alerts import Alert, alerts_table
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.store import Store
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.webhook import SECRET, listening

Run = Callable[..., Result]
WALL = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command with its arguments and further settings; an error for a person is raised."""

    def invoke(*arguments: str, **further: str) -> Result:
        here = {"STOCKPICK_HOME": str(tmp_path / "home"), "STOCKPICK_STORE_ROOT": str(tmp_path / "tables")}
        result = CliRunner().invoke(alert, arguments, env=here | further)
        if isinstance(result.exception, StockpickError):
            raise result.exception
        return result

    return invoke


def raised(number: int, title: str = "SIMULATED: NVDA is the new best pick", **values: Any) -> Alert:
    minute = SESSION.open + number * MINUTE
    made = WALL + timedelta(seconds=number)
    id = f"simulated/{number}/NVDA/new_best"
    text = f"{title}\nthe numbers\nhttp://127.0.0.1:8501/"
    return Alert(SESSION.date, minute, "NVDA", "simulated", id, "new_best", text, made, minute + 6 * MINUTE, **values)


def test_a_test_text_reaches_every_channel_and_says_what_it_is(run: Run) -> None:
    with listening() as one, listening() as other:
        result = run("test", STOCKPICK_ALERT_URLS=f"{one.url} {other.url}")
        received = one.received + other.received
    assert (result.exit_code, result.output) == (0, "channel 1 (JSON): accepted\nchannel 2 (JSON): accepted\n")
    assert [text["title"] for text in received] == ["SIMULATED: this is a test of stockpick's alerts"] * 2
    assert "Nothing happened." in received[0]["message"]


def test_a_channel_that_refuses_the_test_is_named_without_its_address_and_the_exit_status_is_1(run: Run) -> None:
    with listening() as one:
        one.status = 403
        result = run("test", STOCKPICK_ALERT_URLS=f"{one.url} nonsense://{SECRET}")
    assert result.exit_code == 1
    assert result.output.startswith("channel 1 (JSON): refused\nchannel 2 (no address that Apprise knows): refused\n")
    assert "is the address right" in result.output


def test_without_a_channel_the_test_says_what_to_set(tmp_path: Path) -> None:
    answer = stockpick(tmp_path / "home", "alert", "test")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "no channel is configured: set STOCKPICK_ALERT_URLS\n"


def test_the_newest_alerts_are_listed_first_with_what_became_of_them_and_why(run: Run, tmp_path: Path) -> None:
    alerts = [
        raised(0, status="sent", detail="accepted by channel 1 (JSON)"),
        raised(1),
        raised(2, status="suppressed", detail="within 15 min"),
    ]
    Store(str(tmp_path / "tables"), "simulated", {}).append("alerts", alerts_table(alerts), {})
    lines = run("list", "--count", "2").output.splitlines()
    assert [line.split() for line in lines[1:]] == [
        [
            "2026-11-20",
            "09:32",
            "new_best",
            "suppressed",
            *"SIMULATED: NVDA is the new best pick (within 15 min)".split(),
        ],
        ["2026-11-20", "09:31", "new_best", "pending", *"SIMULATED: NVDA is the new best pick".split()],
    ]


def test_as_json_each_alert_is_a_line_with_its_whole_text(run: Run, tmp_path: Path) -> None:
    Store(str(tmp_path / "tables"), "simulated", {}).append("alerts", alerts_table([raised(0)]), {})
    [line] = run("list", "--json").output.splitlines()
    said = json.loads(line)
    assert (said["status"], said["minute"]) == ("pending", "2026-11-20T14:30:00+00:00")
    assert said["text"].endswith("the numbers\nhttp://127.0.0.1:8501/")


def test_hostile_text_is_listed_on_one_line(run: Run, tmp_path: Path) -> None:
    hostile = raised(0, "\x1b[31m" + "x" * 10_000, detail="\x1b[31m" + "x" * 10_000)
    Store(str(tmp_path / "tables"), "simulated", {}).append("alerts", alerts_table([hostile]), {})
    _, line = run("list").output.splitlines()
    assert line.isprintable()
    assert len(line) < 300


def test_no_alerts_yet_is_no_error(run: Run) -> None:
    assert run("list").output == "SIMULATED has no alerts yet.\n"


def test_the_rules_are_shown_with_the_numbers_that_are_set(run: Run) -> None:
    rows = {
        line.split()[0]: line for line in run("rules", STOCKPICK_ALERT_RULES="move=0.06,silent=off").output.splitlines()
    }
    assert rows["move"].split()[1:3] == ["6.0%", "4.0%"]
    assert rows["silent"].split()[1] == "off"
    assert rows["quality"].split()[1:4] == ["below", "80.0%", "90.0%"]
    assert rows["failed_run"].split()[1:4] == ["each", "10", "min"]


def test_rules_that_make_no_sense_are_one_line_that_names_the_setting(tmp_path: Path) -> None:
    answer = stockpick(tmp_path / "home", "alert", "rules", STOCKPICK_ALERT_RULES="moves=1")
    assert answer.returncode == 1
    assert answer.stderr.startswith("STOCKPICK_ALERT_RULES: 'moves' is none of new_best, likely, move, ")
