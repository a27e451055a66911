"""What `stockpick lineage` prints of tables made by hand."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockpick_assets.cli.lineage import lineage
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.store import Store
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.traced import FOLDER, MESSAGE, MODEL, RUN, alerted, fill, metadata, sent

Run = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "tables"), "simulated", {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command with its arguments; an error for a person is raised."""

    def invoke(*arguments: str) -> str:
        environment = {"STOCKPICK_HOME": str(tmp_path / "home"), "STOCKPICK_STORE_ROOT": str(tmp_path / "tables")}
        result = CliRunner().invoke(lineage, arguments, env=environment, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_each_step_is_indented_under_what_came_from_it(store: Store, run: Run) -> None:
    fill(store)
    lines = run(MESSAGE).splitlines()
    assert lines[:3] == [
        f"SIMULATED {MESSAGE}",
        f"message  {MESSAGE} version 1, produced 2026-11-20 21:30:03.000 UTC; there is no other version",
        f"store    {store.uri('')}, which all files are below",
    ]
    heads = [line for line in lines[4:] if re.fullmatch(r" *[a-z ]+(  \w+ version \d+)?", line)]
    assert heads == [
        "pick  picks version 1",
        "    prediction  predictions version 1",
        "        features  features version 1",
        "            factors  factors version 1",
        "            bars  raw_prices version 1",
        "        model  return_model version 1",
        "            fitted model",
        "            training set  training_set version 1",
        "    bars for price and changes  raw_prices version 1",
    ]
    assert any(line.startswith("    written at ") and line.endswith(f" as version 1 by run {RUN}") for line in lines)
    assert f"                file {FOLDER}/stages/part-1" in lines
    assert "                sessions 2 sessions, 2026-11-18 to 2026-11-19; rows 2" in lines
    assert any(line.startswith("                file raw_prices/session=2026-11-20/part-") for line in lines)


def test_the_bars_that_were_read_are_a_table_with_when_they_were_fetched(store: Store, run: Run) -> None:
    fill(store)
    lines = run(MESSAGE, "--bars", "2").splitlines()
    head = lines.index(
        "                minute, New York  open  high  low  close  volume  reason   fetched, UTC             detail"
    )
    assert lines[head + 1 : head + 3] == [
        f"                2026-11-20 09:3{at}  100   100   100  100    100     present  2026-11-20 21:30:00.000"
        for at in (4, 5)
    ]
    assert not lines[head + 3].startswith("                ")


def test_other_versions_of_a_message_are_named(store: Store, run: Run) -> None:
    fill(store)
    store.append("picks", sent(2), metadata("again"))
    assert f"{MESSAGE} version 2, produced" in run(MESSAGE)
    assert "; there is version 2 too (--version)" in run(MESSAGE, "--version", "1")


def test_as_json_it_is_one_object_with_every_value_and_key(store: Store, run: Run) -> None:
    fill(store)
    found = json.loads(run(MESSAGE, "--json", "--bars", "0"))
    assert (found["id"], found["source"], found["message"]["run_id"]) == (MESSAGE, "simulated", RUN)
    prediction, bars = found["step"]["came_from"]
    assert (bars["table"], bars["rows"], bars["values"]["bars"]) == ("raw_prices", [], 6)
    features, model = prediction["came_from"]
    assert model["values"]["version"] == MODEL
    assert len(model["values"]["features"]) == 39
    assert features["written"].keys() == {"version", "at", "run_id"}


def test_a_note_says_what_is_not_what_was_read(store: Store, run: Run) -> None:
    fill(store)
    store.compact("raw_prices", SESSION.date)
    store.vacuum("raw_prices", timedelta(0))
    said = " ".join(run(MESSAGE).split())
    assert (
        f"raw_prices version {store.version('raw_prices')} NOTE: version 1 is no longer kept; these are of the" in said
    )


HOSTILE = "\x1b[2J{ticker}\n<b>" + "x" * 10_000


def test_hostile_text_is_printed_as_text(store: Store, run: Run) -> None:
    fill(store, ticker=HOSTILE, abstain=HOSTILE)
    store.append("alerts", alerted(ticker=HOSTILE, id=HOSTILE, text=HOSTILE), {})
    said = run(HOSTILE)
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) < 600
    assert said.count(r"\x1b[2J{ticker}\n<b>xxx") > 3
    found = json.loads(run(HOSTILE, "--json"))
    assert (found["id"], found["message"]["ticker"]) == (HOSTILE, HOSTILE)


def test_an_id_that_stands_for_nothing_is_an_error_for_a_person(store: Store, run: Run) -> None:
    fill(store)
    with pytest.raises(StockpickError, match="has no alert moon, and it is no id of a message"):
        run("moon")


def test_it_is_a_command_of_stockpick(tmp_path: Path) -> None:
    assert "MESSAGE_OR_ALERT_ID" in stockpick(tmp_path, "lineage", "--help").stdout
