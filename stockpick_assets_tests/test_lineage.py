"""What a message is traced back to, in tables made by hand."""

from datetime import timedelta
from pathlib import Path

import pytest

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.lineage import Lineage, Step, Untraceable, trace
from stockpick_assets.store import Store
from stockpick_assets_tests.models import models
from stockpick_assets_tests.picks import minute
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars
from stockpick_assets_tests.traced import (
    FIT,
    FOLDER,
    MESSAGE,
    MINUTE,
    MINUTES,
    MODEL,
    REVISED_AT,
    RUN,
    TRAINED_ON,
    alerted,
    features,
    fill,
    metadata,
    predictions,
    sent,
    steps,
    unsent,
)

NOW = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path), "simulated", {})
    fill(store)
    return store


def traced(store: Store, wanted: str = MESSAGE, version: int | None = None) -> Lineage:
    return trace(store, wanted, version, 100)


def by_name(lineage: Lineage) -> dict[str, Step]:
    return {step.name: step for step in steps(lineage.step)}


def recomputed(store: Store) -> None:
    """The minute's features and forecast are made again from the revised bar, by another run."""
    where = "session = '2026-11-20'"
    store.replace("features", features(9.0), where, metadata("again", raw_prices=2, factors=1))
    store.replace("predictions", predictions(0.75), where, metadata("again", features=2))


def test_a_message_is_followed_to_each_row_at_the_version_that_was_read(store: Store) -> None:
    recomputed(store)
    found = traced(store)
    assert [(step.name, step.table, step.version, step.remark) for step in steps(found.step)] == [
        ("pick", "picks", 1, None),
        ("prediction", "predictions", 1, None),
        ("features", "features", 1, None),
        ("factors", "factors", 1, None),
        ("bars", "raw_prices", 1, None),
        ("model", "return_model", 1, None),
        ("fitted model", None, None, None),
        ("training set", "training_set", 1, None),
        ("bars for price and changes", "raw_prices", 1, None),
    ]
    of = by_name(found)
    assert (of["pick"].values["rank"], of["prediction"].values["score"], of["features"].values["e1"]) == (1, 0.25, 1.0)
    assert (of["factors"].values["drift"], of["factors"].values["sessions"]) == (0.5, 2)
    assert found.message is not None
    assert (found.message["id"], found.message_versions, found.store) == (MESSAGE, [1], store.uri(""))


def test_each_step_says_which_run_wrote_it_and_when(store: Store) -> None:
    recomputed(store)
    written = {name: step.written for name, step in by_name(traced(store)).items() if step.written}
    assert {name: (commit.version, commit.run_id) for name, commit in written.items()} == {
        "pick": (1, RUN),
        "prediction": (1, RUN),
        "features": (1, RUN),
        "factors": (1, FIT),
        "model": (1, FIT),
    }
    assert written["features"].at == next(store.commits("features", 1)).at


def test_the_files_named_are_there_and_hold_the_rows(store: Store) -> None:
    store.append("features", features(3.0, ("ZM",)), metadata("other"))
    found = by_name(traced(store))
    root = Path(store.uri(""))
    assert all((root / key).is_file() for step in found.values() for key in step.objects)
    assert len(found["features"].objects) == 1
    assert found["fitted model"].objects == [f"{FOLDER}/metadata/part-0", f"{FOLDER}/stages/part-1"]
    assert [key.split("/")[1] for key in found["training set"].objects] == [f"session={day}" for day in TRAINED_ON]


def test_the_bars_are_those_that_had_been_fetched_and_not_what_they_were_revised_to(store: Store) -> None:
    found = by_name(traced(store))["bars"]
    assert [(row["minute"], row["close"], row["fetched_at"]) for row in found.rows] == [
        (minute(at), 100.0, FETCHED_AT) for at in range(MINUTES)
    ]
    assert found.values == {
        "minutes": MINUTES,
        "bars": MINUTES,
        "newest_fetched_at": FETCHED_AT,
        "minutes_of_all_tickers": 3 * MINUTES,
        "bars_of_all_tickers": 3 * MINUTES,
        "newest_fetched_at_of_all_tickers": FETCHED_AT,
    }
    assert store.read("raw_prices", last=MINUTE)["fetched_at"].to_pylist().count(REVISED_AT) == 1


