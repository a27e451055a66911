"""The Trust page: what it says of rows of performance, and what it draws of them."""

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.schemas import PERFORMANCE
from stockpick_assets_tests.models import COST_BP, DAYS, champions, decision, models, performance, version
from stockpick_assets_tests.streamlit_app.conftest import OpenApp
from stockpick_assets_tests.streamlit_app.market import Market
from stockpick_assets_tests.streamlit_app.test_app import words
from streamlit_app import trust

PAGE = "views/trust.py"
SKILLED, UNSKILLED = [0.012, 0.016, 0.011, 0.015, 0.013, 0.014], [0.012, -0.016, 0.011, -0.015, 0.013, -0.004]
MEASURED = {
    "forecasts": 38_500,
    "ic_close": 0.06,
    "ic_close_error": 0.004,
    "ic_obtainable_error": 0.005,
    "hit_rate": 0.51,
    "top_return": 0.0001,
    "top_return_after_cost": -0.0001,
    "brier": 0.2431,
    "brier_base_rate": 0.2444,
    "brier_volatility": 0.2438,
    "reliability_p": [0.452, 0.471, 0.489],
    "reliability_paid": [0.44, 0.47, 0.50],
    "reliability_count": [1000, 3000, 1000],
    "cost_bp": 2.0,
}


def measured(ics: list[float], **values: Any) -> pa.Table:
    """PERFORMANCE of as many sessions: average, which is champion, with these ICs, linear, and naive of none."""
    days = DAYS[-len(ics) :]
    own = performance(days, {"average": ics}, champion=True, **MEASURED | values)
    others = performance(
        days, {"linear": [0.01] * len(ics), "naive": [0.0] * len(ics)}, champion=False, ic_obtainable_error=0.005
    )
    return pa.concat_tables([own, others])


def fill(market: Market, performed: pa.Table, abstain: str | None = None) -> None:
    market.store.append("performance", performed, {})
    market.store.append("return_model", models(DAYS[-1:], abstain=abstain), {})


def charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def domains(spec: Any) -> list[Any]:
    """The ends of every y axis that a chart fixes."""
    layers = spec.get("layer", [spec])
    return [layer["encoding"]["y"]["scale"]["domain"] for layer in layers if "scale" in layer["encoding"].get("y", {})]


def test_a_champion_above_noise_has_skill_with_the_number_and_the_threshold(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(SKILLED))
    app = open_app(market.at("10:30"), PAGE)
    said = words(app)
    assert not app.exception
    assert "Skill" in said
    assert "Obtainable IC over 6 sessions is 0.013 ± 0.002, more than 3 errors above zero." in said
    assert "Champion: average, each session the model fitted for it; no other has been chosen yet." in said


def test_a_champion_within_noise_has_no_skill(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(UNSKILLED))
    said = words(open_app(market.at("10:30"), PAGE))
    assert "No skill" in said
    assert "is 0.000 ± 0.006, within noise of zero (3 errors)." in said


def test_the_page_doubts_a_champion_in_the_words_of_its_picks() -> None:
    performed = measured(UNSKILLED)
    words_of_picks = doubt(performed, "average")
    for abstain in (None, words_of_picks):
        verdict = trust.verdict(performed, decision(DAYS[0], "average"), models(DAYS[-1:], abstain=abstain), COST_BP)
        assert (verdict.word, verdict.because) == ("no skill", words_of_picks)


def test_a_model_that_abstains_says_why_before_anything_else(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(SKILLED), abstain="the feature n_cmid has drifted")
    said = words(open_app(market.at("10:30"), PAGE))
    assert "Abstaining" in said
    assert "The feature n_cmid has drifted; obtainable IC over 6 sessions is 0.013 ± 0.002" in said


def test_a_pinned_version_is_doubted_for_what_its_kind_is_doubted_for_today(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(SKILLED))
    market.store.append("return_model", models(DAYS[-7:-6], abstain="too little history"), {})
    pinned = decision(DAYS[-6], "average", version("average", DAYS[-7]))
    market.store.append("champions", champions(pinned), {})
    said = words(open_app(market.at("10:30"), PAGE))
    assert f"Champion: {version('average', DAYS[-7])} (average), pinned" in said
    assert "Skill" in said
    assert "too little history" not in said


def test_a_champion_whose_p_profit_is_for_another_cost_abstains() -> None:
    verdict = trust.verdict(measured(SKILLED), decision(DAYS[0], "average"), models(DAYS[-1:]), 5.0)
    assert verdict.word == "abstaining"
    assert verdict.because.startswith("p_profit is for a cost of 2 bp, not 5 bp; obtainable IC")


