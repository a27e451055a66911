"""One row and one reason for every expected minute, whatever a source returned."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockpick_assets.core.answers import BACKFILL_LAG, Bars, Failure, Request, no_bars, raw_prices, silent_minutes
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
    assert rows["detail"].iloc[1].startswith("impossible: open ")


def test_a_volume_that_cannot_be_is_withheld_and_its_bar_kept() -> None:
    rows = frame(asked(2), answer({0: (*GOOD[:4], -5.0), 1: (*GOOD[:4], np.nan)}))
    assert rows["reason"].tolist() == ["present", "present"]
    assert rows["volume"].isna().all()
    assert rows["detail"].tolist() == ["volume withheld: it was -5", "volume withheld: it was nan"]


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


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0.5, 2.0)
ROWS = st.lists(st.tuples(st.floats(-5, 15).map(lambda x: round(x * 2) / 2), st.tuples(*[NUMBERS] * 5)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROWS | st.sampled_from(Reason), min_size=1, max_size=3), late=st.booleans(), count=st.integers(1, 10)
)
def test_every_expected_minute_has_one_row_and_one_reason_whatever_the_source_returned(
    rows: list[list[tuple[float, tuple[float, ...]]] | Reason], late: bool, count: int
) -> None:
    tickers = tuple(f"T{number}" for number in range(len(rows)))
    request = asked(count, tickers, SESSION.close if late else None)
    got = frame(request, *(Failure(one, "said so") if isinstance(one, Reason) else answer(one) for one in rows))

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
    assert got.loc[got["reason"] != "present", ["open", "high", "low", "close", "volume"]].isna().all(axis=None)
    assert (got["known_at"] <= request.now).all()


def test_a_half_day_ends_at_its_own_last_minute() -> None:
    half: Session = session_on(date(2026, 11, 27))
    request = Request(half, half.open, half.last_minute, ("AAPL",), half.close, half.close)
    assert raw_prices("simulated", request, {"AAPL": no_bars()}).num_rows == 210
