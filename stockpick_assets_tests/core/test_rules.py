"""When a rule is an alert: from its threshold on, once, not again within its cooldown, and alike when judged again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.core.rules import RULES, Judged, Kept, Observation, Rule, Unit, judge, rules_from
from stockpick_assets_tests.picks import minute
from stockpick_assets_tests.rows import SESSION

BY_NAME = {rule.name: rule for rule in RULES}
MOVE, QUALITY, FAILED = BY_NAME["move"], BY_NAME["quality"], BY_NAME["failed_run"]
VALUES = st.one_of(st.none(), st.floats(0, 1))
STREAMS = st.lists(
    st.tuples(st.sampled_from(("move", "quality", "silent")), st.sampled_from(("AAPL", "AMD")), VALUES), max_size=80
)


def seen(at: datetime, value: float | None, rule: Rule = MOVE, about: str = "AAPL") -> Observation:
    return Observation(rule.name, about, at, at, value)


def stream(values: Sequence[float | None], rule: Rule = MOVE) -> list[Observation]:
    """An observation a minute."""
    return [seen(minute(index), value, rule) for index, value in enumerate(values)]


def alerts(judged: Sequence[Judged]) -> list[datetime]:
    return [one.observation.minute for one in judged if one.suppressed is None]


def told(values: Sequence[float | None], rule: Rule = MOVE) -> list[int]:
    """The places of the values that are alerts."""
    judged, _ = judge([rule], stream(values, rule), {})
    return [int((at - SESSION.open) / MINUTE) for at in alerts(judged)]


@pytest.mark.parametrize(("value", "places"), [(0.0299, []), (0.03, [0]), (None, [])])
def test_a_value_is_an_alert_from_the_threshold_on(value: float | None, places: list[int]) -> None:
    assert told([value]) == places


@pytest.mark.parametrize(("value", "places"), [(0.79, [0]), (0.8, [])])
def test_of_a_rule_of_low_values_one_below_the_threshold_is_an_alert(value: float, places: list[int]) -> None:
    assert told([value], QUALITY) == places


def test_a_value_that_stays_is_one_alert() -> None:
    assert told([0.04] * 60) == [0]


def test_a_value_that_cleared_and_comes_back_after_the_cooldown_is_another() -> None:
    assert told([0.04, 0.01, *[0.0] * 14, 0.04]) == [0, 16]


def test_a_value_that_comes_back_within_the_cooldown_is_suppressed_and_says_why() -> None:
    judged, _ = judge([MOVE], stream([0.04, 0.01, 0.04, 0.04]), {})
    assert [one.suppressed for one in judged] == [
        None,
        "within 15 min of the alert of 2026-11-20 09:30 New York, the cooldown of move",
    ]


def test_what_the_cooldown_kept_back_is_an_alert_once_it_is_over_where_the_rule_is_still_on() -> None:
    assert told([0.04, 0.0, *[0.04] * 20]) == [0, 15]
    assert told([0.04, 0.0, *[0.04] * 12, *[0.0] * 20]) == [0]


def test_a_new_day_turns_every_rule_off() -> None:
    monday = session_after(SESSION)
    judged, _ = judge([MOVE], [seen(SESSION.last_minute, 0.04), seen(monday.open, 0.04)], {})
    assert alerts(judged) == [SESSION.last_minute, monday.open]


def test_tickers_and_rules_have_a_cooldown_each() -> None:
    observations = [seen(minute(0), 0.04), seen(minute(0), 0.04, about="AMD"), seen(minute(0), 0.1, QUALITY)]
    judged, _ = judge([MOVE, QUALITY], observations, {})
    assert len(alerts(judged)) == 3


def test_each_failed_run_is_an_alert_of_its_own_but_within_the_cooldown() -> None:
    judged, _ = judge([FAILED], [seen(minute(at), None, FAILED, "live") for at in (0, 5, 10)], {})
    assert [one.suppressed is None for one in judged] == [True, False, True]


def test_a_rule_that_is_off_passes_its_observations_over_and_forgets() -> None:
    _, memory = judge([MOVE], stream([0.04]), {})
    assert judge([QUALITY], stream([0.04, 0.0, 0.04]), memory) == ([], {})


def test_what_is_neither_on_nor_cooling_down_is_not_remembered() -> None:
    _, memory = judge([MOVE], stream([0.04, 0.0]), {})
    assert set(memory) == {"move AAPL"}
    assert judge([MOVE], [seen(minute(15), 0.0)], memory)[1] == {}


@given(STREAMS, st.lists(st.integers(1, 400), min_size=80, max_size=80))
def test_whatever_comes_no_two_alerts_of_a_rule_and_thing_are_within_the_cooldown(
    values: list[tuple[str, str, float | None]], gaps: list[int]
) -> None:
    at, observations = SESSION.open, list[Observation]()
    for (rule, about, value), gap in zip(values, gaps, strict=False):
        at += timedelta(seconds=gap * 3)
        observations.append(Observation(rule, about, at, at, value))
    judged, _ = judge(RULES, observations, {})
    last: dict[tuple[str, str], datetime] = {}
    for one in judged:
        if one.suppressed is None:
            key = (one.rule.name, one.observation.about)
            assert key not in last or one.observation.at - last[key] >= one.rule.cooldown
            last[key] = one.observation.at


@given(st.sampled_from([rule for rule in RULES if rule.threshold is not None]), st.data())
def test_a_value_that_flutters_between_clear_and_threshold_is_one_alert(rule: Rule, data: st.DataObject) -> None:
    assert rule.threshold is not None
    assert rule.clear is not None
    between = st.floats(min(rule.threshold, rule.clear), max(rule.threshold, rule.clear), exclude_min=True)
    start = rule.threshold - 0.01 if rule.low else rule.threshold
    values = data.draw(st.lists(between.filter(lambda value: value != rule.clear), max_size=60))
    assert told([start, *values], rule) == [0]


@given(STREAMS, st.integers(0, 80))
def test_judged_in_two_parts_or_again_from_the_same_memory_the_alerts_are_the_same(
    values: list[tuple[str, str, float | None]], cut: int
) -> None:
    observations = [
        Observation(rule, about, minute(place), minute(place), value)
        for place, (rule, about, value) in enumerate(values)
    ]
    whole, at_the_end = judge(RULES, observations, {})
    first, memory = judge(RULES, observations[:cut], {})
    second, after = judge(RULES, observations[cut:], memory)
    assert first + second == whole
    assert judge(RULES, observations[cut:], memory) == (second, after)
    assert {key for key, kept in at_the_end.items() if kept.on} == {key for key, kept in after.items() if kept.on}


def test_memory_is_what_makes_the_next_minute_no_news() -> None:
    _, memory = judge([MOVE], stream([0.04]), {})
    assert memory == {"move AAPL": Kept(True, SESSION.date, SESSION.open)}
    assert judge([MOVE], [seen(minute(1), 0.04)], memory)[0] == []


def test_the_page_of_alerts_has_the_numbers_of_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8").splitlines()
    units = {Unit.SHARE: "", Unit.MINUTES: " min", Unit.SECONDS: " s"}
    for rule in RULES:
        [row] = [line for line in page if line.startswith(f"| `{rule.name}` |")]
        numbers = ["each", ""]
        if rule.threshold is not None and rule.clear is not None:
            numbers = [f"{value!r}{units[rule.unit]}".replace(".0 ", " ") for value in (rule.threshold, rule.clear)]
        spans = [f"{span // MINUTE} min" for span in (rule.cooldown, rule.matters_for)]
        said = [cell.strip().removeprefix("below ") for cell in row.split("|")[2:6]]
        assert said == [*numbers, *spans]


def test_nothing_set_is_every_rule_as_it_is() -> None:
    assert rules_from("") == RULES


def test_a_setting_changes_a_number_with_its_clearing_and_turns_rules_off() -> None:
    rules = {rule.name: rule for rule in rules_from("move=0.06, quality=off,NEW_BEST = 0.6")}
    assert (rules["move"].threshold, rules["move"].clear) == (0.06, pytest.approx(0.04))
    assert rules["new_best"].threshold == 0.6
    assert list(rules) == [rule.name for rule in RULES if rule.name != "quality"]


def test_a_stricter_floor_can_still_be_cleared() -> None:
    [quality] = [rule for rule in rules_from("quality=0.98") if rule.name == "quality"]
    assert (quality.threshold, quality.clear) == (0.98, pytest.approx(0.99))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("moves=1", "'moves' is none of new_best, likely, move, "),
        ("move=0.03,move=0.04", "or is named twice"),
        ("move=off,move=0.04", "or is named twice"),
        ("move=much", "move takes a number, or off, and not 'much'"),
        ("move", "move takes a number, or off, and not ''"),
        ("move=3", "move takes share from 0.0001 to 1"),
        ("move=nan", "move takes share from 0.0001 to 1"),
        ("failed_run=1", "failed_run has no number; it is on, or off"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("'", ".")):
        rules_from(text)
