"""Each page in each state, as Streamlit's test runner draws it."""

import shutil
from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from stockpick_assets_tests.streamlit_app.conftest import OpenApp
from stockpick_assets_tests.streamlit_app.market import Market

PAGES = ["views/picks.py", "views/ticker.py"]
AGE = timedelta(seconds=90)  # half a minute after the close of a minute that began so long ago


def words(app: AppTest) -> str:
    """Everything the app says, in one text."""
    kinds = (app.markdown, app.subheader, app.text, app.info, app.warning, app.error, app.caption, app.code, app.title)
    labels = [metric.label for metric in app.metric] + [str(metric.value) for metric in app.metric]
    folds = [fold.label for fold in app.expander]
    return "\n".join([element.value for kind in kinds for element in kind] + labels + folds)


def test_a_live_minute_shows_the_best_five_and_how_often_such_picks_came_true(
    market: Market, open_app: OpenApp
) -> None:
    market.write_scores_before(5)
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    said = words(app)
    assert not app.exception
    assert "Best picks now, 10:30 New York" in said
    assert "live, 30 s old" in said
    assert "SIMULATED" in said
    assert "came true (" in said
    assert "sessions)." in said
    assert len(app.metric) == 5
    best = min(market.ranks(market.at("10:30")).items(), key=lambda item: item[1])[0]
    assert app.dataframe[0].value["ticker"].iloc[0] == best


def test_fewer_than_five_sessions_are_too_early_to_trust(market: Market, open_app: OpenApp) -> None:
    market.write_scores_before(2)
    market.write(market.session.open, market.at("10:30"))
    assert "Too early to say" in words(open_app(market.at("10:30") + AGE))