def test_fewer_than_five_sessions_are_too_early_beside_every_figure(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(SKILLED[:4]))
    app = open_app(market.at("10:30"), PAGE)
    said = words(app)
    assert not app.exception
    assert "4 of the 5 sessions that it takes have been measured" in said
    assert said.count("too early: 4 sessions") == 4
    assert "Brier" not in said
    assert "0.01" not in said
    assert len(charts(app)) == 5


def test_each_figure_says_what_it_rests_on_and_the_two_ics_have_one_scale(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(SKILLED))
    app = open_app(market.at("10:30"), PAGE)
    said = words(app)
    assert "On the line it does (6 sessions, 30,000 forecasts)." in said
    assert (
        "Brier score 0.2431, of the base rate 0.2444, of volatility alone 0.2438 (lower is better; 6 sessions)" in said
    )
    assert "close: not tradable" in said
    assert said.count("(6 sessions)") == 3
    _, obtainable, close, _, _ = charts(app)
    assert domains(obtainable) == domains(close) == [[0.0, pytest.approx(0.064)]]
    assert len(app.dataframe[0].value) == 18


def test_the_present_champion_is_judged_and_not_the_one_before(market: Market, open_app: OpenApp) -> None:
    fill(market, measured(UNSKILLED))
    market.store.append("champions", champions(decision(DAYS[-1], "linear", by="rule")), {})
    said = words(open_app(market.at("10:30"), PAGE))
    assert "is 0.010 ± 0.002, more than 3 errors above zero" in said
    assert f"Champion: linear, each session the model fitted for it; decided by the rule from {DAYS[-1]} on" in said


def test_where_nothing_is_measured_it_says_what_to_run_and_draws_nothing(market: Market, open_app: OpenApp) -> None:
    app = open_app(market.at("10:30"), PAGE)
    said = words(app)
    assert not app.exception
    assert "a session is measured after its close" in said
    assert "stockpick backfill 2026-11-17 2026-11-23" in said
    assert charts(app) == []
    assert not app.dataframe


@pytest.mark.parametrize("table", ["performance", "champions", "return_model"])
def test_a_table_that_cannot_be_read_is_not_an_empty_one(market: Market, open_app: OpenApp, table: str) -> None:
    fill(market, measured(SKILLED))
    folder = market.root / "simulated" / table
    if folder.exists():
        folder.rename(market.root / "elsewhere")
    folder.write_text("not a table")
    app = open_app(market.at("10:30"), PAGE)
    said = words(app)
    assert not app.exception
    assert "Nothing can be shown." in said
    assert f"table {table} at" in said
    assert charts(app) == []


def test_a_session_in_which_nothing_could_be_measured_breaks_no_figure(market: Market, open_app: OpenApp) -> None:
    nothing = {"session": DAYS[-1], "source": "simulated", "kind": "average", "champion": True}
    fill(market, pa.Table.from_pylist([nothing], schema=PERFORMANCE.columns))
    app = open_app(market.at("10:30") + timedelta(days=1), PAGE)
    said = words(app)
    assert not app.exception
    assert "No probability has been measured." in said
    assert said.count("No rank IC has been measured.") == 2
    assert charts(app) == []


def test_probabilities_of_several_sessions_are_shown_together_in_per_cent() -> None:
    sessions = [
        {"reliability_p": [0.441, 0.482], "reliability_paid": [0.40, 0.50], "reliability_count": [300, 100]},
        {"reliability_p": [0.445], "reliability_paid": [0.60], "reliability_count": [100]},
        {"reliability_p": None, "reliability_paid": None, "reliability_count": None},
    ]
    first, middle, last = trust.reliability(sessions).to_pylist()
    assert first == {"p_profit": pytest.approx(44.1), "paid": pytest.approx(40.0), "forecasts": 300}
    assert middle == {"p_profit": pytest.approx(44.5), "paid": pytest.approx(60.0), "forecasts": 100}
    assert last == {"p_profit": pytest.approx(48.2), "paid": pytest.approx(50.0), "forecasts": 100}


def test_the_newest_twenty_sessions_are_shown_and_ten_are_judged() -> None:
    performed = measured([-0.5] * 20 + [0.012, 0.013] * 5)
    assert {row["session"] for row in trust.newest(performed)} == set(DAYS[-20:])
    assert trust.verdict(performed, decision(DAYS[0], "average"), models(DAYS[-1:]), COST_BP).word == "skill"
