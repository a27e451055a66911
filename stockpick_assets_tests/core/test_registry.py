"""Who is champion, which version a session uses, and what changes the champion."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.feature_set import DIGEST, NAMES
from stockpick_assets.core.registry import (
    LEAST_SESSIONS,
    Decision,
    RegistryError,
    champion,
    chosen,
    decided,
    in_use,
    promote,
    rollback,
)
from stockpick_assets.core.schemas import CHAMPIONS
from stockpick_assets_tests.models import (
    COST_BP,
    DAYS,
    KINDS,
    MADE_AT,
    champions,
    decision,
    models,
    performance,
    version,
)

NEXT = DAYS[10]
# Of linear, beside an average of .01 and a naive of 0: better by .01 in each of five sessions, never by the same.
BETTER = (0.018, 0.022, 0.019, 0.021, 0.020)


def rule(
    log: pa.Table,
    linear: tuple[float | None, ...],
    days: list[date] = DAYS,
    *,
    naive: float = 0.0,
    reversal: float = 0.005,
    session: date = NEXT,
) -> Decision | None:
    """The rule's decision, where average had an IC of .01 in each session."""
    length = len(linear)
    others = {"average": 0.01, "naive": naive, "reversal": reversal}
    measured = performance(days[:length], {"linear": linear, **{kind: [ic] * length for kind, ic in others.items()}})
    return decided(log, measured, session, KINDS, MADE_AT)


def test_the_average_is_champion_before_any_decision() -> None:
    first = champion(CHAMPIONS.empty(), DAYS[0], KINDS)
    assert (first.kind, first.version, first.decided_by) == ("average", None, "default")


def test_where_no_average_is_fitted_the_first_kind_is_champion() -> None:
    assert champion(CHAMPIONS.empty(), DAYS[0], ("boosted", "linear")).kind == "boosted"


@given(st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(KINDS)), max_size=8), st.sampled_from(DAYS))
def test_a_decision_never_changes_an_earlier_session(made: list[tuple[date, str]], session: date) -> None:
    log = [decision(day, kind, after_hours=at) for at, (day, kind) in enumerate(made)]
    without = [one for one in log if one.session <= session]
    assert champion(champions(*log), session, KINDS) == champion(champions(*without), session, KINDS)


def test_of_two_decisions_the_one_made_last_holds() -> None:
    log = champions(decision(DAYS[3], "linear", after_hours=2), decision(DAYS[3], "reversal", after_hours=1))
    assert champion(log, DAYS[4], KINDS).kind == "linear"


def test_a_decision_for_a_kind_that_is_no_longer_fitted_is_passed_over_unless_it_pins_a_version() -> None:
    log = champions(decision(DAYS[1], "linear"), decision(DAYS[2], "boosted", after_hours=1))
    assert champion(log, DAYS[3], KINDS).kind == "linear"
    pinned = champions(decision(DAYS[2], "boosted", version("boosted", DAYS[2])))
    assert champion(pinned, DAYS[3], KINDS).version == version("boosted", DAYS[2])


def test_a_session_uses_the_model_of_the_champions_kind_that_was_fitted_for_it() -> None:
    row = chosen(models(DAYS[:5]), decision(DAYS[1], "linear"), DAYS[3])
    assert row is not None
    assert row["version"] == version("linear", DAYS[3])


def test_a_session_uses_the_version_that_is_pinned_but_never_one_of_a_later_session() -> None:
    pinned = decision(DAYS[3], "linear", version("linear", DAYS[2]))
    row = chosen(models(DAYS[:5]), pinned, DAYS[4])
    assert row is not None
    assert row["version"] == version("linear", DAYS[2])
    assert chosen(models(DAYS[:5]), pinned, DAYS[1]) is None


def test_a_session_without_a_model_of_the_champions_kind_has_none() -> None:
    assert chosen(models(DAYS[:5], ("average",)), decision(DAYS[1], "linear"), DAYS[3]) is None


