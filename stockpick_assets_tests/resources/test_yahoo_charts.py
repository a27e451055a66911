"""What is made of a chart that Yahoo sent: rows it repeats or adds, splits, the day's volume, and a halt."""

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from stockpick_assets.core.answers import BACKFILL_LAG, CONTEXT, left_out
from stockpick_assets.core.market_hours import MINUTE, session_after, session_on
from stockpick_assets_tests.fake_yahoo import Bar, FakeYahoo, Reply, chart
from stockpick_assets_tests.resources.test_yahoo import yahoo

SESSION = session_on(date(2026, 11, 20))
OPEN = SESSION.open
COUNT = 30
NOW = OPEN + COUNT * MINUTE + timedelta(seconds=2)
LAST = OPEN + (COUNT - 1) * MINUTE


def bar(offset: int) -> Bar:
    price = 100.0 + 0.01 * offset
    return (price, price + 0.05, price - 0.05, price + 0.01, 1000.0)


def times(factor: float, bar: Bar) -> Bar:
    opening, high, low, close, volume = (value or 0 for value in bar)
    return (opening * factor, high * factor, low * factor, close * factor, volume)


@pytest.fixture
def fake() -> Iterator[FakeYahoo]:
    """Yahoo half an hour into a session, of one ticker."""
    with FakeYahoo(SESSION, NOW) as server:
        server.bars["AAPL"] = {OPEN + offset * MINUTE: bar(offset) for offset in range(COUNT)}
        yield server


def table(fake: FakeYahoo, first: datetime = OPEN, last: datetime = LAST, now: datetime = NOW) -> pa.Table:
    return yahoo(fake, ("AAPL",)).bars(SESSION, first, last, ("AAPL",), now, now)


def ask(fake: FakeYahoo, first: datetime = OPEN, last: datetime = LAST, now: datetime = NOW) -> pd.DataFrame:
    return table(fake, first, last, now).to_pandas()


def sent(fake: FakeYahoo, change: Callable[[dict[str, Any]], object]) -> None:
    """Have the honest chart changed before it goes out."""

    def fault(body: dict[str, Any]) -> Reply:
        change(body["chart"]["result"][0])
        return Reply(json.dumps(body).encode())

    fake.faults["AAPL"] = fault


def with_row(at: datetime, bar: Bar) -> Callable[[dict[str, Any]], None]:
    def add(result: dict[str, Any]) -> None:
        result["timestamp"].append(int(at.timestamp()))
        for name, value in zip(("open", "high", "low", "close", "volume"), bar, strict=True):
            result["indicators"]["quote"][0][name].append(value)

    return add


def with_split(day: datetime, numerator: float, denominator: float) -> Callable[[dict[str, Any]], None]:
    stamp = int(day.timestamp())
    event = {"date": stamp, "numerator": numerator, "denominator": denominator, "splitRatio": "as told"}
    return lambda result: result.update(events={"splits": {str(stamp): event}})


def test_two_different_rows_of_one_minute_are_both_seen(fake: FakeYahoo) -> None:
    """yfinance keeps the first of them without a word, whichever is wrong."""
    sent(fake, with_row(OPEN + 3 * MINUTE, bar(4)))
    rows = ask(fake)
    assert rows["reason"].value_counts().to_dict() == {"present": COUNT - 1, "quarantined": 1}
    assert rows["detail"].iloc[3].startswith("different bars: ")
    sent(fake, with_row(OPEN + 3 * MINUTE, bar(3)))
    assert set(ask(fake)["reason"]) == {"present"}


def test_the_newest_trade_is_not_mixed_into_the_bar_of_the_minute_before(fake: FakeYahoo) -> None:
    """yfinance takes high, low, close and volume of a row off the minute into the row before it."""
    sent(fake, with_row(LAST + timedelta(seconds=40), times(1.5, bar(COUNT))))
    rows = table(fake)
    assert tuple(rows.to_pandas().iloc[-1][["open", "high", "low", "close", "volume"]]) == bar(COUNT - 1)
    assert left_out(rows) == {"off_grid": 1}


