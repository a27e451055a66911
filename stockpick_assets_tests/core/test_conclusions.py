"""What so many sessions of so many tickers let one conclude."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from stockpick_assets.core.conclusions import NO_MODEL, conclusions, summaries
from stockpick_assets.core.schemas import PERFORMANCE


def performance(kind: str, ics: Sequence[float | None], error: float = 0.004, **more: Any) -> pa.Table:
    """A row of PERFORMANCE for each IC, of sessions from 2026-06-01 on."""
    rows = [
        {
            "session": date(2026, 6, 1) + timedelta(days=number),
            "kind": kind,
            "champion": kind == "linear",
            "ic_close": ic,
            "ic_obtainable": ic,
            "ic_obtainable_error": error,
            **more,
        }
        for number, ic in enumerate(ics)
    ]
    return pa.Table.from_pylist(rows, schema=PERFORMANCE.columns)


def test_a_mean_over_sessions_has_the_error_of_their_differences_and_no_less_than_their_own() -> None:
    apart, close = (summaries(performance("linear", ics))[0].ic_obtainable for ics in ([0.0, 0.04], [0.02, 0.02]))
    assert apart is not None and close is not None
    assert (apart.value, apart.error) == pytest.approx((0.02, 0.02))
    assert (close.value, close.error) == pytest.approx((0.02, 0.004 / 2**0.5))


def test_a_session_weighs_by_its_own_error() -> None:
    rows = pa.concat_tables([performance("linear", [0.02] * 3), performance("linear", [0.32], error=0.4)])
    found = summaries(rows)[0].ic_obtainable
    assert found is not None
    assert found.value == pytest.approx(0.02 + 0.3 / 30_001)


def test_the_ratio_is_of_the_mean_to_the_deviation_and_needs_two_sessions() -> None:
    two, one = (summaries(performance("linear", ics))[0] for ics in ([0.0, 0.04], [0.02]))
    assert two.icir_obtainable == pytest.approx(0.02 / (0.02 * 2**0.5))
    assert one.icir_obtainable is None


@pytest.mark.parametrize(
    ("ics", "verdict"),
    [
        ([0.03, 0.031, 0.032], "more than noise"),
        ([0.03, -0.03, 0.001], "within noise of 0"),
        ([0.006] * 3, "within noise of 0"),
        ([-0.03] * 3, "worse"),
    ],
)
def test_skill_is_told_from_noise_by_its_error(ics: list[float], verdict: str) -> None:
    assert verdict in conclusions(performance("linear", ics), 100)[0]


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.01] * 4, "+0.0100 ± 0.0000 by session, better than"),
        ([-0.0967, -0.0983, -0.0967, -0.0983], "-0.0975 ± 0.0005 by session, worse than"),
        ([0.01, -0.01, 0.02, -0.01], "+0.0025 ± 0.0075 by session, not told from"),
    ],
)
def test_the_naive_reversal_is_compared_session_by_session(gains: list[float], said: str) -> None:
    naive = [0.10, -0.10, 0.05, 0.0]
    own = [ic + gain for ic, gain in zip(naive, gains, strict=True)]
    rows = pa.concat_tables([performance("linear", own), performance("naive", naive)])
    assert f"linear against naive: {said} naive reversal" in conclusions(rows, 100)


def test_no_edge_after_cost_is_said_of_the_champion() -> None:
    rows = pa.concat_tables(
        [
            performance("linear", [0.02], top_return_after_cost=-1.5e-4),
            performance("linear", [0.02], top_return_after_cost=-1.7e-4),
        ]
    )
    assert any("-1.60 ± 0.10 bp after cost, no edge after cost" in said for said in conclusions(rows, 100))


def test_the_brier_score_is_held_against_the_base_rate_and_volatility() -> None:
    rows = performance("linear", [0.02], brier=0.24, brier_base_rate=0.25, brier_volatility=0.239)
    assert any(
        "0.24000 over 1 session, below 0.25000 of the base rate and not below 0.23900 of volatility alone" in said
        for said in conclusions(rows, 100)
    )


def test_brier_scores_are_compared_over_the_sessions_that_have_all_three() -> None:
    later = {"brier": 0.241, "brier_base_rate": 0.24, "brier_volatility": 0.242}
    rows = performance("linear", [0.02] * 3)
    rows = pa.Table.from_pylist(
        [{**row, **told} for row, told in zip(rows.to_pylist(), ({"brier": 0.2}, later, later), strict=True)],
        schema=PERFORMANCE.columns,
    )
    assert any(
        "0.24100 over 2 sessions, not below 0.24000 of the base rate and below 0.24200 of volatility alone" in said
        for said in conclusions(rows, 100)
    )


def test_few_tickers_and_sessions_are_said_to_be_few() -> None:
    said = "\n".join(conclusions(performance("linear", [0.05, -0.04], error=0.03), 4))
    assert "4 tickers: too few" in said
    assert "2 sessions: an ICIR says little" in said
    assert "cannot be told from none here; that of a linear model was 0.013 on 100 tickers over 7 sessions" in said
    many = "\n".join(conclusions(performance("linear", [0.013] * 20), 100))
    assert "too few" not in many and "says little" not in many and "cannot be told" not in many


def test_without_a_forecast_nothing_is_concluded_but_that() -> None:
    assert conclusions(PERFORMANCE.empty(), 20) == [NO_MODEL]
    assert NO_MODEL in conclusions(performance("naive", [0.01]), 20)
    assert NO_MODEL not in conclusions(performance("linear", [0.01]), 20)


def test_a_kind_whose_ic_could_not_be_measured_is_told() -> None:
    assert "no obtainable IC could be measured" in conclusions(performance("linear", [None]), 1)[0]