def test_a_pinned_version_is_doubted_for_what_its_kind_is_doubted_for_in_the_session() -> None:
    pinned = decision(DAYS[3], "linear", version("linear", DAYS[2]))
    for then, now in (("too little history", None), (None, "drift"), ("too little history", "drift")):
        known = pa.concat_tables([models(DAYS[2:3], abstain=then), models(DAYS[3:5], abstain=now)])
        row = in_use(known, pinned, DAYS[4], COST_BP)
        assert row is not None
        assert (row["version"], row["abstain"]) == (version("linear", DAYS[2]), now)


@pytest.mark.parametrize("pinned", [version("linear", DAYS[2]), None])
def test_a_model_that_was_fitted_to_another_cost_abstains_with_both(pinned: str | None) -> None:
    made = decision(DAYS[3], "linear", pinned)
    known = pa.concat_tables([models(DAYS[2:3]), models(DAYS[3:5], cost_bp=2.0 if pinned is None else 5.5)])
    row = in_use(known, made, DAYS[4], 5.5)
    assert row is not None
    assert row["abstain"] == "p_profit is for a cost of 2 bp, not 5.5 bp"
    assert in_use(known, made, DAYS[4], COST_BP) == {**row, "abstain": None}


def test_a_doubt_about_the_model_is_said_before_its_cost() -> None:
    row = in_use(models(DAYS[3:5], abstain="drift"), decision(DAYS[3], "linear"), DAYS[4], 5.5)
    assert row is not None
    assert row["abstain"] == "drift"


def test_a_pinned_version_whose_kind_is_no_longer_fitted_keeps_its_own_doubt() -> None:
    pinned = decision(DAYS[3], "linear", version("linear", DAYS[2]))
    known = pa.concat_tables([models(DAYS[2:3], abstain="drift"), models(DAYS[3:5], ("average",))])
    row = in_use(known, pinned, DAYS[4], COST_BP)
    assert row is not None
    assert row["abstain"] == "drift"
    assert in_use(models(DAYS[3:5], ("average",)), pinned, DAYS[4], COST_BP) is None


def test_a_challenger_that_is_better_by_a_margin_over_five_sessions_is_promoted_with_the_figures() -> None:
    made = rule(CHAMPIONS.empty(), BETTER)
    assert made is not None
    assert (made.session, made.kind, made.version, made.decided_by) == (NEXT, "linear", None, "rule")
    assert (
        made.reason
        == f"obtainable IC 0.0200 over 5 sessions to {DAYS[4]}; average 0.0100, naive 0.0000, reversal 0.0050"
    )


@pytest.mark.parametrize(
    ("linear", "naive"),
    [
        (BETTER[:4], 0.0),  # too few sessions
        ((*BETTER[:4], None), 0.0),
        ((0.0119,) * 5, 0.0),  # better by less than means anything
        ((0.00, 0.04, 0.01, 0.04, 0.02), 0.0),  # better on average, by fewer than three standard errors
        (BETTER, 0.0185),  # no better than naive
    ],
)
def test_the_champion_stays_where_the_evidence_is_not_enough(linear: tuple[float | None, ...], naive: float) -> None:
    assert rule(CHAMPIONS.empty(), linear, naive=naive) is None


def test_what_is_fitted_must_exceed_the_reversal_that_is_not() -> None:
    made = rule(CHAMPIONS.empty(), BETTER, reversal=0.0185)
    assert made is not None and made.kind == "reversal", "though linear is better by .0015"
    log = champions(decision(DAYS[0], "reversal", by="rule"))
    assert rule(log, BETTER, reversal=0.0185) is None and rule(log, BETTER) is not None
    ics = {"linear": BETTER, "average": [0.01] * 5, "naive": [0.0] * 5}
    made = decided(CHAMPIONS.empty(), performance(DAYS[:5], ics), NEXT, ("linear", "average"), MADE_AT)
    assert made is not None and made.kind == "linear", "where no reversal is fitted there is none to exceed"


def test_the_best_of_several_challengers_is_promoted() -> None:
    ics = {"linear": BETTER, "reversal": [ic + 0.005 for ic in BETTER], "average": [0.01] * 5, "naive": [0.0] * 5}
    made = decided(CHAMPIONS.empty(), performance(DAYS[:5], ics), NEXT, KINDS, MADE_AT)
    assert made is not None
    assert made.kind == "reversal"


