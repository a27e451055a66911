"""Which minutes are asked for, and what is known of the others: against a source that notes what it was asked."""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.answers import Request, raw_prices
from stockpick_assets.core.bars import Bars
from stockpick_assets.core.closings import Closing
from stockpick_assets.core.expected import answers
from stockpick_assets.core.market_hours import MINUTE, NEW_YORK, NotASession, session_on
from stockpick_assets.core.quality import coverage
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.core.universe import Universe

SESSION = session_on(date(2026, 4, 20))  # SNDK came for TEAM
TICKERS = ("AAPL", "SNDK", "TEAM")
LATER = SESSION.close + timedelta(hours=1)


@dataclass
class Source:
    """A source that has a bar of every minute, and notes each request."""

    asked: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> pa.Table:
        self.asked.append(request)
        minutes = request.minutes()
        price = np.full(len(minutes), 100.0)
        bars = Bars(minutes, price, price, price, price, price, silent=minutes[:0])
        return raw_prices("yahoo", request, dict.fromkeys(request.tickers, bars))

    @property
    def tickers(self) -> list[tuple[str, ...]]:
        return [request.tickers for request in self.asked]


def whole(tickers: tuple[str, ...] = TICKERS, day: date = SESSION.date) -> Request:
    session = session_on(day)
    now = session.close + timedelta(hours=1)
    return Request(session, session.open, session.last_minute, tickers, now, now)


def reasons(rows: pa.Table, ticker: str) -> list[str]:
    return [row["reason"] for row in rows.to_pylist() if row["ticker"] == ticker]


def closed_minutes(rows: pa.Table) -> list[time]:
    closed = [row["minute"] for row in rows.to_pylist() if row["reason"] == "closed" and row["ticker"] == "AAPL"]
    return [minute.astimezone(NEW_YORK).time() for minute in closed]


def test_a_ticker_that_is_no_member_that_day_is_not_asked_for_and_says_so() -> None:
    source = Source()
    rows = answers("yahoo", whole(), Universe(), (), source)
    assert source.tickers == [("AAPL", "SNDK")]
    assert reasons(rows, "TEAM") == ["not_listed"] * 390
    assert reasons(rows, "SNDK") == reasons(rows, "AAPL") == ["present"] * 390
    stranger = rows.to_pylist()[2]
    assert (stranger["ticker"], stranger["detail"]) == ("TEAM", "not in the universe of 2026-04-20")
    assert stranger["fetched_at"] == LATER and stranger["backfilled"]
    assert stranger["known_at"] == SESSION.open + MINUTE + timedelta(minutes=5)
    assert rows.schema.equals(RAW_PRICES.columns)


def test_the_day_before_it_is_the_other_way_round() -> None:
    rows = answers("yahoo", whole(day=date(2026, 4, 17)), Universe(), (), Source())
    assert {ticker: set(reasons(rows, ticker)) for ticker in TICKERS} == {
        "AAPL": {"present"},
        "SNDK": {"not_listed"},
        "TEAM": {"present"},
    }


def test_named_tickers_are_asked_for_on_any_day() -> None:
    source = Source()
    answers("yahoo", whole(), Universe(fixed=TICKERS), (), source)
    answers("yahoo", whole(), Universe(extra=("TEAM",)), (), source)
    assert source.tickers == [TICKERS, TICKERS]


def test_of_a_ticker_that_the_settings_do_not_name_nothing_is_said_of_the_index() -> None:
    rows = answers("yahoo", whole(("AAPL",)), Universe(fixed=("TEAM",)), (), Source())
    assert reasons(rows, "AAPL") == ["not_listed"] * 390
    assert set(rows["detail"].to_pylist()) == {"not in the universe of 2026-04-20"}


def test_nothing_is_asked_where_everything_is_known() -> None:
    source = Source()
    rows = answers("yahoo", whole(("TEAM",)), Universe(), (), source)
    assert reasons(rows, "TEAM") == ["not_listed"] * 390
    rows = answers("yahoo", whole(), Universe(), (Closing(SESSION.date),), source)
    assert set(reasons(rows, "AAPL")) == {"closed"} and set(reasons(rows, "TEAM")) == {"not_listed"}
    assert source.asked == []


