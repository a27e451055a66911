"""A session of random faults, and two processes at one Yahoo: what holds whatever it does, by the server's own log."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.budget import Limits, Priority, priority
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets_tests.fake_clock import FakeClock
from stockpick_assets_tests.fake_yahoo import Asked, Bar, FakeYahoo, Reply
from stockpick_assets_tests.faults import ALL, FAULTS, UNSEEN, answered

SESSION = session_on(date(2026, 11, 27))
TICKERS = ("AAPL", "AMZN", "COST", "GOOG", "META", "MSFT", "NVDA", "TSLA")
DELAY = timedelta(seconds=2)
SEED = 3
# One answer in two is a fault; one in three hundred is said to everybody, and costs the minutes until all is recovered,
# and one in three hundred costs its time-out.
FAULTY, RARE = 0.5, 1 / 300
# How often a minute has no trade, as 62 % of ticker-sessions are complete and the others lack up to half.
NO_TRADE = 0.05

SLOW = {"hang", "drip"}
VISIBLE = {name: fault for name, fault in FAULTS.items() if name not in UNSEEN}
REFUSALS = [name for name, fault in VISIBLE.items() if fault.refuses]
OTHERS = [name for name, fault in VISIBLE.items() if name not in SLOW and not fault.refuses]


def true_bars(random: np.random.Generator) -> dict[datetime, Bar]:
    """A walk through the session, in which some minutes have no trade, though not its first and last."""
    minutes = [SESSION.open + number * MINUTE for number in range(SESSION.length)]
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.0005, SESSION.length)))
    opens = np.append(100.0, closes[:-1])
    highs = np.maximum(opens, closes) * 1.0002
    lows = np.minimum(opens, closes) * 0.9998
    volumes = np.floor(random.uniform(100, 10_000, SESSION.length))
    traded = random.random(SESSION.length) >= NO_TRADE
    traded[[0, -1]] = True
    columns = np.round(np.stack([opens, highs, lows, closes, volumes]), 2).T
    return {minute: tuple(bar.tolist()) for minute, bar, has in zip(minutes, columns, traded, strict=True) if has}


def a_fault(random: np.random.Generator) -> str | None:
    """The name of the fault of one ticker in one minute; None for an honest answer."""
    drawn, place = random.random(), random.random()
    for names, likely in ((REFUSALS, RARE), (sorted(SLOW), RARE), (OTHERS, FAULTY)):
        if drawn < likely:
            return names[int(place * len(names))]
        drawn -= likely
    return None


def most_in_a_minute(asked: list[Asked], seconds: float = 60.0) -> int:
    """The most requests that arrived in any stretch of so many seconds."""
    times = np.sort([request.at for request in asked])
    return int(np.max(np.arange(1, len(times) + 1) - np.searchsorted(times, times - seconds, side="right")))


def test_a_session_of_random_faults_ends_with_one_reason_a_minute_and_no_wrong_bar() -> None:
    """Live minute by minute, every fault at random; then the faults stop and what is not final is asked for again."""
    random = np.random.default_rng(SEED)
    clock = FakeClock(SESSION.open.timestamp())
    limits = Limits(a_minute=12, in_flight=4, live=len(TICKERS), timeout=2.0)
    thrown: set[str] = set()
    with FakeYahoo(SESSION, SESSION.open, wall=clock) as fake:
        fake.bars = {ticker: true_bars(random) for ticker in TICKERS}
        own = pd.concat(
            {
                ticker: pd.DataFrame.from_dict(bars, orient="index", columns=list(ALL))
                for ticker, bars in fake.bars.items()
            },
            names=["ticker", "minute"],
        )
        source = YahooMarketData(fake.url, TICKERS, YahooBudget(":memory:", limits, SEED, clock, clock.sleep))

        def ask(first: datetime, last: datetime, now: datetime) -> pd.DataFrame:
            fake.now, clock.now = now, max(clock.now, now.timestamp())
            began = time.monotonic()
            rows = source.bars(SESSION, first, last, TICKERS, now, now).to_pandas()
            assert time.monotonic() - began < 30
            return rows.set_index(["ticker", "minute"])

        answers: list[pd.DataFrame] = []
        for number in range(SESSION.length):
            minute = SESSION.open + number * MINUTE
            names = {ticker: name for ticker in TICKERS if (name := a_fault(random))}
            thrown.update(names.values())
            fake.faults = {ticker: FAULTS[name].fault for ticker, name in names.items()}
            rows = ask(minute, minute, minute + MINUTE + DELAY)
            for ticker in set(TICKERS) - set(names):
                reason = rows["reason"].loc[(ticker, minute)]
                honest = ["present"] if (ticker, minute) in own.index else ["no_trade", "pending"]
                assert reason in [*honest, "rate_limited"]
            answers.append(rows)
        live = pd.concat(answers)
        asked_live = len(fake.asked)
        assert thrown == set(VISIBLE)
        assert most_in_a_minute(fake.asked, 59) <= limits.a_minute
        assert asked_live <= len(TICKERS) * SESSION.length

        fake.faults = {}
        again = ask(SESSION.open, SESSION.last_minute, SESSION.close + 4 * BACKFILL_LAG)
        assert len(fake.asked) == asked_live + len(TICKERS)
        assert fake.most_at_once <= limits.in_flight

    final = live["reason"].map(lambda reason: Reason(reason).final)
    kept = pd.concat([live[final], again.loc[live[~final].index]])
    assert kept.index.is_unique
    assert len(kept) == len(TICKERS) * SESSION.length
    assert set(live.loc[~final, "reason"]) == {"rate_limited", "provider_error", "pending"}
    assert kept["reason"].map(lambda reason: Reason(reason).final).all()
    present = kept[kept["reason"] == "present"]
    differ = present[list(ALL)] != own.loc[present.index]
    differ["volume"] &= present["volume"].notna()
    assert not differ.to_numpy().any()
    fetched_again = again.loc[live[~final].index]
    assert (fetched_again["reason"] == "present").sum() == fetched_again.index.isin(own.index).sum()


SPEED = 20.0
SHARED = Limits(a_minute=30, in_flight=3, live=8, timeout=40.0)
NOW = SESSION.open + 10 * MINUTE + DELAY


def at_speed(began: float) -> Callable[[], float]:
    """A clock that all processes read alike, and that runs SPEED times as fast as the wall's since then."""
    return lambda: NOW.timestamp() + SPEED * (time.time() - began)


