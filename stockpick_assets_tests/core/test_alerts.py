"""Which picks are an alert, what it says, and what becomes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stockpick_assets.core.alerts import (
    MOST_ATTEMPTS,
    Alert,
    Delivery,
    Status,
    alerts_from,
    alerts_table,
    expire,
    new_best_picks,
    settled,
)
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.core.schemas import ALERTS
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import SESSION

LINKS = Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated")
WALL = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
EARLIER = SESSION.open - MINUTE


def best(*tickers: str | None, after: datetime = EARLIER, threshold: float = 0.5, **values: Any) -> list[Alert]:
    """The alerts of consecutive minutes whose best pick is the given ticker; None where all abstain."""
    rows = [
        row
        for index, ticker in enumerate(tickers)
        for row in (
            [pick(minute(index), "AAPL"), pick(minute(index), "AMD")]
            if ticker is None
            else [pick(minute(index), ticker, 1, **values), pick(minute(index), "TSLA", 2)]
        )
    ]
    return new_best_picks(table(rows), after, threshold, LINKS, WALL)


def alert(**values: Any) -> Alert:
    [made] = best("NVDA", **values)
    return made


def named(alerts: list[Alert]) -> list[tuple[datetime, str]]:
    return [(each.minute, each.ticker) for each in alerts]


def test_a_best_pick_is_an_alert_when_it_is_another_ticker_than_before() -> None:
    assert named(best("AAPL", "AAPL", "NVDA", "NVDA", "AAPL")) == [
        (minute(0), "AAPL"),
        (minute(2), "NVDA"),
        (minute(4), "AAPL"),
    ]


@pytest.mark.parametrize(("p_profit", "alerts"), [(0.5199, 0), (0.52, 1), (None, 0)])
def test_a_best_pick_is_an_alert_from_the_threshold_on(p_profit: float | None, alerts: int) -> None:
    assert len(best("NVDA", p_profit=p_profit, threshold=0.52)) == alerts


def test_a_best_pick_that_abstains_is_an_alert_that_says_so_in_a_line_of_its_own() -> None:
    lines = alert(abstain="no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp").text.splitlines()
    assert lines[1] == ("Not to be relied on: no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp.")
    assert "probability of profit 59.0%" in lines[2]


def test_a_best_pick_below_the_threshold_is_no_alert_whether_it_abstains_or_not() -> None:
    assert best("NVDA", abstain="no skill", threshold=0.6) == best("NVDA", threshold=0.6) == []


def test_a_minute_without_any_forecast_does_not_make_the_same_pick_new_again() -> None:
    assert named(best("AAPL", None, "AAPL")) == [(minute(0), "AAPL")]


def test_minutes_that_were_judged_before_only_say_which_ticker_was_best() -> None:
    assert named(best("AAPL", "AAPL", "NVDA", after=minute(0))) == [(minute(2), "NVDA")]


def test_the_first_best_pick_of_a_session_is_new() -> None:
    monday = session_after(SESSION)
    rows = [pick(SESSION.last_minute, "AAPL", 1), pick(monday.open, "AAPL", 1)]
    alerts = new_best_picks(table(rows), SESSION.last_minute, 0.5, LINKS, WALL)
    assert named(alerts) == [(monday.open, "AAPL")]


def test_the_text_says_what_why_where_and_that_the_market_is_simulated() -> None:
    first, second = best("AAPL", "NVDA")
    assert second.text.splitlines() == [
        "SIMULATED: NVDA is the new best pick of 2026-11-20 09:31 New York",
        "probability of profit 59.0% (alerts begin at 50.0%); expected obtainable return +0.60 bp before cost; "
        "expected excess return +2.00 bp; price 101.25; today +1.23 %; last 5 minutes -0.04 %.",
        "Ranked first of 2 tickers, where AAPL was before.",
        "http://127.0.0.1:8501/ticker?ticker=NVDA&minute=2026-11-20T09%3A31",
    ]
    assert "Ranked first of 2 tickers.\n" in first.text
    assert second.title + "\n" + second.body == second.text


@pytest.mark.parametrize(("source", "begins"), [("recorded", "RECORDED: NVDA"), ("yahoo", "NVDA")])
def test_only_an_alert_of_the_market_itself_goes_without_its_source(source: str, begins: str) -> None:
    assert alert(source=source).text.startswith(begins)


def test_hostile_text_stays_on_its_line_and_makes_no_link() -> None:
    ticker = "<b>A\n@everyone {{x}} \x1b[31m" + "x" * 10_000
    [made] = new_best_picks(table([pick(minute(0), ticker, 1, abstain=ticker)]), EARLIER, 0.5, LINKS, WALL)
    assert len(made.text.splitlines()) == 5
    assert made.text.replace("\n", "").isprintable()
    assert "no link: " in made.body
    assert len(made.text) < 1000


def test_the_same_pick_makes_the_same_id() -> None:
    assert alert().id == alert(p_profit=0.9).id == "simulated/2026-11-20T14:30:00Z/NVDA/new_best"


def test_an_alert_that_one_channel_took_is_sent() -> None:
    done = settled(alert(), Delivery(("channel 1 (JSON)",), ("channel 2 (Slack)",)), WALL)
    assert (done.status, done.attempts, done.sent_at) == (Status.SENT, 1, WALL)
    assert done.detail == "accepted by channel 1 (JSON); refused by channel 2 (Slack)"


def test_an_alert_that_no_channel_takes_is_tried_again_and_then_has_failed() -> None:
    tried, statuses = alert(), []
    for _ in range(MOST_ATTEMPTS):
        tried = settled(tried, Delivery((), ("channel 1 (JSON)",)), WALL)
        statuses.append(tried.status)
    assert statuses == [Status.PENDING, Status.PENDING, Status.FAILED]
    assert (tried.attempts, tried.detail, tried.sent_at) == (3, "refused by channel 1 (JSON) at attempt 3", None)


def test_without_a_channel_an_alert_is_suppressed_and_says_what_to_set() -> None:
    done = settled(alert(), Delivery(), WALL)
    assert (done.status, done.attempts) == (Status.SUPPRESSED, 0)
    assert done.detail == "no channel is configured: set STOCKPICK_ALERT_URLS"


def test_an_alert_matters_until_its_forecast_is_over() -> None:
    assert not alert().expired(minute(6))
    assert alert().expired(minute(6) + timedelta(seconds=1))
    done = expire(settled(alert(), Delivery((), ("channel 1 (JSON)",)), WALL), minute(9))
    assert done.status == Status.EXPIRED
    assert done.detail == (
        "0:08:00 after its minute closed, its forecast is over; refused by channel 1 (JSON) at attempt 1"
    )


def test_an_alert_comes_back_from_its_table_as_it_was() -> None:
    kept = [alert(), settled(alert(), Delivery(("channel 1 (JSON)",)), WALL)]
    assert alerts_table(kept).schema == ALERTS.columns
    assert alerts_from(alerts_table(kept)) == kept
