"""The checks that raw_prices makes of itself: all are declared, run with every run, and say what they found."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.checks import CHECKS, checked
from stockpick_assets.core.answers import Request, raw_prices
from stockpick_assets.core.bars import Failure, no_bars
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.reasons import Reason
from stockpick_assets.partitions import Window
from stockpick_assets_tests.rows import bars
from stockpick_assets_tests.simulated_market import RAW_PRICES, SimulatedMarket, simulated_market

SESSION = session_on(date(2026, 11, 20))
TICKERS = tuple(f"T{number:02}" for number in range(40))
SELECTION = Window((SESSION,), TICKERS).select(SESSION.open, SESSION.open + 2 * MINUTE)
NAMES = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedMarket]:
    """A simulated market five minutes into a session."""
    folder: Path = tmp_path_factory.mktemp("market")
    with simulated_market(folder, SESSION.date, 1, "2026-11-20 09:35") as found:
        yield found


def test_every_check_runs_with_a_run_of_raw_prices_and_passes_on_the_simulated_exchange(
    market: SimulatedMarket,
) -> None:
    result = market.run("2026-11-20 09:30|AAPL", "2026-11-20 09:33|MSFT")
    assert result.success
    made = result.get_asset_check_evaluations()
    assert [(evaluation.check_name, evaluation.passed) for evaluation in made] == [(name, True) for name in NAMES]
    declared = market.definitions.resolve_asset_graph().get_check_keys_for_assets({RAW_PRICES})
    assert {key.name for key in declared} == set(NAMES)


def test_a_check_says_what_it_found_in_words_and_in_numbers() -> None:
    found = {result.check_name: result for result in checked(bars(3, tickers=TICKERS), SELECTION)}
    assert list(found) == NAMES
    assert all(result.passed for result in found.values())
    assert found["every_minute_is_answered"].description == "120 expected: 120 present"
    numbers = found["minutes_are_covered"].metadata
    assert numbers["coverage"] == dg.FloatMetadataValue(1.0)
    assert numbers["minutes below the floor"] == dg.IntMetadataValue(0)


def test_minutes_that_must_be_asked_for_again_are_an_error_and_thin_or_stale_ones_a_warning() -> None:
    request = Request(SESSION, SELECTION.first, SELECTION.last, TICKERS, SELECTION.last + 2 * MINUTE, SESSION.close)
    refused = Failure(Reason.RATE_LIMITED, "HTTP 429")
    rows = raw_prices("simulated", request, dict.fromkeys(TICKERS, no_bars(refused)))
    failed = {result.check_name: result.severity for result in checked(rows, SELECTION) if not result.passed}
    assert failed == {
        "every_minute_is_answered": dg.AssetCheckSeverity.ERROR,
        "minutes_are_covered": dg.AssetCheckSeverity.WARN,
        "bars_are_fresh": dg.AssetCheckSeverity.WARN,
    }