def test_hours_at_the_end_of_a_day_are_closed_and_not_asked_for() -> None:
    source, closing = Source(), Closing(SESSION.date, time(13), time(16))
    rows = answers("yahoo", whole(), Universe(), (closing,), source)
    assert [request.last for request in source.asked] == [SESSION.open + 209 * MINUTE]
    assert len(closed_minutes(rows)) == 180 and closed_minutes(rows)[0] == time(13)
    assert rows.filter(pa.array([reason == "closed" for reason in rows["reason"].to_pylist()]))[
        "detail"
    ].unique().to_pylist() == ["unscheduled closing: 2026-04-20 13:00-16:00"]


def test_hours_within_a_day_cost_one_request_whose_bars_of_them_are_left_out() -> None:
    source, closing = Source(), Closing(SESSION.date, time(11), time(11, 30))
    rows = answers("yahoo", whole(), Universe(), (closing,), source)
    assert len(source.asked) == 1
    assert closed_minutes(rows) == [time(11, minute) for minute in range(30)]
    assert reasons(rows, "AAPL").count("present") == 360


def test_a_minute_on_which_the_clocks_had_changed_is_closed_by_the_time_in_new_york() -> None:
    for day in (date(2026, 3, 9), date(2026, 11, 2)):
        rows = answers("yahoo", whole(day=day), Universe(), (Closing(day, time(9, 30), time(9, 32)),), Source())
        assert closed_minutes(rows) == [time(9, 30), time(9, 31)]


def test_a_closing_on_a_half_day_ends_with_it() -> None:
    day = date(2026, 11, 27)
    rows = answers("yahoo", whole(day=day), Universe(), (Closing(day, time(12, 30), time(16)),), Source())
    assert rows.num_rows == 210 * len(TICKERS)
    assert closed_minutes(rows) == [time(12, minute) for minute in range(30, 60)]


@pytest.mark.parametrize("day", [date(2026, 12, 25), date(2025, 1, 9)], ids=["a holiday", "a closing it knows"])
def test_days_that_the_calendar_knows_to_be_closed_have_no_minute_to_be_asked_for(day: date) -> None:
    with pytest.raises(NotASession):
        whole(day=day)


def test_a_closing_of_another_day_changes_nothing() -> None:
    source = Source()
    rows = answers("yahoo", whole(("AAPL",)), Universe(), (Closing(date(2026, 4, 21)),), source)
    assert rows.equals(source(whole(("AAPL",))))


hours = st.tuples(st.integers(0, 389), st.integers(1, 390)).filter(lambda ends: ends[0] < ends[1])


def at(minutes: int) -> time:
    return (datetime.combine(SESSION.date, time(9, 30)) + timedelta(minutes=minutes)).time()


@given(st.lists(hours, max_size=4), hours)
def test_every_minute_asked_for_has_one_row_whatever_is_closed(
    closed: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    closings = sorted(Closing(SESSION.date, at(begins), at(ends)) for begins, ends in closed)
    first, last = (SESSION.open + number * MINUTE for number in (asked[0], asked[1] - 1))
    source = Source()
    rows = answers("yahoo", Request(SESSION, first, last, TICKERS, LATER, LATER), Universe(), closings, source)
    minutes = [first + number * MINUTE for number in range(asked[1] - asked[0])]
    keys = [(row["minute"], row["ticker"]) for row in rows.to_pylist()]
    assert keys == [(minute, ticker) for minute in minutes for ticker in TICKERS]
    assert coverage(rows, TICKERS, minutes).complete
    shut = {minute for minute in minutes if any(closing.contains(minute) for closing in closings)}
    assert {row["minute"] for row in rows.to_pylist() if row["reason"] == "closed"} == shut
    assert len(source.asked) == (len(shut) < len(minutes))
