"""The account of requests to Yahoo as processes share it, how long a call waits, and what is said of a refusal."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from stockpick_assets.core.budget import Limits, Priority
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.resources.sources import market_data, yahoo_limits
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import BudgetUnusable, NoPlace, YahooBudget
from stockpick_assets.settings import Settings
from stockpick_assets_tests.fake_clock import FakeClock
from stockpick_assets_tests.fake_yahoo import FakeYahoo, Reply
from stockpick_assets_tests.rows import SESSION

LIMITS = Limits(a_minute=150, in_flight=2, live=101, timeout=10.0)
NOW = SESSION.open + 10 * MINUTE + timedelta(seconds=2)
TICKERS = tuple(f"T{number:03}" for number in range(20))


@pytest.fixture
def clock() -> FakeClock:
    """Ten minutes into a session."""
    return FakeClock(NOW.timestamp())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the account is kept: a folder that is made when it is needed."""
    return tmp_path / "home" / "budget.sqlite"


@pytest.fixture
def fake() -> Iterator[FakeYahoo]:
    """Yahoo ten minutes into a session."""
    with FakeYahoo(SESSION, NOW) as server:
        for ticker in TICKERS:
            server.bars[ticker] = {
                SESSION.open + offset * MINUTE: (100.0, 101.0, 99.0, 100.0, 50.0) for offset in range(11)
            }
        yield server


def budget(file: Path, clock: FakeClock, limits: Limits = LIMITS) -> YahooBudget:
    return YahooBudget(file, limits, 7, clock, clock.sleep)


def use(account: YahooBudget, status: int = 200, retry_after: str | None = None) -> None:
    with account.place(Priority.LIVE, account.wait_until(Priority.LIVE)) as place:
        place.answer(status, retry_after)


def live(fake: FakeYahoo, account: YahooBudget, at: datetime = NOW) -> list[tuple[str, str | None]]:
    """Reason and detail by ticker of the session's tenth minute."""
    minute = SESSION.open + 9 * MINUTE
    rows = YahooMarketData(fake.url, TICKERS, account).bars(SESSION, minute, minute, TICKERS, at, at)
    return list(zip(rows["reason"].to_pylist(), rows["detail"].to_pylist(), strict=True))


def test_what_one_process_sends_another_counts(file: Path, clock: FakeClock) -> None:
    one, other = budget(file, clock), budget(file, clock)
    for _ in range(75):
        use(one)
        use(other)
    clock.sleep(50)
    began = clock.now
    use(one)
    assert clock.now - began == pytest.approx(10)


def test_a_place_that_another_process_holds_is_waited_for_until_it_is_free_or_its_process_is_dead(
    file: Path, clock: FakeClock
) -> None:
    script = (
        "import sys; from stockpick_assets_tests.resources.test_yahoo_budget import *;"
        "clock = FakeClock(NOW.timestamp());"
        "held = budget(Path(sys.argv[1]), clock).place(Priority.LIVE, clock.now + 1); held.__enter__();"
        "import os; os._exit(9)"
    )
    limits = replace(LIMITS, in_flight=1)
    assert subprocess.run([sys.executable, "-c", script, str(file)], timeout=120).returncode == 9
    began = clock.now
    use(budget(file, clock, limits))
    assert clock.now - began == pytest.approx(10, abs=0.2)


def test_no_call_waits_longer_than_its_priority_allows(file: Path, clock: FakeClock) -> None:
    account = budget(file, clock, replace(LIMITS, in_flight=1, timeout=1000.0))
    with account.place(Priority.LIVE, account.wait_until(Priority.LIVE)):
        for priority, bound in ((Priority.LIVE, 30), (Priority.REST, 300)):
            began = clock.now
            with (
                pytest.raises(NoPlace, match=f"no place within {bound} s among 150 requests a minute, 1 at a time"),
                account.place(priority, account.wait_until(priority)),
            ):
                pass
            assert bound - 1 <= clock.now - began <= bound


