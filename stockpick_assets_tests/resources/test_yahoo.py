"""Yahoo, through yfinance itself, against a local server: what is stored and why, for honest answers and faults."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.budget import Limits
from stockpick_assets.core.market_hours import MINUTE, new_york_date, session_on, sessions_between
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.market_data import SourceUnreachable
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets_tests.fake_clock import FakeClock
from stockpick_assets_tests.fake_yahoo import Bar, FakeYahoo, Reply, chart
from stockpick_assets_tests.faults import (
    ALL,
    ALL_PRICES,
    COUNT,
    FAILED,
    FAULTS,
    PRESENT,
    REFUSED,
    UNEXPLAINED,
    UNSEEN,
    answered,
    described,
    failed,
)

SESSION = session_on(date(2026, 11, 20))
OPEN = SESSION.open
TICKERS = ("AAPL", "MSFT", "NVDA")
NOW = OPEN + COUNT * MINUTE + timedelta(seconds=2)
LAST = OPEN + (COUNT - 1) * MINUTE


def bar(offset: int) -> Bar:
    return (100.0 + offset, 101.0 + offset, 99.0 + offset, 100.5 + offset, 1000.0)


@pytest.fixture
def fake() -> Iterator[FakeYahoo]:
    """Yahoo ten minutes into a session, the eleventh bar forming."""
    with FakeYahoo(SESSION, NOW) as server:
        for ticker in TICKERS:
            server.bars[ticker] = {OPEN + offset * MINUTE: bar(offset) for offset in range(COUNT + 1)}
        yield server


def yahoo(fake: FakeYahoo, tickers: tuple[str, ...], in_flight: int = 2, timeout: float = 10) -> YahooMarketData:
    """Yahoo with a budget of its own, in which there is room, and whose time passes only when it waits."""
    clock = FakeClock(NOW.timestamp())
    limits = Limits(a_minute=1000, in_flight=in_flight, live=len(tickers), timeout=timeout)
    return YahooMarketData(fake.url, tickers, YahooBudget(":memory:", limits, 7, clock, clock.sleep))


def ask(
    fake: FakeYahoo,
    first: datetime = OPEN,
    last: datetime = LAST,
    now: datetime = NOW,
    tickers: tuple[str, ...] = TICKERS,
    in_flight: int = 2,
    timeout: float = 10,
) -> pd.DataFrame:
    source = yahoo(fake, tickers, in_flight, timeout)
    session = session_on(new_york_date(first))
    return source.bars(session, first, last, tickers, now, now).to_pandas()


def reasons(rows: pd.DataFrame, ticker: str = "AAPL") -> tuple[str, ...]:
    return tuple(rows.loc[rows["ticker"] == ticker, "reason"])


def differing(rows: pd.DataFrame) -> pd.Series:
    """Which rows are present and not the server's bar; a volume may be withheld."""
    own = pd.DataFrame([bar(round((minute - OPEN) / MINUTE)) for minute in rows["minute"]], columns=list(ALL))
    differ = rows[list(ALL)] != own
    differ["volume"] &= rows["volume"].notna()
    return (rows["reason"] == "present") & differ.any(axis=1)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_the_reason_of_its_ticker_and_costs_no_other_its_minute(
    fake: FakeYahoo, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A 429 apart, which is said to the whole of stockpick: what is asked for after it is not asked."""
    caplog.set_level(logging.INFO)
    expected = FAULTS[name]
    fake.faults["AAPL"] = expected.fault
    source = yahoo(fake, TICKERS, timeout=0.5)
    calls = (TICKERS[:1], TICKERS[1:]) if expected.refuses else (TICKERS,)
    rows = pd.concat(
        [source.bars(SESSION, OPEN, LAST, tickers, NOW, NOW).to_pandas() for tickers in calls], ignore_index=True
    )
    assert reasons(rows) == expected.reasons
    assert expected.detail in " ".join(rows.loc[rows["ticker"] == "AAPL", "detail"].dropna())
    assert reasons(rows, "MSFT") == reasons(rows, "NVDA") == (REFUSED if expected.refuses else PRESENT)
    asked = TICKERS[:1] if expected.refuses else TICKERS
    assert sorted(asked.path for asked in fake.asked) == [f"/v8/finance/chart/{ticker}" for ticker in asked]
    wrong = set(rows.loc[differing(rows), "ticker"])
    assert wrong == ({"AAPL"} if name in UNSEEN else set())

    said = {record.getMessage(): record.levelname for record in caplog.records if "of AAPL from" in record.getMessage()}
    if expected.fails:
        (line,) = said
        assert line.startswith("yahoo gave no bar of AAPL from 2026-11-20 09:30 to 2026-11-20 09:39 New York: ")
        assert f": {expected.reasons[0]}, " in line
        assert expected.detail in line
    else:
        waiting = {reason for reason in expected.reasons if not Reason(reason).final}
        assert sorted(said.values()) == sorted("INFO" if reason == "pending" else "WARNING" for reason in waiting)
        assert all(line.endswith("; they are asked for again") for line in said)
    texts = [*said, *rows["detail"].dropna()]
    assert all(len(text) <= 450 and text.isprintable() for text in texts)


def test_the_bars_of_an_honest_answer_are_stored_as_traded(fake: FakeYahoo) -> None:
    rows = ask(fake)
    assert set(rows["reason"]) == {"present"}
    assert tuple(rows.iloc[-1][["open", "high", "low", "close", "volume"]]) == bar(COUNT - 1)
    assert set(rows["source"]) == {"yahoo"}


def test_the_minute_that_is_still_forming_is_never_stored(fake: FakeYahoo) -> None:
    assert OPEN + COUNT * MINUTE in fake.bars["AAPL"]
    assert ask(fake)["minute"].max() == LAST
    with pytest.raises(ValueError, match="has not closed"):
        ask(fake, last=OPEN + COUNT * MINUTE)


def test_a_forming_row_off_the_minute_does_not_stand_for_it(fake: FakeYahoo) -> None:
    """As Yahoo ends a live answer: a row at the time of the last trade, where the minute's own is still missing."""
    fake.bars["AAPL"] = {OPEN + offset * MINUTE: bar(offset) for offset in range(COUNT - 1)}
    fake.bars["AAPL"][LAST + timedelta(seconds=41)] = bar(COUNT)
    assert reasons(ask(fake)) == (*PRESENT[:-1], "pending")


def test_rows_before_and_after_regular_hours_are_neither_stored_nor_evidence(fake: FakeYahoo) -> None:
    before = {(OPEN - offset * MINUTE): bar(0) for offset in (3, 2, 1)}
    fake.bars["AAPL"] = before
    fake.faults["AAPL"] = lambda _: answered(chart("AAPL", SESSION, before, OPEN))
    assert reasons(ask(fake)) == UNEXPLAINED


def test_a_missing_minute_had_no_trade_when_a_later_bar_of_its_ticker_is_in_the_answer(fake: FakeYahoo) -> None:
    del fake.bars["AAPL"][OPEN + 4 * MINUTE]
    del fake.bars["AAPL"][LAST]
    assert reasons(ask(fake)) == (*PRESENT[:4], "no_trade", *PRESENT[5:-1], "no_trade")
    del fake.bars["AAPL"][OPEN + COUNT * MINUTE]
    assert reasons(ask(fake))[-1] == "pending"


def test_one_minute_is_explained_by_the_bars_after_it(fake: FakeYahoo) -> None:
    missing = OPEN + 4 * MINUTE
    del fake.bars["AAPL"][missing]
    assert reasons(ask(fake, first=missing, last=missing)) == ("no_trade",)


def test_the_end_of_a_session_is_explained_by_a_trade_after_it_if_the_answer_all_but_reaches_it(
    fake: FakeYahoo,
) -> None:
    fake.now = now = SESSION.close + BACKFILL_LAG + MINUTE
    fake.bars["NVDA"] = {OPEN: bar(0)}
    fake.faults["NVDA"] = described(regularMarketTime="yesterday")
    for ticker, silence in {"AAPL": 2, "MSFT": 60}.items():
        fake.bars[ticker] = {OPEN + offset * MINUTE: bar(offset) for offset in range(390 - silence)}
        fake.faults[ticker] = described(regularMarketTime=int(SESSION.close.timestamp()))
    rows = ask(fake, last=SESSION.last_minute, now=now)
    assert reasons(rows)[-3:] == ("present", "no_trade", "no_trade")
    assert reasons(rows, "MSFT")[-61:] == ("present", *["provider_error"] * 60)
    assert set(reasons(rows, "NVDA")) == {"provider_error"}
    fake.faults.clear()
    assert reasons(ask(fake, last=SESSION.last_minute, now=now))[-3:] == ("present", *["provider_error"] * 2)


def test_a_request_asks_yahoo_from_its_context_to_the_present(fake: FakeYahoo) -> None:
    ask(fake, first=LAST, last=LAST, tickers=("AAPL",))
    query = fake.asked[0].query
    assert int(query["period1"]) == OPEN.timestamp()
    assert int(query["period2"]) == (NOW + MINUTE).timestamp()
    assert (query["interval"], query["includePrePost"]) == ("1m", "false")
    ask(fake, first=OPEN + 20 * MINUTE, last=OPEN + 20 * MINUTE, now=SESSION.close, tickers=("AAPL",))
    assert int(fake.asked[1].query["period1"]) == (OPEN + 5 * MINUTE).timestamp()


@pytest.mark.parametrize("name", ["hang", "drip"])
def test_the_time_out_is_for_the_whole_answer_however_it_comes(fake: FakeYahoo, name: str) -> None:
    """An answer of some kilobytes, a byte each 50 ms, would take minutes."""
    fake.faults["AAPL"] = FAULTS[name].fault
    began = time.monotonic()
    assert reasons(ask(fake, timeout=0.5, tickers=("AAPL",))) == FAILED
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_answers_no_minute(fake: FakeYahoo, caplog: pytest.LogCaptureFixture) -> None:
    with FakeYahoo(SESSION, NOW) as gone:
        pass
    with pytest.raises(SourceUnreachable, match=r"any of \d tickers.*(Failed to connect|refused).*network"):
        ask(gone)
    assert not caplog.records


def test_of_one_ticker_alone_a_server_that_is_not_there_is_the_reason_of_every_minute(fake: FakeYahoo) -> None:
    with FakeYahoo(SESSION, NOW) as gone:
        pass
    rows = ask(gone, tickers=("AAPL",))
    assert set(rows["reason"]) == {"provider_error"}
    assert rows["detail"].str.contains("Failed to connect|refused").all()


def test_no_more_requests_are_in_flight_than_the_setting_says(fake: FakeYahoo) -> None:
    both_arrived = threading.Barrier(2, timeout=30)

    def wait_for_another(body: dict[str, Any]) -> Reply:
        both_arrived.wait()
        return answered(body)

    tickers = ("AAPL", "AMZN", "MSFT", "NVDA")
    for ticker in tickers:
        fake.faults[ticker] = wait_for_another
    ask(fake, tickers=tickers, in_flight=2)
    assert fake.most_at_once == 2


def test_what_yahoo_said_of_a_past_session_is_asked_again_and_not_remembered() -> None:
    past = session_on(date(2024, 8, 19))
    with FakeYahoo(past, past.close) as fake:
        fake.bars["AAPL"] = {past.open: bar(0), past.open + MINUTE: bar(1)}
        fake.faults["AAPL"] = lambda _: answered({"chart": {"result": [], "error": None}})
        source = yahoo(fake, ("AAPL",))
        answers = []
        for _ in range(2):
            rows = source.bars(past, past.open, past.open, ("AAPL",), past.close, past.close)
            answers.append(rows["reason"].to_pylist())
            fake.faults.clear()
    assert answers == [["provider_error"], ["present"]]
    assert len(fake.asked) == 2


def test_a_failure_is_logged_with_ticker_minutes_cause_and_what_is_next_and_without_secrets(
    fake: FakeYahoo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.faults["AAPL"] = lambda _: Reply(b"no", 500, {"Set-Cookie": "A3=secret-cookie"})
    fake.faults["MSFT"] = failed(404, "Not Found", "No data found, symbol may be delisted")
    ask(fake, first=LAST)
    lines = [record.getMessage() for record in caplog.records if record.name == "stockpick_assets.resources.yahoo"]
    assert sorted(lines)[0] == (
        "yahoo gave no bar of AAPL from 2026-11-20 09:39 to 2026-11-20 09:39 New York: "
        "provider_error, HTTP 500: no; asking again may help"
    )
    assert sorted(lines)[1].endswith("that is final")
    assert len(lines) == 2
    assert not any(word in caplog.text.lower() for word in ("secret", "cookie", "crumb"))


def test_minutes_that_an_answer_does_not_explain_are_a_line_for_each_cause_and_one_while_they_are_pending(
    fake: FakeYahoo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    others = tuple(f"T{number:03}" for number in range(30))
    fake.bars["AAPL"] = {}
    fake.bars["MSFT"] = {OPEN: bar(0)}
    fake.bars["NVDA"] = {}
    fake.bars |= {ticker: {OPEN + offset * MINUTE: bar(offset) for offset in range(9)} for ticker in others}
    rows = ask(fake, tickers=(*TICKERS, *others))
    assert set(rows["reason"]) == {"present", "provider_error", "pending"}
    told = {record.getMessage(): record.levelname for record in caplog.records}
    assert told == {
        "yahoo leaves 10 minutes of AAPL, NVDA from 2026-11-20 09:30 to 2026-11-20 09:34 New York without a bar: "
        "provider_error, the answer holds no bar; they are asked for again": "WARNING",
        "yahoo leaves 4 minutes of MSFT from 2026-11-20 09:31 to 2026-11-20 09:34 New York without a bar: "
        "provider_error, the answer holds 1 bars from 2026-11-20 09:30 to 2026-11-20 09:30 New York and does not "
        "explain this minute; they are asked for again": "WARNING",
        f"yahoo leaves 45 minutes of AAPL, MSFT, NVDA, {', '.join(others[:17])}, 13 more from 2026-11-20 09:35 to "
        "2026-11-20 09:39 New York without a bar: pending, no answer shows anything later yet; they are asked for "
        "again": "INFO",
    }


def test_the_newest_sessions_are_those_that_have_begun(fake: FakeYahoo) -> None:
    source = yahoo(fake, ("MSFT", "AAPL"))
    assert [session.date.day for session in source.sessions(NOW, 2)] == [19, 20]
    assert source.tickers() == ("AAPL", "MSFT")


# Answers in Yahoo's own words: those made for these tests, and recorded ones where they lie beside the project.
ANSWERS = sorted((Path(__file__).parents[1] / "data").glob("chart_*.json"))
ANSWERS += sorted((Path(__file__).parents[2].parent / "shared" / "data" / "yahoo_json").rglob("*1*.json"))


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_of_an_answer_in_yahoos_words_only_possible_minute_bars_of_the_ticker_are_stored(path: Path) -> None:
    content = json.loads(path.read_text())
    body = content.get("body", content)
    result = (body["chart"]["result"] or [{}])[0]
    ticker = result.get("meta", {}).get("symbol", "GONE")
    stamps = result.get("timestamp") or [int(OPEN.timestamp())]
    day = datetime.fromtimestamp(stamps[0], tz=OPEN.tzinfo)
    session = (sessions_between(new_york_date(day), new_york_date(day)) or [SESSION])[0]
    with FakeYahoo(session, session.close) as fake:
        fake.faults[ticker] = lambda _: answered(body, content.get("http_status", 200))
        rows = ask(fake, session.open, session.last_minute, session.close + MINUTE, (ticker,))
    of_ticker = rows.set_index("minute")
    assert len(of_ticker) == session.length

    quote = result.get("indicators", {}).get("quote", [{}])[0]
    sent = {
        datetime.fromtimestamp(stamp, tz=OPEN.tzinfo): prices
        for stamp, *prices in zip(stamps, *(quote.get(name, []) for name in ALL_PRICES), strict=False)
        if all(prices)
    }
    about = result.get("meta", {})
    believed = (about.get("dataGranularity"), about.get("currency")) == ("1m", "USD")
    expected = {minute: prices for minute, prices in sent.items() if believed and minute in of_ticker.index}
    present = of_ticker[of_ticker["reason"] == "present"]
    quarantined = set(of_ticker.index[of_ticker["reason"] == "quarantined"])
    stored = present[list(ALL_PRICES)].apply(list, axis=1).to_dict()
    assert stored == {minute: prices for minute, prices in expected.items() if minute in stored}
    assert set(expected) - set(stored) <= quarantined
    assert len(quarantined) <= 1  # of an option, whose price stood still but for that minute
    assert set(of_ticker["reason"]) <= {"present", "no_trade", "pending", "provider_error", "delisted", "quarantined"}
