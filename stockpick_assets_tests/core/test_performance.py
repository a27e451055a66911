"""How each kind of model did in a session, from small tables whose answers can be reckoned by hand."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.evaluation import brier, mean_error
from stockpick_assets.core.feature_set import FEATURES
from stockpick_assets.core.grid import Grid, carried_forward
from stockpick_assets.core.market_hours import MINUTE, Session, session_before, sessions_until
from stockpick_assets.core.performance import LEAST_MINUTES, REFERENCE, champion_version, ic_estimates, performance
from stockpick_assets.core.schemas import NAIVE, PERFORMANCE, PREDICTIONS, TRAINING_SET, TableSchema
from stockpick_assets.walk_forward import Market
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.short_market import short_market

COST_BP = 2.0
PREVIOUS = session_before(SESSION)
Matrix = Sequence[Sequence[float | None]]


def table(schema: TableSchema, session: Session = SESSION, **columns: Matrix) -> pa.Table:
    """Rows of the session's first minutes; each column is a matrix of minutes × tickers, a value for every cell."""
    shape = np.shape(next(iter(columns.values())))
    rows = [
        {
            "session": session.date,
            "minute": session.open + minute * MINUTE,
            "ticker": f"T{ticker:02d}",
            "source": "simulated",
            **{name: values[minute][ticker] for name, values in columns.items()},
        }
        for minute in range(shape[0])
        for ticker in range(shape[1])
    ]
    return pa.Table.from_pylist(rows, schema=schema.columns)


