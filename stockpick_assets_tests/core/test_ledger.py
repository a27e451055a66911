"""What two accounts of the same partitions differ in."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.ledger import blocks, compare

MINUTES = [f"2026-11-20 {9 + minute // 60:02}:{minute % 60:02}" for minute in range(30, 90)]
SESSIONS = ["2026-11-18", "2026-11-19", "2026-11-20"]
TICKERS = ["AAPL", "AMD", "MSFT", "NVDA"]
KEYS = [f"{minute}|{ticker}" for minute, ticker in product(MINUTES, TICKERS)]


@given(st.sets(st.sampled_from(KEYS)))
def test_blocks_have_every_key_once_and_no_other(keys: set[str]) -> None:
    found = [key for block in blocks(keys, MINUTES) for key in block.keys]
    assert sorted(found) == sorted(keys)


@given(st.integers(0, 59), st.integers(0, 59), st.integers(0, 3), st.integers(0, 3))
def test_a_filled_rectangle_is_one_block(first: int, last: int, left: int, right: int) -> None:
    rows, tickers = MINUTES[min(first, last) : max(first, last) + 1], TICKERS[min(left, right) : max(left, right) + 1]
    found = list(blocks({f"{minute}|{ticker}" for minute, ticker in product(rows, tickers)}, MINUTES))
    assert [(list(block.rows), list(block.tickers)) for block in found] == [(rows, tickers)]


@given(st.sets(st.sampled_from(KEYS)), st.sets(st.sampled_from(KEYS)))
def test_two_accounts_agree_when_they_have_the_same_keys_and_only_then(held: set[str], known: set[str]) -> None:
    found = compare(held, known, MINUTES)
    assert found.agrees == (held == known)
    assert {key for block in found.unknown for key in block.keys} == held - known
    assert {key for block in found.unheld for key in block.keys} == known - held
    assert (found.held, found.known) == (len(held), len(known))


def test_a_gap_ends_a_block() -> None:
    keys = {f"{minute}|AAPL" for minute in (*MINUTES[:2], *MINUTES[3:5])}
    assert [str(block) for block in blocks(keys, MINUTES)] == [
        "2026-11-20 09:30 to 2026-11-20 09:31 New York × AAPL",
        "2026-11-20 09:33 to 2026-11-20 09:34 New York × AAPL",
    ]


def test_sessions_are_blocks_without_tickers() -> None:
    found = list(blocks({"2026-11-19", "2026-11-20"}, SESSIONS))
    assert [block.keys for block in found] == [["2026-11-19", "2026-11-20"]]
    assert str(found[0]) == "2026-11-19 to 2026-11-20"


def test_many_tickers_are_told_as_a_number() -> None:
    (block,) = blocks(set(KEYS), MINUTES)
    assert str(block) == "2026-11-20 09:30 to 2026-11-20 10:29 New York × 4 tickers"