def test_who_comes_when_the_time_of_its_call_is_over_is_not_let_through(file: Path, clock: FakeClock) -> None:
    """A server that hangs takes every place for its time-out; the tickers at the end of the call find one too late."""
    account = budget(file, clock)
    until = account.wait_until(Priority.LIVE)
    clock.sleep(30)
    with pytest.raises(NoPlace, match="within 30 s"), account.place(Priority.LIVE, until):
        pass


def test_a_place_that_cannot_be_had_in_time_is_not_waited_for(file: Path, clock: FakeClock) -> None:
    account = budget(file, clock)
    for _ in range(150):
        use(account)
    began = clock.now
    with pytest.raises(NoPlace, match="within 30 s"):
        use(account)
    assert clock.now == began


def test_threads_of_one_process_share_the_account(file: Path, clock: FakeClock) -> None:
    account = budget(file, clock, replace(LIMITS, in_flight=1000))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: use(account), range(150)))
    with pytest.raises(NoPlace):
        use(account)


def test_a_refusal_to_one_process_stops_all_until_one_request_is_answered(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, other = budget(file, clock), budget(file, clock)
    use(one, 429, "120")
    for account in (one, other):
        with pytest.raises(NoPlace, match=r"refused at 2026-11-20 09:40:02, asked again from 2026-11-20 09:42:02"):
            use(account)
    clock.sleep(121)
    use(other)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "Yahoo refused at 2026-11-20 09:40:02, asked again from 2026-11-20 09:42:02 New York",
        "Yahoo answers again",
    ]


@pytest.mark.parametrize(("retry_after", "pause"), [("120", 120), (None, 0), ("soon", 0)])
@pytest.mark.parametrize("status", [500, 503])
def test_an_error_of_yahoos_own_stops_everybody_only_where_it_says_when_to_ask_again(
    file: Path, clock: FakeClock, status: int, retry_after: str | None, pause: float
) -> None:
    one, other = budget(file, clock), budget(file, clock)
    use(one, status, retry_after)
    if pause:
        clock.sleep(pause - 1)
        with pytest.raises(NoPlace, match="asked again from 2026-11-20 09:42:02"):
            use(other)
        clock.sleep(1)
    use(other)


@pytest.mark.parametrize(("status", "ends"), [(200, True), (404, True), (422, True), (401, False), (503, False)])
def test_only_an_answer_to_the_question_ends_a_pause(file: Path, clock: FakeClock, status: int, ends: bool) -> None:
    account = budget(file, clock)
    use(account, 429, "1")
    clock.sleep(2)
    use(account, status)
    with account.place(Priority.LIVE, account.wait_until(Priority.LIVE)):
        began = clock.now
        use(account)
        assert (clock.now == began) is ends


def test_a_budget_that_cannot_be_kept_is_an_error_that_names_the_file(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "damaged.sqlite").write_bytes(b"no account" * 1000)
    (tmp_path / "a file").touch()
    for path in (tmp_path / "damaged.sqlite", tmp_path / "a file" / "budget.sqlite"):
        with pytest.raises(BudgetUnusable, match=rf"{path.name} cannot be used: .*No request was sent"):
            use(budget(path, clock))


@pytest.mark.parametrize("held", ["", "[]", '{"x": 1}', None])
def test_a_file_that_holds_no_account_is_an_error_that_names_it(file: Path, clock: FakeClock, held: str | None) -> None:
    use(budget(file, clock))
    with sqlite3.connect(file) as changed:
        changed.execute("UPDATE budget SET account = ?", (held,) if held is not None else ("null",))
    with pytest.raises(BudgetUnusable, match="it holds no account"):
        use(budget(file, clock))


def test_a_file_that_was_removed_is_made_anew_by_the_next_call(file: Path, clock: FakeClock) -> None:
    account = budget(file, clock)
    use(account)
    file.unlink()
    with suppress(BudgetUnusable):
        use(account)
    use(account)
    assert file.exists()