def test_sessions_before_the_last_change_or_from_the_given_one_on_do_not_count() -> None:
    assert rule(champions(decision(DAYS[1], "average", by="rule")), BETTER) is None
    assert rule(champions(decision(DAYS[0], "average", by="rule")), BETTER) is not None
    assert rule(CHAMPIONS.empty(), BETTER, session=DAYS[4]) is None
    assert rule(CHAMPIONS.empty(), BETTER, session=DAYS[5]) is not None


def test_a_persons_decision_stands_until_five_sessions_after_it_are_measured() -> None:
    log = champions(decision(DAYS[5], "average"))
    for session in range(6, 10):
        assert rule(log, BETTER * 2, session=DAYS[session]) is None
    made = rule(log, BETTER * 2, session=DAYS[10])
    assert made is not None
    assert made.kind == "linear"


def test_a_pinned_version_is_never_replaced_by_the_rule() -> None:
    assert rule(champions(decision(DAYS[0], "average", version("average", DAYS[0]))), BETTER) is None


def test_the_rule_decides_once_for_a_session_and_for_none_before_a_decision() -> None:
    made = rule(CHAMPIONS.empty(), BETTER)
    assert made is not None
    assert rule(champions(made), BETTER) is None
    assert rule(champions(decision(DAYS[11], "reversal")), BETTER) is None


def test_kinds_that_are_no_longer_fitted_are_no_challengers() -> None:
    ics = {"linear": BETTER, "average": [0.01] * 5, "naive": [0.0] * 5, "reversal": [0.0] * 5}
    measured = performance(DAYS[:5], ics)
    assert decided(CHAMPIONS.empty(), measured, NEXT, ("average", "reversal"), MADE_AT) is None


def flips(skills: tuple[float, ...], seed: int, sessions: int = 250) -> list[int]:
    """The sessions at which the rule changed the champion, of kinds with these mean ICs and the noise of real ones."""
    chance = np.random.default_rng(seed)
    common = chance.normal(size=(sessions, 1))
    ics = np.array((*skills, 0.003)) + 0.006 * (
        np.sqrt(0.7) * common + np.sqrt(0.3) * chance.normal(size=(sessions, len(skills) + 1))
    )
    days = [date.fromordinal(date(2026, 1, 1).toordinal() + at) for at in range(sessions)]
    named = {kind: ics[:, at].tolist() for at, kind in enumerate((*KINDS, "naive"))}
    measured, log, found = performance(days, named), champions(), list[int]()
    width = len(named)
    for at in range(LEAST_SESSIONS, sessions):
        seen = measured.slice(max(0, at - 60) * width, (at - max(0, at - 60)) * width)
        made = decided(log, seen, days[at], KINDS, MADE_AT)
        if made is not None:
            log, found = champions(made), [*found, at]
    return found


def test_kinds_of_equal_skill_hardly_ever_change_places() -> None:
    """In 20 times 250 sessions: 2 times, and 6 times if two standard errors were enough."""
    counts = [len(flips((0.012, 0.012, 0.012), seed)) for seed in range(20)]
    assert sum(counts) <= 4
    assert max(counts) <= 1


def test_a_kind_that_is_truly_better_is_found_within_twenty_sessions_and_kept() -> None:
    for seed in range(5):
        found = flips((0.020, 0.012, 0.012), seed, sessions=65)
        assert len(found) == 1
        assert found[0] < 20


def test_a_persons_promotion_of_a_kind_uses_the_version_of_each_session() -> None:
    made = promote("linear", models(DAYS[:5]), DAYS[5], KINDS, MADE_AT, "better with few sessions")
    assert made == Decision(DAYS[5], "linear", None, MADE_AT, "person", "better with few sessions")


