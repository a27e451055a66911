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
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.budget import Limits, Priority, priority
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.core.versions import new_versions
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets_tests.fake_clock import FakeClock
from stockpick_assets_tests.fake_yahoo import Asked, Bar, FakeYahoo, Reply
from stockpick_assets_tests.faults import ALL, FAULTS, UNSEEN, answered

SESSION = session_on(date(2026, 11, 27))
TICKERS = ("AAPL", "AMZN", "COST", "GOOG", "META", "MSFT", "NVDA", "TSLA")
HALTED = TICKERS[0]
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


def kept(stored: pa.Table, answer: pa.Table, market: datetime) -> pa.Table:
    """The newest row of each minute and ticker once an answer was kept as the store keeps it."""
    of_its_minutes = stored.filter(pc.is_in(stored["minute"], answer["minute"]))
    rows = pa.concat_tables([stored, new_versions(answer, of_its_minutes, market, market)]).to_pandas()
    newest = rows.drop_duplicates(list(RAW_PRICES.key), keep="last")
    return pa.Table.from_pandas(newest, RAW_PRICES.columns, preserve_index=False)


def final(rows: pd.DataFrame) -> pd.Series:
    return rows["reason"].map(lambda reason: Reason(reason).final)


def test_a_session_of_random_faults_ends_with_one_final_reason_a_minute_and_every_bar_right() -> None:
    """Live minute by minute, every fault at random, and after the close the one that says of a ticker that it was
    halted; then the faults stop and one sweep asks for the whole session.
    """
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

        def ask(first: datetime, last: datetime, now: datetime, tickers: tuple[str, ...] = TICKERS) -> pa.Table:
            fake.now, clock.now = now, max(clock.now, now.timestamp())
            began = time.monotonic()
            rows = source.bars(SESSION, first, last, tickers, now, now)
            assert time.monotonic() - began < 30
            return rows

        stored = RAW_PRICES.empty()
        for number in range(SESSION.length):
            minute = SESSION.open + number * MINUTE
            names = {ticker: name for ticker in TICKERS if (name := a_fault(random))}
            thrown.update(names.values())
            fake.faults = {ticker: FAULTS[name].fault for ticker, name in names.items()}
            market = minute + MINUTE + DELAY
            rows = ask(minute, minute, market)
            reasons = dict(zip(rows["ticker"].to_pylist(), rows["reason"].to_pylist(), strict=True))
            for ticker in set(TICKERS) - set(names):
                honest = ["present"] if (ticker, minute) in own.index else ["no_trade", "pending"]
                assert reasons[ticker] in [*honest, "rate_limited"]
            stored = kept(stored, rows, market)
        asked_live = len(fake.asked)
        assert thrown == set(VISIBLE)
        assert asked_live <= len(TICKERS) * SESSION.length

        fake.faults = {HALTED: FAULTS["a halt all session long"].fault}
        market = SESSION.close + 2 * BACKFILL_LAG
        stored = kept(stored, ask(SESSION.open, SESSION.last_minute, market, (HALTED,)), market)

        fake.faults = {}
        market = SESSION.close + 4 * BACKFILL_LAG
        swept = kept(stored, ask(SESSION.open, SESSION.last_minute, market), market)
        assert len(fake.asked) == asked_live + 1 + len(TICKERS)
        assert most_in_a_minute(fake.asked, 59) <= limits.a_minute
        assert fake.most_at_once <= limits.in_flight

    before, after = (rows.to_pandas().set_index(["ticker", "minute"]) for rows in (stored, swept))
    for rows in (before, after):
        assert sorted(rows.index) == sorted((ticker, minute) for ticker in TICKERS for minute in SESSION.minutes())
        present = rows[rows["reason"] == "present"]
        differ = present[list(ALL)] != own.loc[present.index]
        differ["volume"] &= present["volume"].notna()
        assert not differ.to_numpy().any()
    assert set(before.loc[~final(before), "reason"]) == {"rate_limited", "provider_error", "pending"}
    with_bar = before.loc[own.index, "reason"]
    assert {"delisted", "lost", "no_trade", "quarantined"} <= set(with_bar)
    assert set(with_bar[HALTED]) == {"present", "halted"}
    assert final(after).all()
    assert set(after.loc[own.index, "reason"]) == {"present"}


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
