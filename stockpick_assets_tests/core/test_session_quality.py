"""A session's table: every expected minute once, whatever was stored of it, and which minutes are expected."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.quality import UNANSWERED, AnswerMatrix
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.session_quality import (
    Remark,
    SessionQuality,
    ThinMinute,
    expected_minutes,
    remarks,
    session_quality,
)
from stockpick_assets_tests.rows import SESSION, bars

TICKERS = ("AAPL", "MSFT", "NVDA")
MINUTES = [SESSION.open + place * MINUTE for place in range(4)]


def table(**changes: dict[tuple[str, int], Any]) -> pa.Table:
    """A row for each ticker × minute, on time, but for what is said of a column of a ticker and place."""
    rows = bars(len(MINUTES), tickers=TICKERS).to_pylist()
    for row in rows:
        place = row["ticker"], MINUTES.index(row["minute"])
        row |= {"backfilled": False} | {name: cells[place] for name, cells in changes.items() if place in cells}
    return pa.Table.from_pylist(rows, schema=bars(1).schema)


def answers(rows: pa.Table) -> AnswerMatrix:
    return AnswerMatrix.of(rows, TICKERS, MINUTES)


def quality(rows: pa.Table, *earlier: pa.Table) -> SessionQuality:
    """The table of the newest rows, with what was stored before them."""
    return session_quality(answers(rows), pa.concat_tables([*earlier, rows]))


def test_a_row_says_what_became_of_a_tickers_minutes() -> None:
    found = quality(
        table(
            reason={("MSFT", 0): "no_trade", ("MSFT", 2): "pending", ("MSFT", 3): "quarantined"},
            volume={("AAPL", 1): None, ("MSFT", 0): None},
            backfilled={("MSFT", 1): True, ("MSFT", 2): True},
        )
    )
    apple, microsoft = found.tickers["AAPL"], found.tickers["MSFT"]
    assert (apple.reasons, apple.withheld, apple.late, apple.unexplained) == ({"present": 4}, 1, 0, 0)
    assert (apple.first, apple.last) == (MINUTES[0], MINUTES[3])
    assert microsoft.reasons == {"present": 1, "no_trade": 1, "quarantined": 1, "pending": 1}
    assert (microsoft.first, microsoft.last) == (MINUTES[1], MINUTES[1])
    assert (microsoft.withheld, microsoft.late, microsoft.unexplained, microsoft.expected) == (0, 2, 1, 4)
    assert found.together.reasons == {"present": 9, "no_trade": 1, "quarantined": 1, "pending": 1}
    assert (found.together.withheld, found.together.late, found.together.unexplained) == (1, 2, 1)


def test_a_minute_that_was_stored_several_times_is_revised_once() -> None:
    first, second = bars(2, tickers=("AAPL",)), bars(1, tickers=("AAPL",))
    found = quality(table(), first, second)
    assert [row.revised for row in found.tickers.values()] == [2, 0, 0]
    assert found.together.revised == 2


def test_a_minute_is_late_as_its_first_bar_was_and_without_any_as_its_first_answer() -> None:
    revised, healed, on_time, overdue = ("AAPL", 0), ("AAPL", 1), ("MSFT", 0), ("MSFT", 1)
    first = table(
        backfilled={overdue: True}, reason={healed: "provider_error", on_time: "pending", overdue: "rate_limited"}
    )
    found = quality(
        table(
            backfilled=dict.fromkeys((revised, healed, on_time, overdue), True),
            reason=dict.fromkeys((on_time, overdue), "provider_error"),
        ),
        first,
    )
    assert [row.late for row in found.tickers.values()] == [1, 1, 0], "the healed and the overdue one"
    assert found.together.late == 2


def test_a_ticker_without_a_row_is_unanswered_in_every_minute() -> None:
    found = quality(bars(4, tickers=("AAPL", "MSFT")))
    nvidia = found.tickers["NVDA"]
    assert (nvidia.reasons, nvidia.unexplained) == ({UNANSWERED: 4}, 4)
    assert (nvidia.first, nvidia.last, nvidia.withheld, nvidia.late, nvidia.revised) == (None, None, 0, 0, 0)


def test_the_thinnest_minutes_come_first_with_who_is_missing_and_could_have_a_bar() -> None:
    reasons = {
        ("AAPL", 1): "no_trade",
        ("AAPL", 2): "lost",
        ("NVDA", 2): "pending",
        ("AAPL", 3): "not_listed",
        ("MSFT", 3): "no_trade",
    }
    found = quality(table(reason=reasons))
    assert found.thinnest == (
        ThinMinute(MINUTES[2], 3, ("AAPL", "NVDA")),
        ThinMinute(MINUTES[3], 2, ("MSFT",)),
        ThinMinute(MINUTES[1], 3, ("AAPL",)),
    )


def test_remarks_are_of_the_minutes_that_are_not_plainly_present() -> None:
    rows = table(
        reason={("MSFT", 0): "provider_error"},
        detail={("MSFT", 0): "HTTP 500", ("MSFT", 2): "volume withheld: it was -1", ("AAPL", 1): "of another ticker"},
        volume={("MSFT", 0): None, ("MSFT", 2): None, ("MSFT", 3): 0.0},
    )
    said = remarks(answers(rows), rows, "MSFT")
    assert [(remark.minute, remark.reason, remark.detail) for remark in said] == [
        (MINUTES[0], "provider_error", "HTTP 500"),
        (MINUTES[2], "present", "volume withheld: it was -1"),
        (MINUTES[3], "present", None),
    ]


def test_a_minute_without_a_row_is_remarked_on() -> None:
    rows = bars(3, tickers=TICKERS)
    assert remarks(answers(rows), rows, "NVDA") == [Remark(MINUTES[3], UNANSWERED, None, ())]


def test_a_minute_that_was_revised_is_remarked_on_with_each_of_its_versions() -> None:
    first, rows = bars(1, start=2, tickers=("MSFT", "NVDA"), close=99.0), table()
    (said,) = remarks(answers(rows), pa.concat_tables([first, rows]), "MSFT")
    assert (said.minute, said.reason, said.detail) == (MINUTES[2], "present", None)
    assert [version["close"] for version in said.versions] == [99.0, 100.0]
    assert list(said.versions[0]) == [
        *("fetched_at", "known_at", "open", "high", "low", "close", "volume", "split", "reason")
    ]


def test_of_a_session_that_is_over_every_minute_is_expected() -> None:
    assert expected_minutes(SESSION, None, SESSION.close + timedelta(days=1)) == list(SESSION.minutes())


def test_of_a_session_under_way_a_minute_is_expected_once_it_has_a_row_or_is_overdue() -> None:
    now = SESSION.open + timedelta(minutes=10)
    assert expected_minutes(SESSION, None, now)[-1] == SESSION.open + 4 * MINUTE
    assert expected_minutes(SESSION, SESSION.open + 2 * MINUTE, now)[-1] == SESSION.open + 4 * MINUTE
    assert expected_minutes(SESSION, SESSION.open + 8 * MINUTE, now)[-1] == SESSION.open + 8 * MINUTE
    assert expected_minutes(SESSION, None, SESSION.open + 2 * MINUTE) == []


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(TICKERS), st.integers(0, 3)), st.sampled_from([reason.value for reason in Reason])
    ),
    st.sets(st.tuples(st.sampled_from(TICKERS), st.integers(0, 3))),
)
def test_the_rows_of_the_tickers_add_up_to_that_of_all(
    reasons: dict[tuple[str, int], str], missing: set[tuple[str, int]]
) -> None:
    rows = table(reason=reasons)
    kept = [(row["ticker"], MINUTES.index(row["minute"])) not in missing for row in rows.to_pylist()]
    found = quality(rows.filter(pa.array(kept)), bars(2, tickers=TICKERS))
    each = found.tickers.values()
    assert found.together.expected == len(TICKERS) * len(MINUTES)
    for name in ("expected", "unexplained", "withheld", "revised", "late"):
        assert sum(getattr(row, name) for row in each) == getattr(found.together, name)
    assert found.together.reasons.get(UNANSWERED, 0) == len(missing)
