"""The log of champions in a real store."""

from pathlib import Path

import pytest

from stockpick_assets.champions import append, decide
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.registry import DEFAULT, RULE
from stockpick_assets.core.schemas import CHAMPIONS
from stockpick_assets.store import CommitRefused, Store, StoreError
from stockpick_assets_tests.models import DAYS, KINDS, MADE_AT, champion_of, decision, performance

NEXT = DAYS[5]
BETTER = {"linear": [0.018, 0.022, 0.019, 0.021, 0.02], "average": [0.01] * 5, "naive": [0.0] * 5}


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


def test_a_log_that_cannot_be_read_is_not_an_empty_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "champions").write_text("not a table")
    with pytest.raises(StoreError):
        decide(store, NEXT, KINDS, MADE_AT, {})