def hour(*minutes: Sequence[Any]) -> list[Sequence[Any]]:
    """These minutes again and again, until they are as many as an IC takes."""
    return [*minutes] * (LEAST_MINUTES // len(minutes))


def predictions(scores: Matrix, **columns: Matrix) -> pa.Table:
    """PREDICTIONS whose champion is `linear`."""
    return table(PREDICTIONS, score=scores, score_linear=scores, **columns)


def training(obtainable: Matrix, session: Session = SESSION, **columns: Matrix) -> pa.Table:
    """TRAINING_SET in which the close return is the obtainable one, unless told otherwise."""
    return table(TRAINING_SET, session, **{"obtainable_return": obtainable, "close_return": obtainable, **columns})


NOTHING_EARLIER = TRAINING_SET.empty().select(list(REFERENCE))


def measured(
    said: pa.Table, happened: pa.Table, earlier: pa.Table = NOTHING_EARLIER, cost_bp: float = COST_BP
) -> dict[str, dict[str, Any]]:
    """The row of each kind."""
    made = performance(said, happened, earlier, SESSION, "simulated", cost_bp)
    assert made.schema.equals(PERFORMANCE.columns)
    return {row["kind"]: row for row in made.to_pylist()}


def test_a_sessions_ranking_is_measured_minute_by_minute() -> None:
    scores = hour([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    returns = hour([0.0003, 0.0002, -0.0002], [0.0001, 0.0002, 0.0], [None, -0.0004, -0.0001])
    row = measured(predictions(scores), training(returns))["linear"]
    # ICs of the minutes: 1, -1/2, -1. Of the top picks' returns, the first alone is above its minute's mean.
    assert row["ic_obtainable"] == pytest.approx(-1 / 6)
    assert row["ic_obtainable_error"] == pytest.approx(mean_error(np.tile([1, -1 / 2, -1], 20)))
    assert row["hit_rate"] == pytest.approx(1 / 3)
    assert row["top_return"] == pytest.approx((0.0003 + 0.0 - 0.0004) / 3)
    assert row["top_return_after_cost"] == pytest.approx((0.0003 + 0.0 - 0.0004) / 3 - 0.0002)
    assert (row["forecasts"], row["cost_bp"], row["turnover"]) == (160, 2.0, None)
    assert (row["session"], row["source"]) == (SESSION.date, "simulated")


def test_both_labels_are_measured_apart() -> None:
    happened = training(hour([0.001, 0.002]), close_return=hour([0.002, 0.001]))
    row = measured(predictions(hour([2.0, 1.0])), happened)["linear"]
    assert (row["ic_obtainable"], row["ic_close"]) == (-1.0, 1.0)
    assert (row["ic_obtainable_error"], row["ic_close_error"]) == (None, None)


def test_each_kind_with_scores_has_a_row_and_the_naive_score_is_minus_the_last_return() -> None:
    versions: Any = hour(["m1", "m1"])
    said = predictions(hour([2.0, 1.0]), score_reversal=hour([1.0, 2.0]), model_version=versions)
    rows = measured(said, training(hour([0.002, 0.001]), return_1=hour([0.01, -0.01])))
    assert {kind: (row["ic_close"], row["champion"], row["version"]) for kind, row in rows.items()} == {
        "linear": (1.0, True, "m1"),
        "reversal": (-1.0, False, None),
        NAIVE: (-1.0, False, None),
    }


def test_a_champion_that_is_pinned_is_measured_by_its_own_scores_and_not_by_those_of_its_kind() -> None:
    first, second = hour([2.0, 1.0]), hour([1.0, 2.0])
    said = table(PREDICTIONS, score=second, score_linear=first, score_reversal=first)
    happened = training(hour([0.001, 0.002]))
    made = performance(said, happened, NOTHING_EARLIER, SESSION, "simulated", COST_BP, "linear").to_pylist()
    assert {row["kind"]: (row["ic_obtainable"], row["champion"]) for row in made} == {
        "linear": (1.0, True),
        "reversal": (-1.0, False),
    }
    assert not any(row["champion"] for row in measured(said, happened).values())


def test_the_version_that_made_most_forecasts_is_the_champions() -> None:
    said = predictions([[1.0, 2.0, 3.0]], model_version=[["m1", "m2", "m2"]])  # pyright: ignore[reportArgumentType]
    assert champion_version(said) == "m2"
    assert champion_version(PREDICTIONS.empty()) is None


def test_a_session_without_forecasts_still_measures_the_naive_score() -> None:
    happened = training(hour([0.002, 0.001]), return_1=hour([-0.01, 0.01]))
    rows = measured(PREDICTIONS.empty(), happened)
    assert {kind: row["ic_obtainable"] for kind, row in rows.items()} == {NAIVE: 1.0}


def test_a_top_pick_that_cannot_be_graded_leaves_its_minute_out() -> None:
    row = measured(predictions([[3.0, 2.0], [2.0, 3.0]]), training([[None, 0.001], [0.004, 0.003]]))["linear"]
    assert (row["top_return"], row["hit_rate"]) == (pytest.approx(0.003), 0.0)


def test_turnover_is_the_share_of_the_ten_best_that_the_minute_after_replaces() -> None:
    first = [float(-ticker) for ticker in range(12)]
    second = [-20.0, *first[1:]]  # the best falls out, the eleventh comes in
    none: list[float | None] = [None] * 12
    row = measured(predictions([first, second, second, none, first]), training([first] * 5))["linear"]
    assert row["turnover"] == pytest.approx((0.1 + 0.0) / 2)


PAID, LOST = 0.001, -0.001
SIGS = [[0.001, 0.0005], [0.001, 0.0005]]


def test_the_champions_probabilities_are_measured_against_what_earlier_sessions_knew() -> None:
    said = predictions([[2.0, 1.0]] * 2, p_profit=[[0.8, 0.4], [0.6, 0.4]], score_reversal=[[1.0, 2.0]] * 2)
    happened = training([[PAID, LOST], [LOST, LOST]], sig=SIGS)
    # Before, one of four paid with the greater sig and three of four with the smaller: half in all.
    outcomes = [[PAID, PAID], [LOST, PAID], [LOST, PAID], [LOST, LOST]]
    earlier = training(outcomes, PREVIOUS, sig=SIGS * 2).select(list(REFERENCE))
    rows = measured(said, happened, earlier)
    row = rows["linear"]
    assert row["brier"] == pytest.approx((0.04 + 0.16 + 0.36 + 0.16) / 4)
    assert row["brier_base_rate"] == pytest.approx(0.25)
    assert row["brier_volatility"] == pytest.approx((0.75**2 + 0.75**2 + 0.25**2 + 0.75**2) / 4)
    assert row["reliability_p"] == pytest.approx([0.4, 0.6, 0.8])
    assert (row["reliability_paid"], row["reliability_count"]) == ([0.0, 0.0, 1.0], [2, 1, 1])
    assert {rows["reversal"][name] for name in ("brier", "brier_base_rate", "calibration_slope")} == {None}


def test_what_is_compared_with_is_never_learnt_from_the_session_itself() -> None:
    said = predictions([[2.0, 1.0]] * 2, p_profit=[[0.8, 0.4], [0.6, 0.4]])
    earlier = training([[PAID, LOST], [LOST, LOST]], PREVIOUS, sig=SIGS).select(list(REFERENCE))
    for outcomes in ([[PAID, LOST], [PAID, LOST]], [[LOST, LOST], [LOST, PAID]]):
        row = measured(said, training(outcomes, sig=SIGS), earlier)["linear"]
        paid = np.array(outcomes).ravel() > COST_BP / 10_000
        assert row["brier_base_rate"] == pytest.approx(brier(np.full(4, 0.25), paid.astype(float)))
    alone = measured(said, training([[PAID, LOST], [PAID, LOST]], sig=SIGS))["linear"]
    assert (alone["brier_base_rate"], alone["brier_volatility"], alone["stability_index"]) == (None, None, None)
    assert alone["brier"] is not None


def test_the_calibration_slope_of_a_session_has_an_error() -> None:
    random = np.random.default_rng(5)
    said = random.uniform(0.2, 0.8, (200, 8))
    outcomes = np.where(random.random(said.shape) < said, PAID, LOST)
    happened = training(outcomes.tolist(), sig=np.full(said.shape, 0.001).tolist())
    row = measured(predictions(said.tolist(), p_profit=said.tolist()), happened)["linear"]
    assert row["calibration_slope_error"] == pytest.approx(0.08, rel=0.3)
    assert abs(row["calibration_slope"] - 1) < 3 * row["calibration_slope_error"]


def test_the_feature_that_moved_most_is_named() -> None:
    random = np.random.default_rng(2)
    names = [feature.name for feature in FEATURES]
    before, now = ({name: random.normal(size=(40, 9)) for name in names} for _ in range(2))
    now[names[3]] += 2
    made = [
        training(columns[names[0]].tolist(), **{name: values.tolist() for name, values in columns.items()})
        for columns in (before, now)
    ]
    row = measured(predictions(now[names[0]].tolist()), made[1], made[0].select(list(REFERENCE)))["linear"]
    assert row["stability_feature"] == names[3]
    assert row["stability_index"] > 1


@pytest.mark.parametrize(("minutes", "told"), [(LEAST_MINUTES - 1, False), (LEAST_MINUTES, True)])
def test_of_fewer_than_sixty_minutes_there_is_no_ic_and_no_calibration_slope(minutes: int, told: bool) -> None:
    random = np.random.default_rng(5)
    scores, outcomes = random.normal(size=(2, minutes, 8))
    said = predictions(scores.tolist(), p_profit=(1 / (1 + np.exp(-scores))).tolist())
    row = measured(said, training((outcomes * 1e-3).tolist(), sig=np.full(scores.shape, 1e-3).tolist()))["linear"]
    names = ("ic_close", "ic_obtainable", "calibration_slope")
    assert [row[name] is not None for name in (*names, *(f"{name}_error" for name in names))] == [told] * 6
    assert (row["forecasts"], row["hit_rate"] is None, row["brier"] is None) == (8 * minutes, False, False)


def test_a_stored_ic_has_no_error_below_that_of_as_many_forecasts_that_share_nothing() -> None:
    of_two_minutes = {"ic_obtainable": 0.305, "ic_obtainable_error": 0.001, "forecasts": 200}
    of_a_session = {"ic_obtainable": 0.01, "ic_obtainable_error": 0.008, "forecasts": 38_500}
    unknown = {"ic_obtainable": None, "ic_obtainable_error": None, "forecasts": 0}
    found = ic_estimates([of_two_minutes, of_a_session, unknown], "ic_obtainable")
    assert [(one.value, one.error) for one in found] == [(0.305, pytest.approx(0.0707, abs=1e-4)), (0.01, 0.008)]


def spreads(market: Market, session: Session) -> Matrix:
    """Of each minute and ticker, of the one-minute returns so far."""
    grid = Grid(session, market.tickers)
    closes = carried_forward(grid.matrix(market.versions(session), "close")[:LEAST_MINUTES])
    return pd.DataFrame(np.log(closes)).diff().expanding().std().bfill().to_numpy().tolist()


@pytest.mark.parametrize(("times", "said"), [(1.0, "None"), (3.0, "the feature sig has drifted")])
def test_a_market_three_times_as_volatile_has_drifted_and_ordinary_sessions_have_not(times: float, said: str) -> None:
    market = short_market([session.date for session in sessions_until(SESSION.date, 6)], tickers=20, minutes=90)
    random = np.random.default_rng(4)
    before, rows, why = [TRAINING_SET.empty()], [PERFORMANCE.empty()], list[str | None]()
    for session in market.sessions:
        score, noise = random.normal(size=(2, LEAST_MINUTES, 20))
        # Half of sig is of the session's own returns, half of those of sessions before.
        sig = np.array(spreads(market, session)) * ((1 + times) / 2 if session == SESSION else 1.0)
        forecasts = table(PREDICTIONS, session, score=score.tolist(), score_linear=score.tolist())
        happened = training((score + noise).tolist(), session, sig=sig.tolist())
        earlier = pa.concat_tables(before).select(list(REFERENCE))
        rows.append(performance(forecasts, happened, earlier, session, "simulated", COST_BP))
        before.append(happened)
        why.append(doubt(pa.concat_tables(rows), "linear"))
    assert why[:-1] == [None] * 5
    assert said in str(why[-1])


SAID_OF_MANY = ("ic_close", "ic_close_error", "ic_obtainable", "ic_obtainable_error", "hit_rate", "turnover")


def test_one_ticker_can_be_compared_with_nothing() -> None:
    row = measured(predictions([[1.0], [2.0]]), training([[0.001], [-0.002]]))["linear"]
    assert {row[name] for name in SAID_OF_MANY} == {None}
    assert row["top_return"] == pytest.approx(-0.0005)


def test_constant_prices_are_no_skill_and_no_error() -> None:
    said = predictions([[0.0, 0.0]] * 30, p_profit=[[0.4, 0.4]] * 30)
    row = measured(said, training([[0.0, 0.0]] * 30, sig=[[1e-5, 1e-5]] * 30))["linear"]
    assert {row[name] for name in (*SAID_OF_MANY, "calibration_slope", "calibration_slope_error")} == {None}
    assert (row["top_return"], row["brier"]) == (0.0, pytest.approx(0.16))


number = st.none() | st.sampled_from([-0.002, -0.0001, 0.0, 0.0003, 0.001])
shapes = st.tuples(st.integers(1, 4), st.integers(1, 12))


def _filled(cell: st.SearchStrategy[Any]) -> Callable[[tuple[int, int]], st.SearchStrategy[list[list[Any]]]]:
    def of_shape(shape: tuple[int, int]) -> st.SearchStrategy[list[list[Any]]]:
        minutes, tickers = shape
        line = st.lists(cell, min_size=tickers, max_size=tickers)
        return st.lists(line, min_size=minutes, max_size=minutes)

    return of_shape


sessions = shapes.flatmap(
    lambda shape: st.tuples(
        *(_filled(cell)(shape) for cell in (number, number, number, st.sampled_from([0.2, 0.5, 0.6])))
    )
)


@given(sessions)
def test_what_cannot_be_said_is_null_and_never_nan(session: tuple[Any, ...]) -> None:
    scores, outcomes, last, p_profit = session
    happened = training(outcomes, return_1=last, sig=[[0.001] * len(scores[0])] * len(scores), e1=scores)
    for earlier in (NOTHING_EARLIER, happened.select(list(REFERENCE))):
        for row in measured(predictions(scores, p_profit=p_profit), happened, earlier).values():
            numbers = [value for value in row.values() if isinstance(value, float)]
            assert all(map(math.isfinite, numbers)), row


@given(sessions)
def test_scores_in_the_same_order_do_equally_well(session: tuple[Any, ...]) -> None:
    scores, outcomes, _, _ = session
    stretched = [[None if value is None else math.exp(1000 * value) for value in line] for line in scores]
    found, same = (measured(predictions(made), training(outcomes)).get("linear") for made in (scores, stretched))
    assert (found is None) == (same is None)
    if found is not None and same is not None:
        assert found == pytest.approx(same)
