"""The benches, on so little that they take seconds: that they still run, and what they make of figures."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from stockpick_assets.backfill import Step, run
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.jobs import BACKFILL, LIVE
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, fine_instance
from stockpick_assets_tests.test_latency import live_job

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Imports a script of `bench/` by name, as if it had been started in a home where nothing has run."""
    monkeypatch.setenv("STOCKPICK_HOME", str(tmp_path / "empty"))
    monkeypatch.syspath_prepend(BENCH)
    return import_module


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An empty instance on this event log."""
    with fine_instance(tmp_path / "home") as fresh:
        yield fresh


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCH.glob("*.py")))
def test_a_bench_can_be_imported(bench: Any, script: str) -> None:
    assert isinstance(bench(script), ModuleType)


def test_the_definitions_that_are_measured_write_bars_and_count_the_seconds(
    bench: Any, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("ACCESS", "SECRET"):
        monkeypatch.setenv(f"STOCKPICK_S3_{key}_KEY", "of no use in a folder")
    session = bench("session")
    settings: Settings = bench("trivial_flow").simulated(2, 1).model_copy(update={"store_root": str(tmp_path)})
    definitions = session.measured_definitions(settings)
    window = session.flow_of(settings).window
    selection = window.select(window.sessions[0].open, window.sessions[0].open)
    session.spent_in_tables.clear()
    run(definitions, instance, Step(BACKFILL, "a minute", ("raw_prices",), selection=selection), lambda _: None)
    assert Store.from_settings(settings).contents("raw_prices").rows == 2
    assert session.spent_in_tables["simulated__raw_prices"] > 0


def answer(instance: dg.DagsterInstance, first: datetime, last: datetime) -> None:
    """A live run of the minutes from first to last that succeeds."""
    job = live_job()
    run = instance.create_run_for_job(job, tags=FLOW.window.select(first, last).tags())
    launch = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_STARTING.value, job_name=LIVE)
    instance.report_dagster_event(launch, run.run_id)
    execute_run(InMemoryJob(job), run, instance)


def test_each_minute_that_a_live_run_answered_counts_from_its_own_close(
    bench: Any, instance: dg.DagsterInstance
) -> None:
    """The first run makes up for late minutes; the second answers a minute, and after a failure the third three."""
    live_minute = bench("live_minute")
    at = [SESSION.open + number * MINUTE for number in range(6)]
    clock = MarketClock(datetime.now(UTC) - timedelta(seconds=30), at[5] + MINUTE, speed=2.0)
    answer(instance, at[0], at[1])
    answer(instance, at[2], at[2])
    instance.create_run_for_job(
        live_job(), tags=FLOW.window.select(at[3], at[3]).tags(), status=dg.DagsterRunStatus.FAILURE
    )
    answer(instance, at[3], at[5])
    runs = live_minute.answered(instance, clock, 4)
    assert [[latency.minute for latency in run] for run in runs] == [[at[5], at[4], at[3]], [at[2]]]
    newest, middle, oldest = (latency.close_to_last_commit_seconds for latency in runs[0])
    assert (middle - newest, oldest - newest) == pytest.approx((30, 60))
    figures = live_minute.live_figures(instance, clock, runs)
    assert (figures["live_minutes"], figures["live_runs"]) == (4, 2)
    assert (figures["failed_live_runs"], figures["coalesced_minutes"]) == (1, 3)
    assert figures["close_to_last_commit_s_p50"] == pytest.approx(oldest)
    assert sum(map(len, live_minute.answered(instance, clock, 5))) == 4


def test_growth_is_more_than_linear_where_the_last_step_is(bench: Any) -> None:
    growth = bench("growth")
    seconds = dict.fromkeys(((10, 39), (10, 130), (10, 390), (30, 39), (30, 130), (30, 390), (100, 39)), 1.0)
    sizes = [growth.Size(*size, run_s) for size, run_s in {**seconds, (100, 130): 1.0, (100, 390): 9.0}.items()]
    assert growth.exponent(sizes, lambda size: size.run_s) < 1
    assert growth.exponent_of_largest_step(sizes, lambda size: size.run_s) == pytest.approx(2)


def test_live_minutes_and_a_session_are_measured_against_the_floor(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    market_data, accounts = bench("market_data"), []

    class Budget(YahooBudget):
        def __init__(self, path: Path | str, *others: Any) -> None:
            super().__init__(path, *others)
            accounts.append(path)

    monkeypatch.setattr(market_data, "YahooBudget", Budget)
    market_data.main(["--minutes", "2", "--tickers", "3", "--in-flight", "2", "--latency-ms", "5"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["tickers"], figures["in_flight"], figures["floor_s_at_5_ms"]) == (3, 2, 0.01)
    assert figures["floor_s_at_5_ms"] <= figures["minute_s_p50_at_5_ms"] <= figures["minute_s_p95_at_5_ms"]
    assert figures["minute_p95_over_floor_at_5_ms"] >= 1
    assert figures["session_s_at_5_ms"] >= figures["floor_s_at_5_ms"]
    assert figures["session_waited_s_at_5_ms"] == pytest.approx(2 * 60 / 150, abs=0.2)
    assert [Path(account).name for account in accounts] == ["yahoo_budget.sqlite"]


def test_each_fault_is_a_row_of_what_yfinance_gives_and_what_is_stored(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yahoo_faults = bench("yahoo_faults")
    names = ("500", "another ticker", "a close above the high")
    monkeypatch.setattr(yahoo_faults, "FAULTS", {name: yahoo_faults.FAULTS[name] for name in names})
    yahoo_faults.main()
    *table, last = capsys.readouterr().out.splitlines()
    assert table[2] == (
        "| 500 | an empty frame | raises JSONDecodeError | 2 | 10 provider_error; HTTP 500: &lt;html>oops&lt;/html> |"
    )
    assert table[3].startswith(
        "| another ticker | wrong: taken for the answer | wrong: taken for the answer | 1 | 10 p"
    )
    assert "| 1 wrong of 11 bars | 1 wrong of 11 bars | 1 | 9 present, 1 quarantined" in table[4]
    figures = json.loads(last)
    assert (figures["faults"], figures["with_exceptions_wrong"], figures["stockpick_wrong"]) == (3, 2, 0)


def test_the_last_line_is_the_figures_and_the_load(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench("common").report({"run_s": 1.2345, "runs": 3, "storage": "sqlite"})
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.pop("load") >= 0
    assert figures == {"run_s": 1.23, "runs": 3, "storage": "sqlite"}


def test_numpys_ridge_is_what_mllib_is_measured_against(bench: Any) -> None:
    """On so many rows that the penalty is nothing, a label that is made of two features is found."""
    training_bench = bench("training")
    training = training_bench.training_set(40_000)
    assert training.num_rows == 40_000 and len(set(training["session"].to_pylist())) == 2
    names: list[str] = training_bench.NAMES
    first, last = (training[name].to_numpy() for name in (names[0], names[-1]))
    index = training.column_names.index("label")
    made = training.set_column(index, "label", pa.array(0.5 + 3 * first - last))
    coefficients = training_bench.ridge(made)
    assert coefficients[[0, -2, -1]] == pytest.approx([3, -1, 0.5], rel=0.03)
    assert abs(coefficients[1:-2]).max() < 0.03
    assert training_bench.forecasts(training).num_rows == 40_000
