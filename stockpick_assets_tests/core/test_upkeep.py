"""Which sessions are to be compacted."""

from datetime import date

from stockpick_assets.core.upkeep import MOST_FILES, MOST_FILES_WHILE_OPEN, crowded_sessions

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


def files(count: int) -> list[str]:
    return [f"{number}.parquet" for number in range(count)]


def test_a_session_that_trades_may_stand_in_more_files_than_one_that_is_over() -> None:
    held = {TUESDAY: files(MOST_FILES_WHILE_OPEN), MONDAY: files(MOST_FILES)}
    assert crowded_sessions(held, TUESDAY) == []
    assert crowded_sessions(held, MONDAY) == [TUESDAY]
    assert crowded_sessions(held, None) == [TUESDAY]


def test_crowded_sessions_come_oldest_first() -> None:
    held = {TUESDAY: files(MOST_FILES_WHILE_OPEN + 1), MONDAY: files(MOST_FILES + 1)}
    assert crowded_sessions(held, TUESDAY) == [MONDAY, TUESDAY]
