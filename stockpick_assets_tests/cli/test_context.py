"""What a command makes of what was typed."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.cli.context import Platform
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.definitions import build_flow
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.settings import Settings


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    settings = Settings(home=tmp_path, last_session=date(2025, 12, 1), sessions=3, tickers=("AAPL",))
    flow = build_flow(settings, SimulatedExchange(7, ("AAPL",)), datetime(2025, 12, 1, 20, 0, tzinfo=UTC))
    return Platform(settings, flow, dg.Definitions())


def test_sessions_are_those_from_one_date_to_the_other(platform: Platform) -> None:
    days = [session.label() for session in platform.sessions("2025-11-26", "2025-11-28")]
    assert days == ["2025-11-26", "2025-11-28"]


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ("2025-11-27", "2025-12-01", r"2025-11-27 \(Thursday\) is no trading session .*nearest are 2025-11-26 and"),
        ("2025-11-28", "2025-11-29", r"2025-11-29 \(Saturday\) is no trading session"),
        ("2025-11-25", "2025-12-01", r"session 2025-11-25 is outside the window, which holds 2025-11-26 to 2025-12-01"),
        ("2025-12-01", "2025-12-02", r"session 2025-12-02 is outside the window"),
        ("2025-12-01", "2025-11-28", r"2025-12-01 comes after 2025-11-28; the earlier session comes first"),
        ("1990-01-02", "2025-12-01", r"1990-01-02 lies outside the exchange calendar"),
        ("Monday", "2025-12-01", r"'Monday' is no date; write it as 2026-11-23"),
    ],
)
def test_a_date_that_is_no_session_of_the_window_is_refused_with_the_reason(
    platform: Platform, first: str, last: str, says: str
) -> None:
    with pytest.raises(StockpickError, match=says):
        platform.sessions(first, last)