def test_the_recorded_source_is_named_in_words(
    market: Market, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.source = "recorded"
    monkeypatch.setenv("STOCKPICK_BARS", "bars.parquet")
    market.write(market.session.open, market.at("09:40"))
    said = words(open_app(market.at("09:40") + AGE))
    assert "RECORDED" in said
    assert "SIMULATED" not in said


@pytest.mark.parametrize("page", PAGES)
def test_empty_tables_say_what_to_run(market: Market, open_app: OpenApp, page: str) -> None:
    app = open_app(market.at("10:30"), page, ticker="AAPL")
    assert not app.exception
    assert "stockpick backfill 2026-11-23 2026-11-23" in words(app)
    assert not app.metric
    assert not app.dataframe


@pytest.mark.parametrize("page", PAGES)
def test_a_late_minute_stays_and_says_what_it_waits_for(market: Market, open_app: OpenApp, page: str) -> None:
    market.write(market.session.open, market.at("10:30"))
    market.write(market.at("10:31"), market.at("10:32"), "raw_prices")
    app = open_app(market.at("10:31") + timedelta(seconds=140), page, ticker="AAPL")
    assert not app.exception
    assert "10:30, 2 min 20 s late, waiting for features" in words(app)
    assert app.metric
    assert "now" not in words(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_minute_that_is_too_old_is_not_called_current(market: Market, open_app: OpenApp, page: str) -> None:
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:40"), page, ticker="AAPL")
    assert not app.exception
    assert "As of 2026-11-23 10:30 New York, not current" in words(app)
    assert app.metric
    assert "now" not in words(app)


def test_a_store_that_fails_leaves_the_last_good_minute_marked(market: Market, open_app: OpenApp) -> None:
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    shutil.rmtree(market.root / "simulated" / "picks" / "_delta_log")
    shutil.rmtree(market.root / "simulated" / "raw_prices")
    (market.root / "simulated" / "raw_prices").write_text("not a table")
    forget_what_is_newest()
    app.run()
    assert not app.exception
    said = words(app)
    assert "As of 2026-11-23 10:30 New York, not current" in said
    assert "raw_prices" in said
    assert "Traceback" not in said
    assert len(app.metric) == 5


def test_a_store_that_never_answered_is_not_an_empty_one(market: Market, open_app: OpenApp) -> None:
    (market.root / "simulated").mkdir()
    (market.root / "simulated" / "raw_prices").write_text("not a table")
    app = open_app(market.at("10:30"))
    assert not app.exception
    assert "Nothing can be shown" in words(app)
    assert "stockpick backfill" not in words(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_closed_market_shows_the_final_picks_and_the_next_opening(
    market: Market, open_app: OpenApp, page: str
) -> None:
    market.write(market.at("15:30"), market.session.last_minute)
    app = open_app(market.session.close + timedelta(minutes=59, seconds=50), page, ticker="AAPL")
    said = words(app)
    assert not app.exception
    assert "It opens on Tuesday, 2026-11-24 at 09:30 New York, in 16 h 30 min" in said
    assert "the tables end" not in said.lower()
    assert app.metric
    assert not app.error


def test_a_closed_market_says_when_the_session_is_not_whole(market: Market, open_app: OpenApp) -> None:
    market.write(market.session.open, market.at("10:30"))
    said = words(open_app(market.session.close + timedelta(hours=1)))
    assert "The tables end at 2026-11-23 10:30; the session went on to 2026-11-23 15:59." in said


def test_an_abstention_gives_its_reason_and_keeps_the_table_behind_a_fold(market: Market, open_app: OpenApp) -> None:
    market.abstain = "obtainable IC over 5 sessions is 0.001 (needs 0.01)"
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    assert not app.exception
    assert "No pick at 10:30 New York" in words(app)
    assert market.abstain in words(app)
    assert not app.metric
    assert len(app.dataframe[0].value) == len(market.tickers)
    assert app.dataframe[0].value["change_day"].notna().all()


def test_a_partial_minute_ranks_what_is_there_and_lists_what_is_not(market: Market, open_app: OpenApp) -> None:
    market.halted = {"MSFT": market.at("10:20"), "TSLA": market.at("10:30")}
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    said = words(app)
    assert not app.exception
    assert "2 of 12 tickers have no bar at 10:30; ranks are of 10" in said
    assert "halted (2): MSFT, TSLA" in said


def test_two_models_in_one_minute_are_said_to_be_mixed(market: Market, open_app: OpenApp) -> None:
    market.models = ("2026-11-20.1", "2026-11-20.2")
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    assert not app.exception
    assert "forecasts of 2 models; their ranks do not compare" in words(app)


@pytest.mark.parametrize(
    ("doubt", "badge"),
    [
        ("no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp", "no edge after cost"),
        ("obtainable IC over 5 sessions is 0.001 ± 0.004, within noise of zero", "abstains"),
    ],
)
def test_picks_that_are_not_to_be_relied_on_are_marked_in_words_and_not_hidden(
    market: Market, open_app: OpenApp, doubt: str, badge: str
) -> None:
    market.doubt = doubt
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE)
    said = words(app)
    assert not app.exception
    assert "No pick to rely on at 10:30 New York" in said
    assert f"Abstains: {doubt}." in said
    assert f":orange-badge[:material/do_not_disturb_on: {badge}]" in said
    assert [metric.label for metric in app.metric] == ["p_profit, abstains"] * 5
    assert set(app.dataframe[0].value["mark"]) == {doubt}
    assert app.dataframe[0].value["rank"].notna().all()


def test_a_ticker_that_is_not_to_be_relied_on_keeps_its_numbers_beside_the_reason(
    market: Market, open_app: OpenApp
) -> None:
    market.doubt = "no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp"
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE, "views/ticker.py", ticker="AAPL")
    assert not app.exception
    assert market.doubt in words(app)
    assert "–" not in {str(metric.value) for metric in app.metric}


def test_a_new_minute_is_shown_and_the_selected_ticker_stays_selected(market: Market, open_app: OpenApp) -> None:
    before, after = market.at("10:30"), market.at("10:32")
    market.write(market.session.open, before)
    app = open_app(after + AGE)
    ranks, later = market.ranks(before), market.ranks(after)
    ticker = next(ticker for ticker in ranks if ranks[ticker] != later[ticker])
    app.session_state["picks_table"] = {"selection": {"rows": [ranks[ticker] - 1]}}
    app.run()
    assert f"Selected: {ticker}, rank {ranks[ticker]} of 12" in words(app)
    market.write(market.at("10:31"), after)
    forget_what_is_newest()
    app.run()
    assert "Best picks now, 10:32 New York" in words(app)
    assert f"Selected: {ticker}, rank {later[ticker]} of 12" in words(app)


def test_a_ticker_shows_what_was_said_of_it_and_every_minute_as_a_table(market: Market, open_app: OpenApp) -> None:
    market.halted = {"MSFT": market.at("10:20")}
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE, "views/ticker.py", ticker="MSFT")
    assert not app.exception
    assert "11 of 61 minutes have no bar" in words(app)
    table = app.dataframe[0].value
    assert list(table["time"][:2]) == ["10:30", "10:29"]
    assert list(table["reason"][:12]) == ["halted"] * 11 + ["present"]


def test_a_minute_in_the_link_fixes_the_page(market: Market, open_app: OpenApp) -> None:
    market.write(market.session.open, market.at("10:30"))
    app = open_app(market.at("10:30") + AGE, "views/ticker.py", ticker="AAPL", minute="2026-11-23T10:05")
    assert not app.exception
    assert "Fixed at 2026-11-23 10:05 New York" in words(app)
    price = next(metric.value for metric in app.metric if metric.label == "price, $")
    assert float(price) == pytest.approx(market.closes[35, 0], abs=0.006)


@pytest.mark.parametrize(
    "query",
    [
        {"ticker": "<script>alert(1)</script>"},
        {"ticker": "IBM"},
        {"ticker": "A" * 10_000},
        {"ticker": "AAPL", "minute": "[x](http://elsewhere)"},
        {"ticker": "AAPL", "minute": "2026-11-22T10:05"},
    ],
)
def test_a_link_that_cannot_be_right_is_refused_in_plain_words(
    market: Market, open_app: OpenApp, query: dict[str, str]
) -> None:
    market.write(market.session.open, market.at("09:40"))
    app = open_app(market.at("09:40") + AGE, "views/ticker.py", **query)
    assert not app.exception
    assert [error.value for error in app.error] == ["This link cannot be followed."]
    assert not app.metric
    assert all(len(text.value) < 300 for text in app.text)


def forget_what_is_newest() -> None:
    """What two seconds of waiting would do."""
    from streamlit_app import data

    data._look_up.clear()
