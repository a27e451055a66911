"""Which runs a backfill makes, in which order."""

import os
import signal
import threading
from datetime import date, timedelta

import dagster as dg
import pytest

from stockpick_assets.backfill import Step, plan, run
from stockpick_assets.core.market_hours import MINUTE, minute_label, sessions_until
from stockpick_assets.partitions import SelectionError, Window

SESSIONS = tuple(sessions_until(date(2026, 11, 20), 3))
WINDOW = Window(SESSIONS, ("AAPL", "AMD", "MSFT", "NVDA"))
NO_DELAY = timedelta(0)
AFTER_ALL = SESSIONS[-1].close + MINUTE


def said(steps: list[Step]) -> list[str]:
    return [f"{step.job} {step.session.label() if step.session else step.selection}" for step in steps]


def test_each_session_is_learnt_from_and_the_next_gets_its_factors_and_model_before_it_is_begun() -> None:
    assert said(list(plan(WINDOW, SESSIONS[::-1][:2], (), AFTER_ALL, NO_DELAY))) == [
        "backfill 2026-11-19 09:30 to 2026-11-19 15:59 New York × 4 tickers",
        "training_set 2026-11-19",
        "performance 2026-11-19",
        "factors 2026-11-20",
        "return_model 2026-11-20",
        "backfill 2026-11-20 09:30 to 2026-11-20 15:59 New York × 4 tickers",
        "training_set 2026-11-20",
        "performance 2026-11-20",
        "factors 2026-11-23",
        "return_model 2026-11-23",
    ]


def test_after_a_session_that_a_recording_lacks_the_model_is_of_the_next_it_has() -> None:
    gap = Window((SESSIONS[0], SESSIONS[2]), ("AAPL",))
    steps = list(plan(gap, gap.sessions, (), AFTER_ALL, NO_DELAY))
    models = [step.session.label() for step in steps if step.session and step.job == "return_model"]
    assert models == ["2026-11-20", "2026-11-23"]
    assert set(models) <= set(gap.session_partitions.get_partition_keys())


def test_a_session_that_is_still_open_is_done_up_to_its_last_closed_minute_and_not_trained_from() -> None:
    now = SESSIONS[-1].open + timedelta(minutes=10, seconds=30)
    steps = list(plan(WINDOW, SESSIONS[-1:], (), now, NO_DELAY))
    assert [step.job for step in steps] == ["backfill"]
    assert steps[0].selection is not None
    assert minute_label(steps[0].selection.last) == "2026-11-20 09:39"


def test_a_session_that_has_not_begun_is_left_out() -> None:
    assert list(plan(WINDOW, SESSIONS[-1:], (), SESSIONS[-1].open, NO_DELAY)) == []


def test_chosen_tickers_are_run_as_rectangles_and_nothing_is_trained_from_them() -> None:
    steps = list(plan(WINDOW, SESSIONS[:1], ("NVDA", "AAPL", "AMD"), AFTER_ALL, NO_DELAY))
    assert [step.selection.tickers for step in steps if step.selection] == [("AAPL", "AMD"), ("NVDA",)]
    assert {step.job for step in steps} == {"backfill"}


def test_a_ticker_outside_the_universe_is_refused() -> None:
    with pytest.raises(SelectionError, match="unknown ticker TSLA"):
        list(plan(WINDOW, SESSIONS[:1], ("TSLA",), AFTER_ALL, NO_DELAY))


def test_ctrl_c_in_a_run_ends_the_backfill_and_is_no_failure_of_the_run() -> None:
    @dg.asset
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(60)

    job = dg.define_asset_job("job", [interrupted], executor_def=dg.in_process_executor)
    definitions = dg.Definitions(assets=[interrupted], jobs=[job])
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(KeyboardInterrupt):
        run(definitions, instance, Step("job", "one", ("interrupted",)), lambda _: None)