def ask_for_ever(url: str, file: str, began: float) -> None:
    """One of several processes that ask for live minutes without a pause."""
    budget = YahooBudget(Path(file), SHARED, SEED, at_speed(began), lambda seconds: time.sleep(seconds / SPEED))
    source = YahooMarketData(url, TICKERS, budget)
    minute = SESSION.open + 9 * MINUTE
    assert priority(SESSION, minute, NOW) is Priority.LIVE
    while True:
        source.bars(SESSION, minute, minute, TICKERS, NOW, NOW)


@pytest.fixture
def two_processes(tmp_path: Path) -> Iterator[FakeYahoo]:
    """A Yahoo that two processes ask, each as often as their one budget lets it."""
    began = time.time()
    with FakeYahoo(SESSION, NOW, latency=0.1, wall=at_speed(began)) as fake:
        for ticker in TICKERS:
            fake.bars[ticker] = {SESSION.open + offset * MINUTE: (9.0, 9.0, 9.0, 9.0, 1.0) for offset in range(11)}
        script = (
            "import sys; from stockpick_assets_tests.resources.test_yahoo_chaos import ask_for_ever;"
            "ask_for_ever(sys.argv[1], sys.argv[2], float(sys.argv[3]))"
        )
        command = [sys.executable, "-c", script, fake.url, str(tmp_path / "budget.sqlite"), str(began)]
        asking = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
        yield fake
        for process in asking:
            assert process.poll() is None
            process.kill()
            process.wait()


def until(happened: Callable[[], bool]) -> None:
    """Wait for a condition; pytest ends a test that waits in vain."""
    while not happened():
        time.sleep(0.01)


def test_two_processes_keep_one_rate_and_one_limit_and_send_one_probe_after_a_refusal(two_processes: FakeYahoo) -> None:
    fake = two_processes
    until(lambda: len(fake.asked) >= 2.5 * SHARED.a_minute)
    # A request may arrive half a second of the wall's clock, ten of this one, later than another that left with it.
    assert most_in_a_minute(fake.asked, 50) <= SHARED.a_minute
    assert fake.most_at_once == SHARED.in_flight

    refused = Event()

    def refuse(_: dict[str, Any]) -> Reply:
        refused.set()
        return Reply(b"", 429, {"Retry-After": "90"})

    def slow(body: dict[str, Any]) -> Reply:
        fake.released.wait(0.5)
        return answered(body)

    fake.faults = dict.fromkeys(TICKERS, refuse)
    until(refused.is_set)
    fake.faults = dict.fromkeys(TICKERS, slow)
    before = len(fake.asked)
    until(lambda: len(fake.asked) >= before + SHARED.in_flight + 3)
    times = [request.at for request in fake.asked[before - 1 :]]
    pauses = np.diff(times)
    probe = int(np.argmax(pauses)) + 1
    assert pauses[probe - 1] > 80
    assert pauses[probe] > 0.5 * SPEED
