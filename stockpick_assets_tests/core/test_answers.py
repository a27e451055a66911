"""One row and one reason for every expected minute, whatever a source returned."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.core.answers import (
    BACKFILL_LAG,
    CONTEXT,
    LeftOut,
    Request,
    left_out,
    raw_prices,
    silent_minutes,
)
from stockpick_assets.core.bars import Bars, Failure, no_bars
from stockpick_assets.core.market_hours import MINUTE, Session, session_on
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import RAW_PRICES

SESSION = session_on(date(2026, 11, 20))
OPEN = SESSION.open
GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)


def asked(count: int = 5, tickers: tuple[str, ...] = ("AAPL",), now: datetime | None = None) -> Request:
    last = OPEN + (count - 1) * MINUTE
    return Request(SESSION, OPEN, last, tickers, now or last + MINUTE, datetime(2026, 11, 23, 12, tzinfo=UTC))


def answer(rows: dict[float, tuple[float, ...]] | list[tuple[float, tuple[float, ...]]], **kwargs: object) -> Bars:
    """Bars from minutes after the open; those before the newest of them are silent, as silent_minutes has it."""
    pairs = list(rows.items()) if isinstance(rows, dict) else rows
    minutes = np.array(
        [np.datetime64(OPEN.replace(tzinfo=None), "us") + np.timedelta64(int(offset * 60), "s") for offset, _ in pairs],
        dtype="datetime64[us]",
    )
    values = np.array([bar for _, bar in pairs], dtype=float).reshape(-1, 5).T
    bars = Bars(minutes, *values, silent=minutes[:0])
    silent = silent_minutes(asked(390), minutes[bars.quoted()])
    return Bars(minutes, *values, **{"silent": silent, **kwargs})


def frame(request: Request, *answers: Bars | Failure) -> pd.DataFrame:
    return raw_prices("simulated", request, dict(zip(request.tickers, answers, strict=True))).to_pandas()


def test_a_minute_without_a_trade_is_answered_with_a_reason() -> None:
    rows = frame(asked(), answer({0: GOOD, 1: GOOD, 3: GOOD, 4: GOOD}))
    assert rows["reason"].tolist() == ["present", "present", "no_trade", "present", "present"]
    assert rows[["open", "high", "low", "close", "volume"]].iloc[2].isna().all()
    assert rows[["open", "high", "low", "close", "volume"]].iloc[3].tolist() == list(GOOD)


def test_a_missing_minute_that_nothing_later_explains_is_pending_and_after_the_lag_an_error() -> None:
    ends_early = answer({0: GOOD, 1: GOOD})
    young = frame(asked(), ends_early)
    assert young["reason"].tolist() == ["present", "present", "pending", "pending", "pending"]
    old = frame(asked(now=SESSION.close), ends_early)
    assert old["reason"].tolist() == ["present", "present", *["provider_error"] * 3]
    assert old["detail"].iloc[4] == (
        "the answer holds 2 bars from 2026-11-20 09:30 to 2026-11-20 09:31 New York and does not explain this minute"
    )


def test_rows_of_another_day_are_neither_stored_nor_evidence() -> None:
    rows = frame(asked(now=SESSION.close), answer({1440: GOOD, 1441: GOOD}))
    assert set(rows["reason"]) == {"provider_error"}
    assert rows["close"].isna().all()


def test_rows_off_the_minute_are_not_stored() -> None:
    rows = frame(asked(), answer({0: GOOD, 1.5: GOOD, 2: GOOD}))
    assert rows["reason"].tolist() == ["present", "no_trade", "present", "pending", "pending"]


def test_a_row_of_nulls_says_no_more_than_no_row() -> None:
    nulls = (np.nan,) * 5
    rows = frame(asked(), answer({0: GOOD, 1: nulls, 2: GOOD, 3: nulls}))
    assert rows["reason"].tolist() == ["present", "no_trade", "present", "pending", "pending"]


@pytest.mark.parametrize(
    "bar",
    [
        (0.0, 0.0, 0.0, 0.0, 5.0),
        (-1.0, 11.0, -1.0, 10.0, 5.0),
        (10.0, 9.5, 9.0, 9.2, 5.0),
        (10.0, 11.0, 9.0, 8.9, 5.0),
        (10.0, np.inf, 9.0, 10.0, 5.0),
        (10.0, np.nan, 9.0, 10.0, 5.0),
    ],
    ids=["zero", "negative", "open above high", "close below low", "infinite", "partly null"],
)
def test_a_bar_whose_prices_cannot_be_is_quarantined(bar: tuple[float, ...]) -> None:
    rows = frame(asked(3), answer({0: GOOD, 1: bar, 2: GOOD}))
    assert rows["reason"].tolist() == ["present", "quarantined", "present"]
    assert rows[["open", "high", "low", "close", "volume"]].iloc[1].isna().all()
    assert rows["detail"].iloc[1].startswith("impossible price: open ")


def test_a_volume_that_cannot_be_is_withheld_and_its_bar_kept() -> None:
    rows = frame(asked(2), answer({0: (*GOOD[:4], -5.0), 1: (*GOOD[:4], np.nan)}))
    assert rows["reason"].tolist() == ["present", "present"]
    assert rows["volume"].isna().all()
    assert rows["detail"].tolist() == ["impossible volume: volume -5", "impossible volume: volume nan"]


def test_the_same_bar_twice_is_one_and_two_different_ones_are_quarantined() -> None:
    other = (10.0, 11.0, 9.0, 10.6, 100.0)
    rows = frame(asked(2), answer([(1, GOOD), (0, GOOD), (0, GOOD), (1, other)]))
    assert rows["reason"].tolist() == ["present", "quarantined"]
    assert "close 10.5" in rows["detail"].iloc[1]
    assert "close 10.6" in rows["detail"].iloc[1]


def test_one_tickers_failure_is_its_reason_and_costs_no_other_its_minute() -> None:
    failure = Failure(Reason.RATE_LIMITED, "HTTP 429")
    rows = frame(asked(2, ("AAPL", "MSFT")), failure, answer({0: GOOD, 1: GOOD}))
    assert rows.groupby("ticker")["reason"].unique().map(list).to_dict() == {
        "AAPL": ["rate_limited"],
        "MSFT": ["present"],
    }
    assert rows.loc[rows["ticker"] == "AAPL", "detail"].unique().tolist() == ["HTTP 429"]


def test_what_a_source_says_of_absent_minutes_is_their_reason() -> None:
    lost = Failure(Reason.LOST, "not in the file")
    rows = frame(asked(3, now=SESSION.close), answer({1: GOOD}, silent=answer({0: GOOD}).minutes, absent=lost))
    assert rows["reason"].tolist() == ["no_trade", "present", "lost"]


def test_an_answer_is_known_when_it_came_and_a_backfilled_one_a_stated_lag_after_the_close() -> None:
    now = OPEN + 3 * MINUTE + BACKFILL_LAG
    rows = frame(asked(3, now=now), no_bars())
    closes = [OPEN + (offset + 1) * MINUTE for offset in range(3)]
    assert rows["backfilled"].tolist() == [True, True, False]
    assert rows["known_at"].tolist() == [closes[0] + BACKFILL_LAG, closes[1] + BACKFILL_LAG, now]
    assert set(rows["fetched_at"]) == {datetime(2026, 11, 23, 12, tzinfo=UTC)}


def test_the_rows_are_by_minute_and_ticker_in_the_declared_schema() -> None:
    request = asked(2, ("AAPL", "MSFT"))
    table = raw_prices("recorded", request, {"AAPL": no_bars(), "MSFT": no_bars()})
    assert table.schema.equals(RAW_PRICES.columns)
    assert table["ticker"].to_pylist() == ["AAPL", "MSFT", "AAPL", "MSFT"]
    assert table["minute"].to_pylist() == [OPEN, OPEN, OPEN + MINUTE, OPEN + MINUTE]
    assert set(table["source"].to_pylist()) == {"recorded"}
    assert set(table["session"].to_pylist()) == {SESSION.date}


def test_rows_that_cannot_be_bars_are_left_out_and_counted_over_all_tickers() -> None:
    rows = {
        0: GOOD,
        1: GOOD,
        1.5: GOOD,
        2: GOOD,
        3: GOOD,
        9: GOOD,
        -1: GOOD,
        -30: GOOD,
        390: GOOD,
        1440: GOOD,
        -1440: GOOD,
    }
    request = asked(2, ("AAPL", "MSFT"))
    got = raw_prices("simulated", request, {"AAPL": answer(rows), "MSFT": answer({390: GOOD, 391: (np.nan,) * 5})})
    assert got["reason"].to_pylist()[::2] == ["present", "present"]
    assert left_out(got) == {
        LeftOut.OTHER_SESSION: 2,
        LeftOut.PRE_MARKET: 2,
        LeftOut.POST_MARKET: 2,
        LeftOut.OFF_GRID: 1,
        LeftOut.NOT_BEGUN: 2,
        LeftOut.FORMING: 1,
    }
    assert left_out(raw_prices("simulated", request, {"AAPL": no_bars(), "MSFT": no_bars()})) == {}
    assert left_out(RAW_PRICES.empty()) == {}


def test_minutes_of_the_session_that_were_not_asked_for_are_context_and_not_counted() -> None:
    first = OPEN + 60 * MINUTE
    request = Request(SESSION, first, first, ("AAPL",), first + 3 * MINUTE, first)
    assert request.since == first - CONTEXT
    assert asked().since == OPEN
    rows = dict.fromkeys(range(63), GOOD)
    wrong = tuple(10 * value for value in GOOD)
    table = raw_prices("simulated", request, {"AAPL": answer({**rows, 60: wrong})})
    assert table["reason"].to_pylist() == ["quarantined"]
    assert table["detail"].to_pylist() == ["jump: open 100 high 110 low 90 close 105 volume 1000"]
    assert left_out(table) == {}
    alone = raw_prices("simulated", request, {"AAPL": answer({60: wrong})})
    assert alone["reason"].to_pylist() == ["present"]


def test_what_came_before_the_context_does_not_change_the_answer() -> None:
    """A source that hands over the whole session says of a live minute what one does that was asked for less."""
    first = OPEN + 60 * MINUTE
    request = Request(SESSION, first, first, ("AAPL",), first + MINUTE, first)
    narrow = dict.fromkeys(range(45), (10.5, 10.5, 10.49, 10.5, 100.0))
    rows = frame(request, answer({**narrow, **dict.fromkeys(range(45, 61), GOOD)}))
    assert rows["reason"].tolist() == ["present"]


def test_no_row_from_after_the_present_is_a_bar_or_evidence() -> None:
    wrong = tuple(10 * value for value in GOOD)
    rows = {0: GOOD, 1: GOOD, 3: wrong, 4: wrong, 5: wrong}
    assert frame(asked(4), answer(rows))["reason"].tolist() == ["present", "present", "no_trade", "quarantined"]
    minutes = answer({0: GOOD, 60: GOOD}).minutes
    assert len(silent_minutes(asked(5), minutes)) == 0
    assert len(silent_minutes(asked(5, now=OPEN + 60 * MINUTE), minutes)) == 5


def test_the_newest_bar_of_an_answer_is_none_while_it_is_flat_and_without_volume() -> None:
    """As Yahoo serves the minute that still forms, for some seconds after its close too."""
    flat = (10.5, 10.5, 10.5, 10.5, 0.0)
    rows = frame(asked(4), answer({0: GOOD, 1: GOOD, 2: flat, 3: flat}))
    assert rows["reason"].tolist() == ["present", "present", "present", "pending"]
    assert rows["volume"].iloc[2] == 0
    late = frame(asked(3, now=SESSION.close), answer({0: GOOD, 1: GOOD, 2: flat}))
    assert late["reason"].tolist() == ["present", "present", "provider_error"]


def test_the_last_bar_of_a_session_that_is_over_may_be_flat_and_without_volume() -> None:
    last = SESSION.length - 1
    flat = answer({last - 1: GOOD, last: (10.5, 10.5, 10.5, 10.5, 0.0)})
    soon, later = (frame(asked(390, now=at), flat) for at in (SESSION.close, SESSION.close + BACKFILL_LAG))
    assert [rows["reason"].iloc[last] for rows in (soon, later)] == ["pending", "present"]


def test_an_answer_of_nothing_but_one_price_without_volume_is_believed_in_no_minute() -> None:
    flat = (10.0, 10.0, 10.0, 10.0, 0.0)
    rows = frame(asked(8), answer(dict.fromkeys(range(8), flat)))
    assert rows["reason"].tolist() == [*["quarantined"] * 7, "pending"]
    assert rows["detail"].iloc[0] == "stale price: open 10 high 10 low 10 close 10 volume 0"


def test_a_source_that_knows_of_a_halt_says_so_of_minutes_without_a_bar() -> None:
    halted = answer({0: GOOD, 1: GOOD, 2: GOOD}).minutes
    rows = frame(asked(4), answer({0: GOOD, 3: GOOD}, halted=halted))
    assert rows["reason"].tolist() == ["present", "halted", "halted", "present"]


def test_a_split_is_told_at_its_minute() -> None:
    minutes = answer({0: GOOD}).minutes
    rows = frame(asked(2), answer({0: GOOD, 1: GOOD}, splits={minutes[0]: 4.0}))
    assert rows["split"].iloc[0] == 4.0
    assert rows["split"].isna().tolist() == [False, True]


def test_what_an_answer_says_of_its_reach_is_evidence() -> None:
    nothing = no_bars().minutes
    assert len(silent_minutes(asked(5), nothing, OPEN + 3 * MINUTE)) == 3
    assert len(silent_minutes(asked(5), nothing)) == 0


@pytest.mark.parametrize(
    ("first", "last", "now", "complaint"),
    [
        (OPEN - MINUTE, OPEN, SESSION.close, "no minute of the session"),
        (OPEN, SESSION.close, SESSION.close, "no minute of the session"),
        (OPEN + timedelta(seconds=30), OPEN + MINUTE, SESSION.close, "no minute of the session"),
        (OPEN + MINUTE, OPEN, SESSION.close, "comes after"),
        (OPEN, OPEN + MINUTE, OPEN + timedelta(seconds=119), "has not closed"),
    ],
)
def test_minutes_that_cannot_be_asked_for_are_refused(
    first: datetime, last: datetime, now: datetime, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Request(SESSION, first, last, ("AAPL",), now, now)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0.5, 2.0) | st.just(1.0)
BARS = st.tuples(*[NUMBERS] * 5) | st.sampled_from([GOOD, (1.0, 1.0, 1.0, 1.0, 0.0), (np.nan,) * 5])
OFFSETS = st.integers(-3, 24).map(lambda half: half / 2) | st.sampled_from([-1440.0, 389.0, 390.0, 1440.0])
ROWS = st.lists(st.tuples(OFFSETS, BARS), max_size=16)
VALUES = ["open", "high", "low", "close", "volume"]


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(ROWS | st.sampled_from(Reason), min_size=1, max_size=3),
    late=st.booleans(),
    count=st.integers(1, 10),
    order=st.randoms(use_true_random=False),
)
def test_every_expected_minute_has_one_row_and_one_reason_whatever_the_source_returned_in_whatever_order(
    rows: list[list[tuple[float, tuple[float, ...]]] | Reason], late: bool, count: int, order: Random
) -> None:
    tickers = tuple(f"T{number}" for number in range(len(rows)))
    request = asked(count, tickers, SESSION.close if late else None)

    def table() -> pa.Table:
        given = [Failure(one, "said so") if isinstance(one, Reason) else answer(one) for one in rows]
        return raw_prices("simulated", request, dict(zip(tickers, given, strict=True)))

    first = table()
    got = first.to_pandas()
    assert got[["minute", "ticker"]].apply(tuple, axis=1).tolist() == [
        (OPEN + offset * MINUTE, ticker) for offset in range(count) for ticker in tickers
    ]
    assert got["reason"].isin(list(Reason)).all()
    answered = [ticker for ticker, one in zip(tickers, rows, strict=True) if not isinstance(one, Reason)]
    present = got[(got["reason"] == "present") & got["ticker"].isin(answered)]
    assert (present["low"] > 0).all()
    assert (present["low"] <= present[["open", "close"]].min(axis=1)).all()
    assert (present["high"] >= present[["open", "close"]].max(axis=1)).all()
    assert np.isfinite(present["high"]).all()
    assert present["volume"].dropna().between(0, np.finfo(float).max).all()
    assert got.loc[got["reason"] != "present", VALUES].isna().all(axis=None)
    assert (got["known_at"] <= request.now).all()
    sent = {
        (ticker, OPEN + timedelta(minutes=offset), prices[3])
        for ticker, one in zip(tickers, rows, strict=True)
        if not isinstance(one, Reason)
        for offset, prices in one
    }
    assert sent.issuperset(present[["ticker", "minute", "close"]].itertuples(index=False, name=None))

    for one in rows:
        if isinstance(one, list):
            order.shuffle(one)
    again = table()
    assert again.equals(first)
    assert left_out(again) == left_out(first)


def test_a_half_day_ends_at_its_own_last_minute() -> None:
    half: Session = session_on(date(2026, 11, 27))
    request = Request(half, half.open, half.last_minute, ("AAPL",), half.close, half.close)
    assert raw_prices("simulated", request, {"AAPL": no_bars()}).num_rows == 210
