"""What picks, bars and the platform are to the rules."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.observations import FailedRun, of_bars, of_picks, of_reaching, of_run, of_silence
from stockpick_assets.core.quality import AnswerMatrix
from stockpick_assets.core.rules import RULES, Observation, judge
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import SESSION

EARLIER = SESSION.open - MINUTE
SIX = ("AAPL", "AMD", "AMZN", "COST", "NVDA", "TSLA")


def ranked(index: int, *tickers: str, **values: Any) -> list[dict[str, Any]]:
    return [pick(minute(index), ticker, place, **values) for place, ticker in enumerate(tickers, 1)]


def observed(rows: list[dict[str, Any]], rule: str, after: datetime = EARLIER) -> list[Observation]:
    return [one for one in of_picks(table(rows), after) if one.rule == rule]


def new_best(rows: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The minute and ticker of each alert of that rule."""
    judged, _ = judge(RULES, observed(rows, "new_best"), {})
    return [
        (int((one.observation.minute - SESSION.open) / MINUTE), one.observation.about)
        for one in judged
        if one.suppressed is None
    ]


def bars(index: int, reasons: Mapping[str, str]) -> pa.Table:
    rows = [{"minute": minute(index), "ticker": ticker, "reason": reason} for ticker, reason in reasons.items()]
    return pa.Table.from_pylist(rows, schema=RAW_PRICES.columns).select(["minute", "ticker", "reason"])


def test_the_best_pick_is_news_once_for_as_long_as_it_stays_among_the_first_five() -> None:
    others = ("AMD", "AMZN", "COST", "TSLA")
    rows = ranked(0, "NVDA", *others) + ranked(1, "NVDA", *others) + ranked(2, *others, "NVDA")
    assert new_best([*rows, *ranked(30, "NVDA", *others)]) == [(0, "NVDA"), (2, "AMD")]


def test_a_best_pick_that_left_the_first_five_is_news_when_it_is_the_best_again() -> None:
    rows = ranked(0, "NVDA", *SIX[:4]) + ranked(1, *SIX[:4], "TSLA", "NVDA") + ranked(30, "NVDA", *SIX[:4])
    assert (30, "NVDA") in new_best(rows)


def test_a_best_pick_without_a_probability_is_none() -> None:
    assert new_best(ranked(0, "NVDA", p_profit=None)) == []


def test_minutes_that_were_observed_before_only_say_who_was_the_best() -> None:
    rows = ranked(0, "AAPL", "NVDA") + ranked(1, "NVDA", "AAPL")
    assert [(one.minute, one.facts["before"]) for one in observed(rows, "new_best", after=minute(0))] == [
        (minute(1), "AAPL")
    ] * 2


def test_a_move_counts_down_as_well_as_up() -> None:
    assert [one.value for one in observed(ranked(0, "NVDA", change_5m=-0.04), "move")] == [0.04]


def test_the_model_abstains_by_the_share_of_picks_with_a_reason() -> None:
    [one] = observed([*ranked(0, "NVDA"), pick(minute(0), "TSLA")], "abstain")
    assert (one.value, one.about, one.facts["reasons"]) == (0.5, "all", [("no bar at this minute", 1)])


def test_quality_is_the_share_of_the_listed_tickers_that_have_a_bar() -> None:
    reasons = {"AAPL": "present", "AMD": "rate_limited", "AMZN": "rate_limited", "COST": "pending", "TSLA": "halted"}
    [one] = of_bars(AnswerMatrix.of(bars(0, reasons), SIX, [minute(0)]))
    assert one.value == pytest.approx(0.2)
    assert one.facts["without"] == ["AMD", "AMZN", "COST", "NVDA"]
    assert one.facts["reasons"] == [("rate_limited", 2), ("pending", 1), ("unanswered", 1)]


def test_one_or_two_tickers_without_a_bar_are_nothing_however_few_there_are() -> None:
    [one] = of_bars(AnswerMatrix.of(bars(0, {"AAPL": "present"}), ("AAPL", "AMD", "NVDA"), [minute(0)]))
    assert one.value == 1.0


def quiet(sent: datetime | None, now: datetime, since: datetime = SESSION.open, speed: float = 1.0) -> float:
    value = of_silence(sent, since, now, speed).value
    assert value is not None
    return value


def test_silence_is_counted_from_the_next_minute_to_be_sent() -> None:
    assert quiet(minute(10), minute(14)) == 4
    assert of_silence(minute(10), SESSION.open, minute(14), 1.0).minute == minute(10)


def test_silence_begins_no_earlier_than_the_open_or_the_watch() -> None:
    assert quiet(minute(-500), minute(3)) == 3
    assert quiet(None, minute(3)) == 3
    assert quiet(minute(0), minute(60), since=minute(59)) == 1


def test_after_the_close_nothing_is_silent() -> None:
    assert quiet(minute(10), SESSION.close) == 0


def test_a_position_of_another_replay_says_nothing() -> None:
    assert quiet(minute(300), minute(4)) == 4


def test_a_fast_clock_is_silent_by_the_minutes_of_the_wall() -> None:
    assert quiet(minute(0), minute(20), speed=10) == 2


def test_what_is_away_is_named_by_the_minute_in_which_it_went() -> None:
    one = of_reaching("broker", timedelta(seconds=42), minute(3), minute(2) + timedelta(seconds=18), "no answer")
    assert (one.minute, one.value, one.facts["why"]) == (minute(2), 42.0, "no answer")


def test_a_failed_run_is_about_its_job_and_told_from_others_by_its_id() -> None:
    run = FailedRun("1a2b3c4d-0000-4000-8000-000000000000", "live", "features", "boom", minute(0))
    assert (of_run(run).about, of_run(run).event) == ("live", "1a2b3c4d")