def test_rows_outside_the_session_are_counted(fake: FakeYahoo) -> None:
    def add(result: dict[str, Any]) -> None:
        for at in (OPEN - MINUTE, OPEN - timedelta(days=1), SESSION.close, OPEN + COUNT * MINUTE):
            with_row(at, bar(0))(result)

    sent(fake, add)
    rows = table(fake)
    assert set(rows["reason"].to_pylist()) == {"present"}
    assert left_out(rows) == {"other_session": 1, "pre_market": 1, "post_market": 1, "forming": 1}


def test_a_missing_volume_is_not_zero(fake: FakeYahoo) -> None:
    fake.bars["AAPL"][OPEN + 5 * MINUTE] = (*bar(5)[:4], None)
    rows = ask(fake)
    assert rows["reason"].iloc[5] == "present"
    assert rows["detail"].iloc[5] == "impossible volume: volume nan"
    assert rows["volume"].isna().sum() == 1


@pytest.mark.parametrize("factor", [0.01, 0.9, 1.1, 10.0])
def test_a_live_bar_that_jumped_is_not_believed_before_later_ones_confirm_it(fake: FakeYahoo, factor: float) -> None:
    fake.bars["AAPL"][LAST] = times(factor, bar(COUNT))
    assert ask(fake, first=LAST)["reason"].tolist() == ["quarantined"]
    fake.bars["AAPL"] |= {LAST + offset * MINUTE: times(factor, bar(COUNT + offset)) for offset in (1, 2)}
    later = NOW + 2 * MINUTE
    fake.now = later
    assert ask(fake, first=LAST, now=later)["reason"].tolist() == ["present"]
    assert int(fake.asked[-1].query["period1"]) == (LAST - CONTEXT).timestamp()


def test_the_opening_bar_is_held_against_the_previous_close(fake: FakeYahoo) -> None:
    now = OPEN + MINUTE + timedelta(seconds=2)
    fake.now = now
    sent(fake, lambda result: result["meta"].update(chartPreviousClose=99.0))
    assert ask(fake, last=OPEN, now=now)["reason"].tolist() == ["present"]
    fake.bars["AAPL"][OPEN] = times(10, bar(0))
    assert ask(fake, last=OPEN, now=now)["reason"].tolist() == ["quarantined"]


def test_a_split_of_the_session_holds_from_its_open_and_is_no_jump(fake: FakeYahoo) -> None:
    now = OPEN + MINUTE + timedelta(seconds=2)
    fake.now = now

    def split(result: dict[str, Any]) -> None:
        with_split(OPEN - timedelta(hours=9), 4, 1)(result)
        result["meta"].update(chartPreviousClose=404.0)

    sent(fake, split)
    rows = ask(fake, last=OPEN, now=now)
    assert rows["reason"].tolist() == ["present"]
    assert rows["split"].tolist() == [4.0]
    assert rows["close"].tolist() == [bar(0)[3]]


def test_prices_given_in_shares_of_after_a_later_split_are_brought_back(fake: FakeYahoo) -> None:
    sent(fake, with_split(session_after(SESSION).open, 4, 1))
    rows = ask(fake)
    assert rows["split"].isna().all()
    assert rows["close"].iloc[0] == pytest.approx(4 * 100.01)
    assert rows["volume"].iloc[0] == 250
    sent(fake, with_split(OPEN - timedelta(days=1), 4, 1))
    assert ask(fake)["close"].iloc[0] == 100.01


@pytest.mark.parametrize("terms", [(4, 0), (0, 1), (-4, 1)])
def test_a_split_that_cannot_be_is_no_answer(fake: FakeYahoo, terms: tuple[float, float]) -> None:
    sent(fake, with_split(OPEN, *terms))
    assert set(ask(fake)["reason"]) <= {"provider_error"}