def test_the_newest_bars_are_kept_and_none_after_the_minute(store: Store) -> None:
    store.append("raw_prices", bars(2, start=MINUTES, tickers=("AAPL",)), metadata("later"))
    store.append("picks", sent(2, tables={"raw_prices": 3, "predictions": 1}), metadata(RUN))
    found = trace(store, MESSAGE, None, 2)
    assert [row["minute"] for row in found.step.came_from[1].rows] == [minute(4), MINUTE]


def test_bars_whose_version_was_vacuumed_are_found_again_by_when_they_were_fetched(store: Store) -> None:
    exact = by_name(traced(store))["bars"]
    store.compact("raw_prices", SESSION.date)
    assert store.vacuum("raw_prices", NOW) == 2
    found = by_name(traced(store))["bars"]
    assert found.remark == (
        "version 1 is no longer kept; these are of the newest, what was fetched until 2026-11-20 21:30:00+00:00"
    )
    assert found.version == store.version("raw_prices")
    assert found.values == exact.values
    assert [row | {"object": None} for row in found.rows] == [row | {"object": None} for row in exact.rows]


def test_a_row_whose_version_was_vacuumed_is_read_at_the_newest_and_says_whether_it_is_the_same(store: Store) -> None:
    store.replace("features", features(9.0), "session = '2026-11-20'", metadata("again", raw_prices=2))
    store.append("predictions", predictions(0.5, ("ZM",)), {})
    store.compact("predictions", SESSION.date)
    assert store.vacuum("features", NOW) == 1
    assert store.vacuum("predictions", NOW) == 2
    found = by_name(traced(store))
    assert found["prediction"].remark == (
        "version 1 is no longer kept; this is the newest, where the row is still the same"
    )
    assert (found["prediction"].version, found["prediction"].values["score"]) == (store.version("predictions"), 0.25)
    assert found["features"].remark == (
        "version 1 is no longer kept; this is the newest, where run again wrote it again"
    )
    assert (found["features"].version, found["features"].values["e1"]) == (store.version("features"), 9.0)
    assert found["features"].written is not None
    assert found["features"].written.run_id == RUN
    assert (found["bars"].version, found["bars"].remark) == (1, None)


def test_a_commit_that_does_not_say_what_it_read_is_said_to(store: Store) -> None:
    said = {name: value for name, value in metadata("earlier").items() if name != "tables"}
    store.replace("predictions", predictions(0.3), "session = '2026-11-20'", said)
    store.append("picks", sent(2, tables={"raw_prices": 1, "predictions": 2}), metadata(RUN))
    found = by_name(traced(store))
    assert found["prediction"].remark is None
    assert found["features"].remark == (
        "which version was read is not known; this is the newest, which may have been written again"
    )


def test_features_without_factors_name_none(store: Store) -> None:
    store.replace("features", features(2.0), "session = '2026-11-20'", metadata("early", raw_prices=1))
    store.replace("predictions", predictions(0.3), "session = '2026-11-20'", metadata("early", features=2))
    store.append("picks", sent(2, tables={"raw_prices": 1, "predictions": 2}), metadata(RUN))
    assert "factors" not in by_name(traced(store))


def test_a_model_that_was_fitted_again_is_found_where_it_was(store: Store) -> None:
    again = models([SESSION.date], ("linear",), version="2026-11-20-linear-other")
    store.replace("return_model", again, "session = '2026-11-20'", {"run_id": "other"})
    model = by_name(traced(store))["model"]
    assert (model.version, model.values["version"], model.values["seed"]) == (1, MODEL, 7)
    assert model.values["training_sessions"] == TRAINED_ON
    assert model.remark == "the newest has it no more, as its session was fitted again"
    store.vacuum("return_model", NOW)
    gone = by_name(traced(store))["model"]
    assert gone.values == {"version": MODEL}
    assert gone.remark == (
        "the newest has it no more, as its session was fitted again; version 1 is no longer kept; it has no such row"
    )


