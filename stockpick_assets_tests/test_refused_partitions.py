"""Partitions that cannot be run, as a person meets them: a run that fails with the reason, or none at all."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._check import CheckError

from stockpick_assets.assets.flow import SESSIONS_A_RUN
from stockpick_assets_tests.simulated_market import SimulatedMarket, cause_of, simulated_market

# Wednesday, Friday until 13:00 as Thursday is a holiday, and Monday, of which an hour is over.
WEDNESDAY, FRIDAY, MONDAY = "2025-11-26", "2025-11-28", "2025-12-01"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedMarket]:
    folder: Path = tmp_path_factory.mktemp("market")
    with simulated_market(folder, date(2025, 12, 1), 3, f"{MONDAY} 10:30") as market:
        yield market


def nothing_was_written(market: SimulatedMarket) -> bool:
    return not market.materialized() and not market.store.exists("raw_prices")


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ("2025-11-27 09:30|AAPL", "2025-11-27 09:31|MSFT", "2025-11-27 (Thursday) is no trading session"),
        ("2025-11-29 09:30|AAPL", "2025-11-29 09:31|MSFT", "2025-11-29 (Saturday) is no trading session"),
        (f"{FRIDAY} 13:00|AAPL", f"{FRIDAY} 13:01|MSFT", "whose bars start 2025-11-28 09:30 to 2025-11-28 12:59"),
        (f"{FRIDAY} 12:58|AAPL", f"{FRIDAY} 13:01|MSFT", "2025-11-28 13:01 New York is outside the session"),
        (f"{WEDNESDAY} 15:59|AAPL", f"{WEDNESDAY} 16:00|MSFT", "2025-11-26 16:00 New York is outside the session"),
        (f"{WEDNESDAY} 09:35|AAPL", f"{WEDNESDAY} 09:31|MSFT", "the earlier minute comes first"),
        (f"{WEDNESDAY} 09:31|MSFT", f"{WEDNESDAY} 09:31|AAPL", "MSFT comes after AAPL; the earlier ticker comes first"),
        (f"{MONDAY} 10:29|AAPL", f"{MONDAY} 10:30|MSFT", "ask for minutes up to 2025-12-01 10:29"),
    ],
)
def test_a_range_that_cannot_be_run_fails_its_run_with_the_reason_and_writes_nothing(
    market: SimulatedMarket, first: str, last: str, says: str
) -> None:
    result = market.run(first, last)
    assert not result.success
    cause = cause_of(result)
    assert cause.startswith("stockpick_assets.partitions.SelectionError: simulated/raw_prices")
    assert all(end.split("|")[0] in cause for end in (first, last))
    assert says in cause
    assert len(cause.splitlines()) == 1
    assert nothing_was_written(market)


@pytest.mark.parametrize(
    ("first", "last", "error", "says"),
    [
        ("2025-11-25 09:30|AAPL", "2025-11-25 09:31|MSFT", CheckError, "is before the partitions definition start"),
        ("2025-12-02 09:30|AAPL", "2025-12-02 09:31|MSFT", CheckError, "after the partitions definition end"),
        (f"{WEDNESDAY} 09:30|AAPL", f"{WEDNESDAY} 09:31|TSLA", dg.DagsterInvalidInvocationError, "TSLA"),
        (WEDNESDAY, WEDNESDAY, CheckError, "Expected 2 partition keys in partition key string 2025-11-26"),
        ("tomorrow|AAPL", f"{WEDNESDAY} 09:31|MSFT", ValueError, "'tomorrow' does not match format"),
    ],
)
def test_a_range_that_is_not_in_the_window_is_refused_in_dagsters_words_and_starts_no_run(
    market: SimulatedMarket, first: str, last: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        market.run(first, last)
    assert market.instance.get_runs(limit=1)[0].status is dg.DagsterRunStatus.NOT_STARTED
    assert nothing_was_written(market)


@pytest.mark.parametrize(
    "key",
    [
        "2025-11-25 09:30|AAPL",
        "2025-11-27 09:30|AAPL",
        "2025-11-29 09:30|AAPL",
        f"{FRIDAY} 13:00|AAPL",
        f"{WEDNESDAY} 16:00|AAPL",
        f"{WEDNESDAY} 09:30|TSLA",
    ],
)
def test_a_partition_that_does_not_exist_is_refused_in_dagsters_words_and_makes_no_run(
    market: SimulatedMarket, key: str
) -> None:
    runs = market.instance.get_runs_count()
    with pytest.raises(dg.DagsterUnknownPartitionError, match="Could not find a partition with key"):
        market.run(key)
    assert market.instance.get_runs_count() == runs
    assert nothing_was_written(market)


def test_a_minute_that_has_not_closed_is_refused_as_a_single_partition_too(market: SimulatedMarket) -> None:
    result = market.run(f"{MONDAY} 10:30|AAPL")
    assert "2025-12-01 10:30 has not closed at 2025-12-01 10:30 market time" in cause_of(result)
    assert nothing_was_written(market)


def test_a_run_of_more_sessions_than_memory_allows_is_refused_with_the_command_that_makes_a_run_of_each(
    tmp_path: Path,
) -> None:
    with simulated_market(tmp_path, date(2025, 12, 1), SESSIONS_A_RUN + 1, f"{MONDAY} 10:30") as market:
        refused = market.run("2025-11-21 15:59|AAPL", f"{MONDAY} 09:30|AAPL")
        assert "6 sessions are more than the 5 that a run may hold in memory" in cause_of(refused)
        assert "`stockpick backfill 2025-11-21 2025-12-01` make a run of each" in cause_of(refused)
        assert nothing_was_written(market)
        assert market.run("2025-11-24 15:59|AAPL", f"{MONDAY} 09:30|AAPL").success
