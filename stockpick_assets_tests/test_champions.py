"""The log of champions in a real store."""

from pathlib import Path

import pytest

from stockpick_assets.champions import append, champions_of, decide
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.registry import DEFAULT, RULE, RegistryError
from stockpick_assets.core.schemas import CHAMPIONS
from stockpick_assets.store import CommitRefused, Store, StoreError
from stockpick_assets_tests.models import (
    COST_BP,
    DAYS,
    KINDS,
    MADE_AT,
    champion_of,
    champions,
    decision,
    models,
    performance,
    version,
)

NEXT = DAYS[5]
BETTER = {
    "linear": [0.018, 0.022, 0.019, 0.021, 0.02],
    "average": [0.01] * 5,
    "naive": [0.0] * 5,
    "reversal": [0.0] * 5,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def test_before_anything_is_measured_or_decided_nothing_is_written(store: Store) -> None:
    assert decide(store, NEXT, KINDS, MADE_AT, {}).decided_by == DEFAULT
    assert not store.exists(CHAMPIONS.name)


def test_a_decision_is_kept_with_its_source_and_holds_from_its_session_on(store: Store) -> None:
    store.append("performance", performance(DAYS[:5], BETTER), {})
    made = decide(store, NEXT, KINDS, MADE_AT, {"run_id": "one"})
    assert (made.kind, made.decided_by) == ("linear", RULE)
    assert champion_of(store, NEXT) == made
    assert champion_of(store, DAYS[4]).kind == "average"
    assert store.read(CHAMPIONS.name)["source"].to_pylist() == ["simulated"]
    assert store.open(CHAMPIONS.name).history(1)[0]["run_id"] == "one"


def test_a_run_that_is_repeated_decides_once(store: Store) -> None:
    store.append("performance", performance(DAYS[:5], BETTER), {})
    made = decide(store, NEXT, KINDS, MADE_AT, {})
    assert decide(store, NEXT, KINDS, MADE_AT + MINUTE, {}) == made
    assert store.read(CHAMPIONS.name).num_rows == 1


def test_a_decision_made_on_a_log_that_has_changed_since_is_refused(store: Store) -> None:
    before = store.read_if_written(CHAMPIONS.name)
    append(store, decision(NEXT, "linear"), before, {})
    with pytest.raises(CommitRefused):
        append(store, decision(NEXT, "reversal", after_hours=1), before, {})


def test_each_session_uses_its_champion_and_a_pinned_version_with_the_doubt_of_its_kind(store: Store) -> None:
    pinned = version("linear", DAYS[0])
    store.append("return_model", models(DAYS[:1], abstain="too little history"), {})
    store.append("return_model", models(DAYS[1:3]), {})
    store.append(CHAMPIONS.name, champions(decision(DAYS[2], "linear", pinned)), {})
    used = champions_of(store, store.read("return_model", from_session=DAYS[1]), COST_BP)
    said = {session: (row["version"], row["abstain"]) for session, row in used.items()}
    assert said == {DAYS[1]: (version("average", DAYS[1]), None), DAYS[2]: (pinned, None)}


def test_a_pinned_version_that_is_gone_is_named_with_what_to_do(store: Store) -> None:
    store.append("return_model", models(DAYS[1:3]), {})
    store.append(CHAMPIONS.name, champions(decision(DAYS[2], "linear", "gone")), {})
    with pytest.raises(RegistryError, match=r"version gone is pinned and no longer there.*`stockpick model promote`"):
        champions_of(store, store.read("return_model"), COST_BP)


def test_a_log_that_cannot_be_read_is_not_an_empty_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "champions").write_text("not a table")
    with pytest.raises(StoreError):
        decide(store, NEXT, KINDS, MADE_AT, {})
