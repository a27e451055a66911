"""The Alerts page: which alerts it shows, what it says became of them, and where they lead."""

from datetime import timedelta
from typing import Any

from stockpick_assets.core.alerts import Alert, alerts_table
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets_tests.streamlit_app.conftest import OpenApp
from stockpick_assets_tests.streamlit_app.market import Market
from stockpick_assets_tests.streamlit_app.test_app import words
from streamlit_app import alerts

PAGE = "views/alerts.py"
LINK = "http://127.0.0.1:8501/ticker?ticker=NVDA"


def raised(market: Market, number: int, **values: Any) -> Alert:
    minute = market.session.open + number * MINUTE
    made: dict[str, Any] = {
        "session": market.day,
        "minute": minute,
        "ticker": "NVDA",
        "source": "simulated",
        "id": f"simulated/{number}/NVDA/new_best",
        "rule": "new_best",
        "text": f"SIMULATED: NVDA is the new best pick of minute {number}\nthe numbers\n{LINK}",
        "created_at": minute + timedelta(minutes=1),
        "matters_until": minute + timedelta(minutes=6),
    }
    return Alert(**made | values)


def fill(market: Market, *rows: Alert) -> None:
    market.store.append("alerts", alerts_table(rows), {})


def test_the_newest_alerts_stand_first_with_their_status_reason_and_link(market: Market, open_app: OpenApp) -> None:
    fill(
        market,
        raised(market, 0, status="sent", detail="accepted by channel 1 (JSON)"),
        raised(market, 1, status="suppressed", detail="within 15 min of another"),
    )
    app = open_app(market.at("10:30"), PAGE)
    shown = app.dataframe[0].value
    assert not app.exception
    assert "The newest 2 of 2 alerts: 1 sent, 1 suppressed." in words(app)
    assert shown["status"].to_list() == ["suppressed", "sent"]
    assert shown["reason"].to_list() == ["within 15 min of another", "accepted by channel 1 (JSON)"]
    assert shown["alert"].to_list()[0] == "SIMULATED: NVDA is the new best pick of minute 1"
    assert shown["link"].to_list() == [LINK, LINK]
    assert shown["whole"].to_list()[0] == "/alerts?id=simulated%2F1%2FNVDA%2Fnew_best"
    assert str(shown["minute"].to_list()[0]) == "2026-11-23 09:31:00"


def test_a_link_to_one_alert_shows_it_alone_as_it_was_sent(market: Market, open_app: OpenApp) -> None:
    fill(
        market, raised(market, 0), raised(market, 1, status="failed", detail="refused by channel 1 (JSON)", attempts=4)
    )
    app = open_app(market.at("10:30"), PAGE, id="simulated/1/NVDA/new_best")
    said = words(app)
    assert not app.exception
    assert "Failed" in said
    assert "refused by channel 1 (JSON). 4 attempts." in said
    assert "the numbers\n" in said
    assert not app.dataframe


def test_a_link_to_no_alert_says_so_and_shows_no_other(market: Market, open_app: OpenApp) -> None:
    fill(market, raised(market, 0))
    app = open_app(market.at("10:30"), PAGE, id="<script>" + "x" * 10_000)
    assert not app.exception
    assert "There is no alert of that id." in words(app)
    assert not app.dataframe


def test_without_any_alert_the_page_says_how_to_try_the_channels_out(market: Market, open_app: OpenApp) -> None:
    app = open_app(market.at("10:30"), PAGE)
    assert not app.exception
    assert "No alert has been raised yet." in words(app)
    assert "stockpick alert test" in words(app)


def test_a_text_whose_last_line_is_no_address_has_no_link() -> None:
    assert alerts.link("NVDA moved\nno link: javascript:alert(1) is no ticker") is None
