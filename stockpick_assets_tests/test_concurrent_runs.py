"""A live run, a backfill and runs of single tickers at one time, on the same tables and the same Dagster."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from stockpick_assets.core.market_hours import minute_label
from stockpick_assets_tests.simulated_market import TICKERS, SimulatedMarket, simulated_market

SESSION = "2025-12-01"


def minute(number: int) -> str:
    return f"{SESSION} {9 + (30 + number) // 60:02}:{(30 + number) % 60:02}"


def of_range(first: int, last: int, tickers: tuple[str, ...] = TICKERS) -> tuple[str, str]:
    return f"{minute(first)}|{tickers[0]}", f"{minute(last)}|{tickers[-1]}"


def test_runs_at_one_time_lose_no_row_and_leave_each_bar_once(tmp_path: Path) -> None:
    with simulated_market(tmp_path, date(2025, 12, 1), 1, f"{SESSION} 12:00") as market:
        works = [
            [of_range(number, number) for number in range(60, 64)],
            [of_range(0, 29), of_range(30, 59)],
            [of_range(number, number + 1, ("AMD",)) for number in (70, 72, 74)],
        ]

        def work(ranges: list[tuple[str, str]]) -> list[bool]:
            return [market.run(*keys).success for keys in ranges]

        with ThreadPoolExecutor(len(works)) as pool:
            outcomes = list(pool.map(work, works))
        assert outcomes == [[True] * len(ranges) for ranges in works]

        expected = {f"{minute(number)}|{ticker}" for number in range(64) for ticker in TICKERS}
        expected |= {f"{minute(number)}|AMD" for number in range(70, 76)}
        assert market.materialized() == expected
        assert versions(market) == Counter(expected)


def test_runs_of_the_same_minutes_at_one_time_leave_one_answer_for_each(tmp_path: Path) -> None:
    with simulated_market(tmp_path, date(2025, 12, 1), 1, f"{SESSION} 12:00") as market:
        with ThreadPoolExecutor(3) as pool:
            runs = list(pool.map(lambda _: market.run(*of_range(0, 4)), range(3)))
        assert [run.success for run in runs] == [True] * 3
        expected = {f"{minute(number)}|{ticker}" for number in range(5) for ticker in TICKERS}
        assert market.materialized() == expected
        assert versions(market) == Counter(expected)


def versions(market: SimulatedMarket) -> Counter[str]:
    """How many versions of each bar the table holds."""
    rows: list[dict[str, Any]] = market.store.read("raw_prices", every_version=True).to_pylist()
    return Counter(f"{minute_label(row['minute'])}|{row['ticker']}" for row in rows)