def test_a_persons_promotion_of_a_version_pins_it() -> None:
    made = promote(version("linear", DAYS[2]), models(DAYS[:5]), DAYS[5], KINDS, MADE_AT, "")
    assert (made.kind, made.version) == ("linear", version("linear", DAYS[2]))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("boosted", r"models of the kind boosted are not fitted; .* STOCKPICK_KINDS"),
        ("2026-01-01-gone", r"no kind and no version '2026-01-01-gone'; .*`stockpick model list`"),
        (version("linear", DAYS[4]), r"fitted for the session of .*, and may have seen that of"),
    ],
)
def test_a_promotion_that_cannot_be_says_why_and_what_to_do(what: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        promote(what, models(DAYS[:5]), DAYS[3], KINDS, MADE_AT, "")


@pytest.mark.parametrize(
    ("features", "differ"), [([*NAMES, "moon"], "moon"), (NAMES[1:], NAMES[0]), (NAMES[::-1], "their order")]
)
def test_a_version_fitted_to_other_features_is_refused(features: list[str], differ: str) -> None:
    old, said = models(DAYS[:1], features=features), f"was fitted to other features .*; they differ in {differ}"
    with pytest.raises(RegistryError, match=said):
        promote(version("linear", DAYS[0]), old, DAYS[5], KINDS, MADE_AT, "")
    with pytest.raises(RegistryError, match=said):
        rollback(champions(decision(DAYS[1], "linear")), old, DAYS[5], KINDS, MADE_AT, "")


@pytest.mark.parametrize("digest", ["0123456789ab", None])
def test_a_version_fitted_to_other_definitions_of_the_same_features_is_refused(digest: str | None) -> None:
    old = models(DAYS[:1], features_digest=digest)
    said = rf"they differ in their definitions \({digest}, today {DIGEST}\)\. Choose a version fitted since, or run the"
    with pytest.raises(RegistryError, match=said):
        promote(version("linear", DAYS[0]), old, DAYS[5], KINDS, MADE_AT, "")
    with pytest.raises(RegistryError, match=said):
        rollback(champions(decision(DAYS[1], "linear")), old, DAYS[5], KINDS, MADE_AT, "")


def test_a_version_that_fits_nothing_needs_no_features() -> None:
    assert promote(
        version("reversal", DAYS[0]), models(DAYS[:1], features=[], features_digest=None), DAYS[5], KINDS, MADE_AT, ""
    ).version


def test_a_version_that_has_no_model_is_refused() -> None:
    unfitted = models(DAYS[:1], path=None, abstain="too little history")
    with pytest.raises(RegistryError, match="has no model: too little history"):
        promote(version("linear", DAYS[0]), unfitted, DAYS[5], KINDS, MADE_AT, "")


def test_a_rollback_pins_the_version_that_was_used_before_the_present_champion() -> None:
    log = champions(decision(DAYS[2], "reversal"), decision(DAYS[4], "linear", by="rule", after_hours=1))
    made = rollback(log, models(DAYS[:8]), DAYS[7], KINDS, MADE_AT, "worse since")
    assert made == Decision(DAYS[7], "reversal", version("reversal", DAYS[3]), MADE_AT, "person", "worse since")


def test_a_second_rollback_before_the_session_goes_one_version_further_back() -> None:
    log = [decision(DAYS[4], "linear", by="rule")]
    log.append(rollback(champions(*log), models(DAYS[:8]), DAYS[4], KINDS, MADE_AT.replace(hour=23), ""))
    assert log[-1].version == version("average", DAYS[3])
    again = rollback(champions(*log), models(DAYS[:8]), DAYS[4], KINDS, MADE_AT, "")
    assert again.version == version("average", DAYS[2])


@pytest.mark.parametrize(
    ("log", "since"),
    [(champions(), "from the beginning"), (champions(decision(DAYS[0], "linear")), f"since the session of {DAYS[0]}")],
)
def test_where_there_is_nothing_to_roll_back_to_it_says_so(log: pa.Table, since: str) -> None:
    with pytest.raises(RegistryError, match=f"nothing to roll back to: .* {since}.*`stockpick model promote VERSION`"):
        rollback(log, models(DAYS[:5]), DAYS[5], KINDS, MADE_AT, "")
