"""Recorded bars: replayed as they are, with a reason for every minute the file does not have."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from stockpick_assets.core.answers import left_out
from stockpick_assets.core.market_hours import MINUTE, Session, session_on
from stockpick_assets.resources.recorded import RecordedBars, RecordingError

MONDAY, TUESDAY = session_on(date(2026, 11, 16)), session_on(date(2026, 11, 17))
LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)
RECORDINGS = sorted((Path(__file__).parents[2].parent / "shared" / "data" / "bars").glob("*.parquet"))


def minutes(session: Session, offsets: list[int]) -> list[datetime]:
    return [session.open + offset * MINUTE for offset in offsets]


def recording(path: Path, bars: dict[str, list[datetime]]) -> Path:
    """A file with one bar for each ticker and minute named."""
    rows = [
        {"ticker": ticker, "timestamp": minute, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 7}
        for ticker, of_ticker in bars.items()
        for minute in of_ticker
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


def reasons(source: RecordedBars, session: Session, ticker: str, count: int) -> list[str]:
    last = session.open + (count - 1) * MINUTE
    return source.bars(session, session.open, last, [ticker], session.close, session.close)["reason"].to_pylist()


def test_a_gap_that_another_ticker_bridges_had_no_trade_and_one_that_none_does_is_lost(tmp_path: Path) -> None:
    path = recording(
        tmp_path / "bars.parquet",
        {"AAPL": minutes(MONDAY, [1, 2, 5, 6]), "MSFT": minutes(MONDAY, [1, 2, 3, 5, 6, 7])},
    )
    source = RecordedBars(path)
    assert reasons(source, MONDAY, "AAPL", 9) == [
        *["lost", "present", "present", "no_trade", "lost", "present", "present", "no_trade", "lost"]
    ]


def test_the_gap_of_a_lone_ticker_between_its_first_and_last_bar_had_no_trade(tmp_path: Path) -> None:
    source = RecordedBars(recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [1, 3])}))
    assert reasons(source, MONDAY, "AAPL", 5) == ["lost", "present", "no_trade", "present", "lost"]


def test_bars_outside_regular_hours_are_not_replayed_but_show_that_the_recording_ran(tmp_path: Path) -> None:
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [-30, 1, 500])})
    source = RecordedBars(path)
    assert reasons(source, MONDAY, "AAPL", 3) == ["no_trade", "present", "no_trade"]


def test_what_the_file_holds_of_later_minutes_is_no_part_of_a_live_answer(tmp_path: Path) -> None:
    source = RecordedBars(recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [-30, *range(390)])}))
    now = MONDAY.open + 5 * MINUTE
    rows = source.bars(MONDAY, now - MINUTE, now - MINUTE, ["AAPL"], now, now)
    assert rows["reason"].to_pylist() == ["present"]
    assert left_out(rows) == {"pre_market": 1, "forming": 1}


def test_a_ticker_the_file_lacks_on_a_day_is_lost_and_the_reason_says_so(tmp_path: Path) -> None:
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0]), "MSFT": minutes(TUESDAY, [0])})
    source = RecordedBars(path)
    rows = source.bars(MONDAY, MONDAY.open, MONDAY.open, ["AAPL", "MSFT"], LONG_AFTER, LONG_AFTER).to_pylist()
    assert [row["reason"] for row in rows] == ["present", "lost"]
    assert rows[1]["detail"] == "bars.parquet has no row of this ticker on 2026-11-16"
    assert source.tickers() == ("AAPL", "MSFT")


def test_sessions_are_those_of_the_file_that_have_begun(tmp_path: Path) -> None:
    saturday = TUESDAY.open + timedelta(days=4)
    path = recording(
        tmp_path / "bars.parquet",
        {
            "AAPL": [
                *minutes(MONDAY, [5]),
                *minutes(TUESDAY, [5]),
                saturday,
                session_on(date(2026, 11, 18)).open - MINUTE,
            ]
        },
    )
    source = RecordedBars(path)
    assert source.sessions(LONG_AFTER, 9) == [MONDAY, TUESDAY]
    assert source.sessions(LONG_AFTER, 1) == [TUESDAY]
    assert source.sessions(TUESDAY.open - MINUTE, 9) == [MONDAY]
    assert source.sessions(MONDAY.open - MINUTE, 9) == []


def test_a_minute_is_the_same_live_and_in_history(tmp_path: Path) -> None:
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0, 2])})
    source = RecordedBars(path)
    minute = MONDAY.open + MINUTE
    live = source.bars(MONDAY, minute, minute, ["AAPL"], minute + MINUTE, LONG_AFTER).to_pylist()[0]
    later = source.bars(MONDAY, minute, minute, ["AAPL"], LONG_AFTER, LONG_AFTER).to_pylist()[0]
    assert live["reason"] == later["reason"] == "no_trade"
    assert (live["backfilled"], later["backfilled"]) == (False, True)


def test_the_minute_that_is_still_forming_is_refused(tmp_path: Path) -> None:
    source = RecordedBars(recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0])}))
    with pytest.raises(ValueError, match="has not closed"):
        source.bars(MONDAY, MONDAY.open, MONDAY.open, ["AAPL"], MONDAY.open, LONG_AFTER)


def test_a_session_the_file_does_not_hold_is_refused_with_those_it_does(tmp_path: Path) -> None:
    source = RecordedBars(recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0])}))
    with pytest.raises(RecordingError, match=r"has no session of 2026-11-17; it holds 1: 2026-11-16"):
        source.bars(TUESDAY, TUESDAY.open, TUESDAY.open, ["AAPL"], LONG_AFTER, LONG_AFTER)
    with pytest.raises(RecordingError, match="has no session of 2026-11-17"):
        source.session(TUESDAY.date)
    assert source.session(MONDAY.date) == MONDAY


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no file of recorded bars at .*none\.parquet; name one that is there"):
        RecordedBars(tmp_path / "none.parquet")


def test_a_file_that_is_no_parquet_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bars.parquet").write_text("ticker,timestamp\n")
    with pytest.raises(RecordingError, match="cannot be read as Parquet"):
        RecordedBars(tmp_path / "bars.parquet")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"ticker": ["AAPL"], "timestamp": [MONDAY.open], "close": [1.0]}).to_parquet(tmp_path / "bars.parquet")
    with pytest.raises(RecordingError, match="lacks the column high, low, open, volume"):
        RecordedBars(tmp_path / "bars.parquet")


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("timestamp", [datetime(2026, 11, 16, 14, 30)], "must be a timestamp with a time zone"),
        ("timestamp", ["2026-11-16 14:30"], "must be a timestamp with a time zone"),
        ("close", ["high"], "the column close of .* is of the wrong type"),
        ("ticker", [None], "rows without a ticker or timestamp"),
        ("ticker", ["aapl"], "the column ticker of .* cannot be used: no such ticker can exist: 'aapl'"),
    ],
)
def test_columns_of_the_wrong_kind_are_one_clear_error(
    tmp_path: Path, column: str, values: list[object], complaint: str
) -> None:
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0])})
    pd.read_parquet(path).assign(**{column: values}).to_parquet(path)
    with pytest.raises(RecordingError, match=complaint):
        RecordedBars(path)


def test_a_file_without_a_bar_in_regular_hours_is_one_clear_error(tmp_path: Path) -> None:
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [-1, 390])})
    with pytest.raises(RecordingError, match="no bar in regular trading hours: its 2 rows run from 2026-11-16T14:29"):
        RecordedBars(path)
    path = recording(tmp_path / "bars.parquet", {"AAPL": minutes(MONDAY, [0])})
    pd.read_parquet(path).head(0).to_parquet(path)
    with pytest.raises(RecordingError, match="has no rows"):
        RecordedBars(path)


def test_every_bar_of_a_recording_in_regular_hours_is_replayed_once(tmp_path: Path) -> None:
    made = recording(tmp_path / "made.parquet", {"AAPL": minutes(MONDAY, list(range(390)))})
    for path in [made, *RECORDINGS]:
        source = RecordedBars(path)
        stored = pd.read_parquet(path).rename(columns={"timestamp": "minute"})
        replayed = []
        for session in source.sessions(LONG_AFTER, 999):
            rows = source.bars(
                session, session.open, session.last_minute, source.tickers(), LONG_AFTER, LONG_AFTER
            ).to_pandas()
            assert len(rows) == session.length * len(source.tickers())
            assert set(rows["reason"]) <= {"present", "no_trade", "lost"}
            inside = stored["minute"].between(session.open, session.close, inclusive="left")
            present = rows[rows["reason"] == "present"].merge(stored[inside], on=["ticker", "minute"])
            assert len(present) == inside.sum()
            assert (present["close_x"] == present["close_y"]).all()
            replayed.append(len(present))
        assert sum(replayed)
