"""When a forecast is not to be relied on, and the words that say so."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stockpick_assets.core.abstaining import SESSIONS, doubt, missing, no_edge, skill
from stockpick_assets.core.market_hours import sessions_until
from stockpick_assets.core.schemas import PERFORMANCE


@pytest.mark.parametrize(
    ("present", "expected", "why"),
    [
        (100, 100, None),
        (67, 100, None),
        (66, 100, "34 of 100 tickers have no bar in this minute"),
        (3, 4, None),
        (2, 4, "2 of 4 tickers have no bar in this minute"),
        (1, 1, None),
        (0, 0, None),
    ],
)
def test_a_minute_that_lacks_more_than_a_third_of_its_bars_is_not_to_be_relied_on(
    present: int, expected: int, why: str | None
) -> None:
    assert missing(present, expected) == why


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        ([0.00006, -0.001], "no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp"),
        ([-0.0001], "no edge after cost: the best expected return is -1.0 bp, the cost 2.0 bp"),
        ([-0.0], "no edge after cost: the best expected return is 0.0 bp, the cost 2.0 bp"),
        ([0.00006, 0.00021], None),
        ([], None),
    ],
)
def test_there_is_an_edge_where_one_expected_return_exceeds_the_cost(returns: list[float], why: str | None) -> None:
    assert no_edge(np.array(returns), 2.0) == why


def measured(*sessions: dict[str, Any], kind: str = "linear") -> pa.Table:
    """PERFORMANCE of consecutive sessions in which nothing is wrong, but for what is told of each."""
    days = sessions_until(date(2026, 11, 20), max(len(sessions), 1))
    rows = [{"session": day.date, "kind": kind, **SOUND, **told} for day, told in zip(days, sessions, strict=False)]
    return pa.Table.from_pylist(rows, schema=PERFORMANCE.columns)


SOUND = {
    "ic_obtainable": 0.02,
    "ic_obtainable_error": 0.005,
    "calibration_slope": 1.0,
    "calibration_slope_error": 0.4,
    "stability_index": 0.02,
    "stability_feature": "e1",
}


def test_a_model_with_skill_that_keeps_its_word_is_in_no_doubt() -> None:
    assert doubt(measured(*[{}] * 5), "linear") is None


def test_a_model_that_was_never_measured_is_in_doubt() -> None:
    why = "too little history: no forecast of this model has been measured in a session that is over"
    assert doubt(PERFORMANCE.empty(), "linear") == why
    assert doubt(measured({}, kind="naive"), "linear") == why


@pytest.mark.parametrize(
    ("ics", "why"),
    [
        ([0.014], "obtainable IC over 1 session is 0.014 ± 0.005, within noise of zero (3 errors)"),
        ([0.001, 0.003], "obtainable IC over 2 sessions is 0.002 ± 0.004, within noise of zero (3 errors)"),
        ([-0.02], "obtainable IC over 1 session is -0.020 ± 0.005, below zero"),
        ([0.0151], None),
        ([0.011, 0.011], None),
    ],
)
def test_skill_is_an_ic_of_more_than_three_standard_errors(ics: list[float], why: str | None) -> None:
    assert doubt(measured(*[{"ic_obtainable": ic} for ic in ics]), "linear") == why


def test_skill_is_told_with_its_numbers_and_its_lack_in_the_words_of_the_doubt() -> None:
    proven, none = measured(*[{}] * 12), measured({"ic_obtainable": 0.001})
    found = skill(proven, "linear")
    assert (found.proven, found.sessions) == (True, SESSIONS)
    assert found.told == "obtainable IC over 10 sessions is 0.020 ± 0.002, more than 3 errors above zero"
    assert not skill(none, "linear").proven
    assert skill(none, "linear").told == doubt(none, "linear")
    assert skill(PERFORMANCE.empty(), "linear").sessions == 0


def test_sessions_that_contradict_each_other_prove_less() -> None:
    assert doubt(measured(*[{"ic_obtainable": ic} for ic in (0.09, -0.05)]), "linear") == (
        "obtainable IC over 2 sessions is 0.020 ± 0.070, within noise of zero (3 errors)"
    )


def test_a_stored_session_of_two_minutes_proves_nothing() -> None:
    noise = [{"ic_obtainable": 0.003}] * 9
    short = {"ic_obtainable": 0.305, "ic_obtainable_error": 0.001, "forecasts": 200}
    assert doubt(measured(*noise, short), "linear") == (
        "obtainable IC over 10 sessions is 0.003 ± 0.002, within noise of zero (3 errors)"
    )


def test_the_newest_ten_sessions_count() -> None:
    lost = [{"ic_obtainable": -0.05}] * 10
    assert doubt(measured(*lost, *[{}] * 10), "linear") is None
    assert doubt(measured(*[{}] * 10, *lost), "linear") is not None


def test_an_order_of_rows_changes_nothing() -> None:
    rows = measured(*[{"ic_obtainable": ic / 1000} for ic in range(20)])
    assert doubt(rows.take(list(reversed(range(20)))), "linear") == doubt(rows, "linear")


def test_without_an_ic_there_is_no_skill_to_see() -> None:
    nothing = {"ic_obtainable": None, "ic_obtainable_error": None}
    assert doubt(measured(nothing, nothing), "linear") == (
        "no obtainable IC in 2 sessions: it takes 60 minutes of two tickers whose scores and returns differ"
    )


@pytest.mark.parametrize(
    ("slopes", "error", "why"),
    [
        ([0.2], 0.4, None),
        ([0.2] * 5, 0.4, None),
        ([0.1] * 10, 0.4, "calibration slope over 10 sessions is 0.10 ± 0.13, outside 0.5 to 2"),
        ([2.3] * 10, 0.4, "calibration slope over 10 sessions is 2.30 ± 0.13, outside 0.5 to 2"),
        ([2.2] * 10, 0.4, None),
        ([None] * 10, None, None),
    ],
)
def test_a_calibration_slope_is_outside_its_limits_when_its_error_is_too(
    slopes: list[float | None], error: float | None, why: str | None
) -> None:
    told = [{"calibration_slope": slope, "calibration_slope_error": error} for slope in slopes]
    assert doubt(measured(*told), "linear") == why


@pytest.mark.parametrize(
    ("indices", "why"),
    [
        (
            [0.02, 0.02, 0.02, 0.26],
            "e1 has drifted: its population stability index in session 2026-11-20 is 0.26, the limit 0.25",
        ),
        ([0.02, 0.02, 0.02, 0.25], None),
        ([0.3, 0.4, 0.5, 1.1], None),
        (
            [0.3, 0.4, 0.5, 1.3],
            "e1 has drifted: its population stability index in session 2026-11-20 is 1.30, the limit 1.20",
        ),
        ([0.02, 0.02, 0.9], None),
        ([0.02, 0.02, 0.02, 0.9, 0.02], None),
        ([0.02, 0.02, 0.02, None], None),
    ],
)
def test_a_feature_has_drifted_when_it_moved_much_more_than_is_usual(
    indices: list[float | None], why: str | None
) -> None:
    said = doubt(measured(*[{"stability_index": index} for index in indices]), "linear")
    assert said == (None if why is None else f"the feature {why}")


def test_no_skill_is_said_before_anything_else() -> None:
    wrong = {"ic_obtainable": 0.0, "calibration_slope": 0.0, "calibration_slope_error": 0.01, "stability_index": 9.0}
    assert str(doubt(measured({}, {}, {}, *[wrong] * 9), "linear")).startswith("obtainable IC over 10 sessions")


@pytest.mark.parametrize(("ic", "least", "most"), [(0.0, 0, 4), (0.013, 280, 300)])
def test_of_300_models_few_without_skill_are_trusted_and_most_with_it(ic: float, least: int, most: int) -> None:
    random, error = np.random.default_rng(4), 0.0085
    trusted = sum(
        doubt(
            measured(
                *[{"ic_obtainable": found, "ic_obtainable_error": error} for found in random.normal(ic, error, 10)]
            ),
            "linear",
        )
        is None
        for _ in range(300)
    )
    assert least <= trusted <= most