def test_the_days_volume_counts_where_it_is_of_this_session_and_as_new_as_the_bars(fake: FakeYahoo) -> None:
    told = {"regularMarketVolume": 10_000, "regularMarketTime": int(NOW.timestamp())}
    sent(fake, lambda result: result["meta"].update(told))
    rows = ask(fake)
    assert set(rows["reason"]) == {"present"}
    assert rows["volume"].isna().all()
    assert set(rows["detail"]) == {"session volume: volume 1000"}
    for other in (LAST, OPEN + timedelta(days=1)):
        sent(fake, lambda result, other=other: result["meta"].update(told, regularMarketTime=int(other.timestamp())))
        assert not ask(fake)["volume"].isna().any()


def test_a_ticker_without_a_trade_in_a_whole_session_was_halted() -> None:
    """Known from the time of its last trade, in an answer that names the session; from nothing less."""
    over = SESSION.close + BACKFILL_LAG + MINUTE
    before = OPEN - timedelta(hours=17)
    with FakeYahoo(SESSION, over) as fake:

        def reasons(last_trade: datetime, now: datetime = over, session: datetime = OPEN) -> set[str]:
            def halt(result: dict[str, Any]) -> None:
                result["meta"]["regularMarketTime"] = int(last_trade.timestamp())
                result["meta"]["currentTradingPeriod"]["regular"]["start"] = int(session.timestamp())

            sent(fake, halt)
            return set(ask(fake, now=now)["reason"])

        assert reasons(before) == {"halted"}
        assert reasons(before, now=SESSION.close - MINUTE) == {"provider_error"}
        assert reasons(before, session=OPEN - timedelta(days=1)) == {"provider_error"}
        assert reasons(OPEN + MINUTE) == {"provider_error"}
        fake.faults["AAPL"] = lambda _: Reply(json.dumps(chart("AAPL", SESSION, {}, before)).encode())
        assert set(ask(fake, now=over)["reason"]) == {"halted"}
        fake.bars["AAPL"] = {OPEN: bar(0)}
        assert reasons(before) == {"present", "provider_error"}


def with_empty_quote(result: dict[str, Any]) -> None:
    del result["timestamp"]
    result["indicators"]["quote"] = [{}]


def without_description(result: dict[str, Any]) -> None:
    with_empty_quote(result)
    del result["meta"]


def of_another_ticker(result: dict[str, Any]) -> None:
    with_empty_quote(result)
    result["meta"]["symbol"] = "TSLA"


def in_milliseconds(result: dict[str, Any]) -> None:
    result["timestamp"] = [1000 * stamp for stamp in result["timestamp"]]


def in_no_time(result: dict[str, Any]) -> None:
    result["timestamp"] = [None] * COUNT


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (without_description, "KeyError"),
        (of_another_ticker, "another question"),
        (in_milliseconds, ""),
        (in_no_time, ""),
    ],
)
def test_a_chart_that_makes_no_sense_is_an_error_of_its_ticker_alone(
    fake: FakeYahoo, change: Callable[[dict[str, Any]], None], detail: str
) -> None:
    fake.bars["MSFT"] = fake.bars["AAPL"]
    sent(fake, change)
    source = yahoo(fake, ("AAPL", "MSFT"))
    rows = source.bars(SESSION, OPEN, LAST, ("AAPL", "MSFT"), NOW, NOW).to_pandas()
    of_ticker = rows.groupby("ticker")["reason"].unique().map(list)
    assert of_ticker.to_dict() == {"AAPL": ["provider_error"], "MSFT": ["present"]}
    assert detail in rows["detail"].iloc[0]


@pytest.mark.parametrize("last_trade", [None, 0])
def test_a_last_trade_that_is_not_told_costs_no_bar(fake: FakeYahoo, last_trade: int | None) -> None:
    sent(fake, lambda result: result["meta"].update(regularMarketTime=last_trade))
    assert set(ask(fake)["reason"]) == {"present"}