def test_a_training_set_that_was_made_again_is_said_to_be_gone_once_it_is(store: Store) -> None:
    day = store.read("training_set", to_session=TRAINED_ON[0])
    store.replace("training_set", day, f"session = '{TRAINED_ON[0]}'", {})
    assert by_name(traced(store))["training set"].remark is None
    store.vacuum("training_set", NOW)
    found = by_name(traced(store))["training set"]
    assert found.remark == "version 1 is no longer kept: some of its files are deleted"


def test_of_several_messages_with_an_id_the_newest_is_traced_unless_another_is_asked_for(store: Store) -> None:
    recomputed(store)
    corrected = sent(2, run_id="again", tables={"raw_prices": 2, "predictions": 2}, produced_at=REVISED_AT)
    store.append("picks", corrected, metadata("again"))
    store.append("picks", unsent(price=77.0), metadata("third"))
    newest, first = traced(store), traced(store, version=1)
    assert (newest.message_versions, first.message_versions) == ([1, 2], [1, 2])
    assert [by_name(found)["features"].values["e1"] for found in (newest, first)] == [9.0, 1.0]
    assert [by_name(found)["bars"].rows[3]["close"] for found in (newest, first)] == [200.0, 100.0]
    assert [found.step.written and found.step.written.run_id for found in (newest, first)] == ["again", RUN]
    with pytest.raises(Untraceable, match=f"{MESSAGE} has no message of version 3; there is 1, 2"):
        traced(store, version=3)


def test_an_alert_is_traced_to_the_message_that_was_the_newest_when_it_was_raised(store: Store) -> None:
    store.append("alerts", alerted(), {})
    store.append("picks", sent(2, produced_at=REVISED_AT), metadata("again"))
    found = traced(store, f"{MESSAGE}/new_best")
    assert [step.name for step in steps(found.step)][:3] == ["alert", "pick", "prediction"]
    assert found.message is not None
    assert found.message["version"] == 1
    assert (found.step.table, found.step.version, found.step.values["status"]) == ("alerts", 1, "sent")
    assert Path(store.uri(found.step.objects[0])).is_file()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ticker": None}, "its rule speaks of no minute of one ticker"),
        ({"ticker": "AMD"}, "simulated/picks has no pick of AMD at 2026-11-20 09:35 New York that goes out"),
    ],
)
def test_an_alert_that_stands_for_no_pick_is_shown_alone_and_says_so(
    store: Store, values: dict[str, object], why: str
) -> None:
    store.append("alerts", alerted(id="simulated/broker_away/1", **values), {})
    found = traced(store, "simulated/broker_away/1")
    assert [step.name for step in steps(found.step)] == ["alert"]
    assert (found.message, found.message_versions) == (None, ())
    assert (found.step.remark or "").startswith("the alert stands for no pick: ")
    assert why in (found.step.remark or "")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("moon\x1b[2J", r"no alert moon\\x1b\[2J, and it is no id of a message; one is written source/minute/ticker"),
        ("yahoo/2026-11-20T14:35:00Z/AAPL", "of the source yahoo, and the settings have simulated; set STOCKPICK_SOUR"),
        (
            f"{MESSAGE}/new_best",
            f"has no alert {MESSAGE}/new_best; a message of its minute would have the id {MESSAGE}$",
        ),
        ("simulated/2026-11-20T14:35:00Z/MOON", "no pick of MOON at 2026-11-20 09:35 New York that goes out"),
        ("simulated/2026-11-19T14:35:00Z/AAPL", "2026-11-19, it has 2026-11-20 to 2026-11-20; `stockpick backfill 20"),
        ("simulated/2026-11-20T13:35:00Z/AAPL", "2026-11-20 08:35 New York is outside the session"),
    ],
)
def test_an_id_that_stands_for_nothing_is_refused_with_what_to_do(store: Store, wanted: str, said: str) -> None:
    with pytest.raises(StockpickError, match=said):
        traced(store, wanted)