def test_with_an_open_breaker_nothing_is_sent_every_ticker_has_its_reason_and_the_log_one_line(
    fake: FakeYahoo, file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    account = budget(file, clock)
    use(account, 429, "60")
    caplog.clear()
    said = "Yahoo refused at 2026-11-20 09:40:02, asked again from 2026-11-20 09:41:02 New York"
    assert live(fake, account) == [("rate_limited", said)] * len(TICKERS)
    assert fake.asked == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"yahoo gave no bar of {', '.join(TICKERS)} from 2026-11-20 09:39 to 2026-11-20 09:39 New York: "
        f"rate_limited, {said}; asking again may help"
    )


@pytest.mark.parametrize("dated", [False, True], ids=["seconds", "date"])
def test_the_first_429_of_a_minute_holds_back_the_tickers_after_it_for_as_long_as_yahoo_asks(
    fake: FakeYahoo, file: Path, clock: FakeClock, dated: bool
) -> None:
    until = NOW + timedelta(seconds=120)
    header = format_datetime(until, usegmt=True) if dated else "120"
    for ticker in TICKERS:
        fake.faults[ticker] = lambda _: Reply(b"slow down", 429, {"Retry-After": header})
    assert {reason for reason, _ in live(fake, budget(file, clock))} == {"rate_limited"}
    assert 1 <= len(fake.asked) <= LIMITS.in_flight
    clock.now = until.timestamp() - 1
    assert {reason for reason, _ in live(fake, budget(file, clock))} == {"rate_limited"}
    assert len(fake.asked) <= LIMITS.in_flight
    fake.faults.clear()
    fake.asked.clear()
    clock.now = until.timestamp()
    answers = live(fake, budget(file, clock))
    assert [reason for reason, _ in answers].count("present") == len(fake.asked) == 5
    assert {detail for reason, detail in answers if reason != "present"} == {
        "not its turn: Yahoo refused at 2026-11-20 09:40:02 New York, and 25% of the tickers are asked each time"
    }


def test_history_has_its_turn_within_the_bound_or_is_told_that_there_is_no_place(
    fake: FakeYahoo, file: Path, clock: FakeClock
) -> None:
    """At two requests a minute beside the live ones, five minutes are ten tickers of twenty."""
    account = budget(file, clock, replace(LIMITS, a_minute=103))
    first = SESSION.open
    later = SESSION.open + timedelta(days=1)
    rows = YahooMarketData(fake.url, TICKERS, account).bars(SESSION, first, first, TICKERS, later, later)
    assert rows["reason"].to_pylist().count("present") == len(fake.asked) == 10
    refused = [detail for detail in rows["detail"].to_pylist() if detail]
    assert set(refused) == {"no place within 300 s among 103 requests a minute, 2 at a time"}
    assert clock.now - NOW.timestamp() <= 300


@pytest.mark.parametrize(("tickers", "live"), [("", len(NASDAQ_100) + 1), ("AAPL,MSFT", 3)])
@pytest.mark.parametrize("degraded", [False, True])
def test_as_the_settings_have_it_history_gets_a_place_while_a_session_is_open(
    file: Path, clock: FakeClock, tickers: str, live: int, degraded: bool
) -> None:
    settings = Settings.load(source="yahoo", tickers=tickers, extra_tickers="SPY")
    limits = yahoo_limits(settings)
    assert limits == Limits(settings.yahoo_requests_a_minute, settings.yahoo_in_flight, live, 10.0)
    account = budget(file, clock, limits)
    if degraded:
        use(account, 429, "60")
        clock.sleep(60)
        use(account)
    for _ in range(5):
        with account.place(Priority.REST, clock.now + 10):
            pass


def test_every_process_of_a_home_counts_in_the_same_file_unless_told_another(fake: FakeYahoo, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for file in (None, other):
        settings = Settings.load(home=home, source="yahoo", tickers="T001", yahoo_url=fake.url, yahoo_budget=file)
        for _ in range(2):
            market_data(settings).bars(SESSION, SESSION.open, SESSION.open, ("T001",), NOW, NOW)
    for file in (home / "yahoo_budget.sqlite", other):
        with sqlite3.connect(file) as account:
            counted = account.execute("SELECT json_array_length(account, '$.sent') FROM budget").fetchone()
        assert counted == (2,)
