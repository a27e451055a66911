"""What an alert says, and that text from outside stays text in it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from stockpick_assets.core.alert_texts import alert_text, outside
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.observations import FailedRun, of_bars, of_picks, of_reaching, of_run, of_silence
from stockpick_assets.core.quality import AnswerMatrix
from stockpick_assets.core.rules import RULES, Observation
from stockpick_assets_tests.core.test_observations import SIX, bars
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import SESSION

HOSTILE = "<b>A\n@everyone {{x}} {0} %s \x1b[31m [a](http://b) " + "x" * 10_000
BY_NAME = {rule.name: rule for rule in RULES}
RUN_ID = "1a2b3c4d-0000-4000-8000-000000000000"


def said(seen: Observation, source: str = "simulated") -> list[str]:
    links = Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", source)
    return alert_text(BY_NAME[seen.rule], seen, links).splitlines()


def of_pick(rule: str, ticker: str = "NVDA", **values: Any) -> Observation:
    rows = [pick(minute(0), "AAPL", 1), pick(minute(1), ticker, 1, **values), pick(minute(1), "TSLA", 2)]
    return next(one for one in of_picks(table(rows), minute(0)) if one.rule == rule and one.about in (ticker, "all"))


def test_a_new_best_pick_says_what_why_where_and_that_the_market_is_simulated() -> None:
    assert said(of_pick("new_best")) == [
        "SIMULATED: NVDA is the new best pick of 2026-11-20 09:31 New York",
        "probability of profit 59.0%; expected obtainable return +0.60 bp before cost; "
        "expected excess return +2.00 bp; price 101.25; today +1.23 %; last 5 minutes -0.04 %.",
        "Ranked first of 2 tickers, where AAPL was before. Alerts begin at 52.0%, and again after 51.0%.",
        "http://127.0.0.1:8501/ticker?ticker=NVDA&minute=2026-11-20T09%3A31",
    ]


def test_a_pick_that_abstains_says_so_in_a_line_of_its_own() -> None:
    assert said(of_pick("new_best", abstain="no edge after cost"))[1] == "Not to be relied on: no edge after cost."


@pytest.mark.parametrize(("source", "begins"), [("recorded", "RECORDED: NVDA"), ("yahoo", "NVDA")])
def test_only_an_alert_of_the_market_itself_goes_without_its_source(source: str, begins: str) -> None:
    assert said(of_pick("new_best"), source)[0].startswith(begins)


def test_a_likely_pick_and_a_move_have_their_number_in_the_title() -> None:
    likely = said(of_pick("likely"))
    assert likely[0] == "SIMULATED: NVDA has a probability of profit of 59.0% at 2026-11-20 09:31 New York"
    moved = said(of_pick("move", change_5m=-0.0321))
    assert moved[0] == "SIMULATED: NVDA moved -3.21 % in the five minutes to 2026-11-20 09:31 New York"
    assert "Alerts begin at 3.0%, and again after 2.0%." in moved


def test_a_model_that_abstains_says_of_how_many_tickers_and_why() -> None:
    assert said(of_pick("abstain", abstain="no skill")) == [
        "SIMULATED: The model abstains: 1 of 2 picks of 2026-11-20 09:31 New York",
        "1 tickers: no skill.",
        "The picks go out all the same, with the mark. Alerts begin at 100.0%, and again after 50.0%.",
        "http://127.0.0.1:8501/",
    ]


def test_poor_quality_says_which_tickers_are_without_a_bar_and_why() -> None:
    [seen] = of_bars(AnswerMatrix.of(bars(0, dict.fromkeys(SIX[:5], "rate_limited")), SIX, [minute(0)]))
    assert said(seen) == [
        "SIMULATED: 0 of 6 listed tickers have a bar of 2026-11-20 09:30 New York",
        "Without: AAPL, AMD, AMZN, COST, NVDA, TSLA (5 rate_limited, 1 unanswered).",
        "Below 80.0% is an alert. `stockpick quality` shows the session.",
        "http://127.0.0.1:3000/assets/simulated/raw_prices?view=checks",
    ]


def test_silence_says_what_is_to_be_sent_next_and_where_to_look() -> None:
    lines = said(of_silence(minute(1), SESSION.open, minute(5), 1.0))
    assert lines[0] == "SIMULATED: No message has been published for 4 market minutes"
    assert lines[1].startswith("The next minute to be sent is 2026-11-20 09:31; it is 2026-11-20 09:35 in New York")


@pytest.mark.parametrize(
    ("rule", "title"),
    [
        ("broker", "SIMULATED: Kafka has not been reached for 42 s"),
        ("store", "SIMULATED: The tables have not been read or written for 42 s"),
    ],
)
def test_what_is_away_says_since_when_and_what_it_answered(rule: str, title: str) -> None:
    lines = said(of_reaching(rule, timedelta(seconds=42), minute(3), minute(2), "did not answer"))
    assert lines[:2] == [title, "did not answer."]


def run(error: str = "ValueError: no rows", step: str | None = "simulated__features", job: str = "live") -> Observation:
    return of_run(FailedRun(RUN_ID, job, step, error, minute(3)))


def test_a_failed_run_says_the_step_and_the_error_and_links_to_the_run() -> None:
    assert said(run()) == [
        "SIMULATED: Run 1a2b3c4d of live failed",
        "Step simulated__features: ValueError: no rows",
        "Another failure of this job is an alert after 10 minutes.",
        f"http://127.0.0.1:3000/runs/{RUN_ID}",
    ]


@pytest.mark.parametrize("login", ["user:hunter2", "user:hunter@2", "token"])
def test_the_login_of_an_address_is_left_out(login: str) -> None:
    assert outside(f"GET https://{login}@host/x?y=a@b") == "GET https://host/x?y=a(at)b"


def hostile(at: datetime) -> list[Observation]:
    """An observation of each rule that outside text can reach, with hostile text."""
    return [
        of_pick("new_best", HOSTILE, abstain=HOSTILE),
        of_pick("likely", HOSTILE, abstain=HOSTILE),
        of_pick("move", HOSTILE, abstain=HOSTILE),
        of_pick("abstain", HOSTILE, abstain=HOSTILE),
        *of_bars(AnswerMatrix.of(bars(0, {}), (HOSTILE, *SIX), [at])),
        of_reaching("broker", timedelta(seconds=42), at + MINUTE, at, HOSTILE),
        of_reaching("store", timedelta(seconds=42), at + MINUTE, at, HOSTILE),
        run(HOSTILE, HOSTILE, HOSTILE),
    ]


@pytest.mark.parametrize("seen", hostile(minute(0)), ids=lambda seen: seen.rule)
def test_hostile_text_stays_on_its_line_and_calls_nobody(seen: Observation) -> None:
    lines = said(seen)
    assert 4 <= len(lines) <= 5
    assert len(lines[0]) <= 160
    assert len("\n".join(lines)) < 1200
    assert "".join(lines).isprintable()
    assert "@" not in "".join(lines)
