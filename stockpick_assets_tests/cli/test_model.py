"""What `stockpick model` shows of a folder of tables, and what it writes to it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockpick_assets.cli.model import model
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import session_after, session_on
from stockpick_assets.store import Store, TableMissing
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.models import COST_BP, DAYS, MADE_AT, champion_of, champions, decision, models, version

BEFORE, LAST = DAYS[-2:]
NEXT = session_after(session_on(LAST)).date
EVENING = session_on(LAST).close + timedelta(hours=1)
Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Models of two sessions, and no decision."""
    store = Store(str(tmp_path / "tables"), "simulated", {})
    measured = {"ic_sessions": DAYS[:2], "ic_obtainable": [0.01, 0.02], "ic_close": [0.06, None]}
    store.append("return_model", models([BEFORE, LAST], **measured, fitted_at=MADE_AT), {})
    return store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command with its arguments at a market time; an error for a person is raised."""

    def invoke(*arguments: str, now: datetime = EVENING, cost_bp: float = COST_BP) -> Result:
        environment = {
            "STOCKPICK_HOME": str(tmp_path / "home"),
            "STOCKPICK_STORE_ROOT": str(tmp_path / "tables"),
            "STOCKPICK_COST_BP": str(cost_bp),
            "STOCKPICK_REPLAY_STARTED_AT": datetime.now(UTC).isoformat(),
            "STOCKPICK_REPLAY_FROM": now.isoformat(),
        }
        result = CliRunner().invoke(model, arguments, env=environment, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return invoke


def test_the_list_has_each_sessions_models_and_marks_the_champion(store: Store, run: Run) -> None:
    assert run("list").output.splitlines() == [
        "SIMULATED return_model, champion of the session of 2026-11-23: average, each session the model fitted for it; "
        "no other has been chosen yet",
        "",
        "session     kind      version              IC obtainable  IC close  sessions  fitted, UTC       champion",
        "2026-11-20  average   2026-11-20-average   +0.0150        +0.0600   2         2026-11-20 22:00  champion",
        "2026-11-20  linear    2026-11-20-linear    +0.0150        +0.0600   2         2026-11-20 22:00",
        "2026-11-20  reversal  2026-11-20-reversal  +0.0150        +0.0600   2         2026-11-20 22:00",
        "2026-11-19  average   2026-11-19-average   +0.0150        +0.0600   2         2026-11-20 22:00  champion",
        "2026-11-19  linear    2026-11-19-linear    +0.0150        +0.0600   2         2026-11-20 22:00",
        "2026-11-19  reversal  2026-11-19-reversal  +0.0150        +0.0600   2         2026-11-20 22:00",
    ]


def test_the_list_says_which_sessions_a_pinned_version_serves_and_why_a_model_abstains(store: Store, run: Run) -> None:
    store.append("champions", champions(decision(BEFORE, "linear", version("linear", BEFORE))), {})
    store.append("return_model", models([NEXT], ("linear",), abstain="obtainable IC is within noise"), {})
    listed = run("list", "--sessions", "3").output
    assert "champion of the session of 2026-11-23: 2026-11-19-linear (linear), pinned; decided by a person" in listed
    assert "champion of 3 sessions, 2026-11-19 to 2026-11-23" in listed
    assert "abstains: obtainable IC is within noise" in listed
    assert "2026-11-19-linear" not in run("list", "--sessions", "2").output.split("\n\n")[1]


def test_a_pinned_version_abstains_for_what_its_kind_does_in_the_session_that_uses_it(store: Store, run: Run) -> None:
    pinned = version("linear", BEFORE)
    store.replace("return_model", models([BEFORE], abstain="too little history"), f"session = '{BEFORE}'", {})
    store.append("champions", champions(decision(LAST, "linear", pinned)), {})
    (listed,) = (line for line in run("list").output.splitlines() if pinned in line and "champion of the" not in line)
    assert "abstains" not in listed
    for which in ((), (str(LAST),), (pinned,)):
        told = json.loads(run("show", *which, "--json").output)
        assert (told["version"], told["abstain"]) == (pinned, None)
    assert json.loads(run("show", version("reversal", BEFORE), "--json").output)["abstain"] == "too little history"


def test_a_model_in_use_that_is_for_another_cost_abstains_with_both(store: Store, run: Run) -> None:
    said = "p_profit is for a cost of 2 bp, not 5 bp"
    assert json.loads(run("show", "--json", cost_bp=5.0).output)["abstain"] == said
    abstaining = [line.split()[2] for line in run("list", cost_bp=5.0).output.splitlines() if said in line]
    assert abstaining == [version("average", LAST), version("average", BEFORE)]


def test_the_list_as_json_has_the_same(store: Store, run: Run) -> None:
    listed = json.loads(run("list", "--json").output)
    assert (listed["source"], listed["champion"]["kind"], listed["champion"]["session"]) == (
        "simulated",
        "average",
        None,
    )
    assert [row["version"] for row in listed["models"] if row["champion_sessions"]] == [
        version("average", LAST),
        version("average", BEFORE),
    ]
    assert listed["models"][0]["ic_obtainable"] == pytest.approx(0.015)


def test_a_models_manifest_is_shown_with_why_it_is_champion(store: Store, run: Run) -> None:
    store.append("champions", champions(decision(LAST, "linear", by="rule")), {})
    shown = run("show").output
    assert shown.startswith("SIMULATED return_model 2026-11-20-linear\n")
    told = dict(line.split("  ", 1) for line in shown.splitlines()[2:])
    assert told["champion of"].strip() == "2026-11-20"
    assert told["why champion"].strip() == "decided by the rule from 2026-11-20 on:"
    assert told["features"].strip().startswith("n_cmid, n_bar, ")
    assert told["fitted_at"].strip() == "2026-11-20 22:00 UTC"
    assert told["ic_sessions"].strip() == f"2 sessions, {DAYS[0]} to {DAYS[1]}"


def test_a_session_is_shown_by_the_model_it_uses_and_a_version_by_its_name(store: Store, run: Run) -> None:
    assert json.loads(run("show", "2026-11-19", "--json").output)["version"] == version("average", BEFORE)
    shown = run("show", version("reversal", LAST)).output
    told = dict(line.split("  ", 1) for line in shown.splitlines()[2:])
    assert told["champion of"].strip() == "-"
    assert told["champion instead"].strip().startswith("average, each session the model fitted for it; no other")


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("2026-11-18", "no model for the session of 2026-11-18, whose champion is average.*2 sessions, 2026-11-19"),
        ("moon\x1b", r"has no version moon\\x1b; `stockpick model list` shows them"),
    ],
)
def test_what_there_is_no_model_of_is_said_so(store: Store, run: Run, which: str, said: str) -> None:
    with pytest.raises(StockpickError, match=said):
        run("show", which)


def test_a_promotion_holds_from_the_next_session_and_is_kept_with_its_reason(store: Store, run: Run) -> None:
    said = run("promote", "linear", "--reason", "steadier").output
    assert said == (
        "champion from the session of 2026-11-23 on: linear, each session the model fitted for it. Earlier sessions "
        "keep theirs, one that is open too.\n"
    )
    made = champion_of(store, NEXT)
    assert (made.session, made.kind, made.decided_by, made.reason) == (NEXT, "linear", "person", "steadier")
    assert champion_of(store, LAST).kind == "average"
    assert store.open("champions").history(1)[0]["decided_by"] == "person"


@pytest.mark.parametrize(("hours", "first"), [(-1, LAST), (0, NEXT), (2, NEXT)])
def test_a_session_that_is_open_keeps_its_champion(store: Store, run: Run, hours: int, first: object) -> None:
    run("promote", "linear", now=session_on(LAST).open + timedelta(hours=hours))
    assert store.read("champions")["session"].to_pylist() == [first]


def test_a_rollback_pins_what_was_used_before_the_last_decision(store: Store, run: Run) -> None:
    run("promote", "linear", now=session_on(LAST).open - timedelta(hours=1))
    assert "2026-11-19-average (average), pinned" in run("rollback", "--reason", "worse").output
    assert champion_of(store, NEXT).version == version("average", BEFORE)
    assert champion_of(store, LAST).kind == "linear"


def test_a_promotion_that_cannot_be_changes_nothing(store: Store, run: Run) -> None:
    with pytest.raises(StockpickError, match="are not fitted"):
        run("promote", "forest")
    with pytest.raises(StockpickError, match="nothing to roll back to"):
        run("rollback")
    assert not store.exists("champions")


def test_without_models_it_says_what_to_materialize(run: Run) -> None:
    with pytest.raises(TableMissing, match="materialize simulated/return_model first"):
        run("list")


def test_the_commands_are_typed_after_one_name(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "model", "--help")
    assert answer.returncode == 0, answer.stderr
    for command in ("list", "show", "promote", "rollback"):
        assert f"\n  {command} " in answer.stdout
    answer = stockpick(tmp_path, "model", "list", STOCKPICK_STORE_ROOT=str(tmp_path / "tables"))
    assert answer.returncode == 1
    assert answer.stderr.startswith("table return_model at ")
