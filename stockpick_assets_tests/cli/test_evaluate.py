"""What `stockpick evaluate` and `prove` show of sessions that were walked through, and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stockpick_assets.cli.evaluation import Evaluation
from stockpick_assets.cli.picture import picture
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.market_hours import Session, sessions_until
from stockpick_assets.core.performance import performance
from stockpick_assets.core.schemas import PREDICTIONS, RAW_PRICES, TRAINING_SET
from stockpick_assets.proof import chosen_minutes, newest_provable
from stockpick_assets.walk_forward import Completed, Market
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.rows import SESSION

TICKERS = tuple(f"T{number:02d}" for number in range(12))
GRID = Grid(SESSION, TICKERS)
MARKET = Market("recorded", (SESSION,), TICKERS, lambda session: pa.table({}))


def table(schema: pa.Schema, **matrices: np.ndarray) -> pa.Table:
    """Rows of every minute and ticker of the session; a column that is not given is null."""
    cells = GRID.cells(SESSION.open, SESSION.last_minute, TICKERS)
    given = {
        **GRID.keys(cells, "recorded"),
        **{name: pa.array(GRID.at(each, cells)) for name, each in matrices.items()},
    }
    nothing = pa.nulls(len(cells.minutes))
    return pa.table([given.get(field.name, nothing.cast(field.type)) for field in schema], schema=schema)


@pytest.fixture(scope="module")
def completed() -> Completed:
    """A session whose champion knows half of what comes."""
    random = np.random.default_rng(1)
    returns = random.normal(0, 1e-3, GRID.shape)
    score = returns + random.normal(0, 1e-3, GRID.shape)
    predictions = table(
        PREDICTIONS.columns, score=score, score_linear=score, p_profit=1 / (1 + np.exp(-500 * (score - 1e-4)))
    )
    training = table(
        TRAINING_SET.columns,
        close_return=returns,
        obtainable_return=returns,
        return_1=random.normal(0, 1e-3, GRID.shape),
        sig=np.full(GRID.shape, 1e-3),
    )
    measured = performance(predictions, training, training, SESSION, "recorded", 2.0)
    return Completed(SESSION, table(RAW_PRICES.columns, close=1 + returns), training, predictions, measured)


@pytest.fixture(scope="module")
def evaluation(completed: Completed) -> Evaluation:
    made = Evaluation(MARKET, 2.0)
    made.add(completed)
    return made


def test_the_table_has_a_line_for_each_model_and_says_what_is_not_tradable(evaluation: Evaluation) -> None:
    text = evaluation.as_text()
    assert text.startswith("RECORDED: 12 tickers, 1 session 2026-11-20, cost 2 bp\n")
    lines = [line.split() for line in text.splitlines()]
    assert [line[1] for line in lines if line[:1] == ["2026-11-20"]] == ["linear", "naive"]
    assert "* not tradable" in text
    assert "- linear: obtainable IC +0." in text and "more than noise" in text
    assert "12 tickers: too few" in text


def test_the_object_has_the_figures_of_the_table_and_of_the_picture(evaluation: Evaluation) -> None:
    told = json.loads(json.dumps(evaluation.as_json(), default=str))
    assert told["performance"][0]["session"] == "2026-11-20"
    assert told["summaries"][0]["ic_obtainable"]["value"] == pytest.approx(told["performance"][0]["ic_obtainable"])
    assert {name: len(rows) > 0 for name, rows in told["figures"].items()} == {
        "sessions": True,
        "half_hours": True,
        "groups": True,
        "reliability": True,
    }
    assert sum(bin["forecasts"] for bin in told["figures"]["reliability"]) == GRID.shape[0] * GRID.shape[1]


@pytest.mark.parametrize(("minutes", "tickers", "said"), [(13, 12, "13 minutes"), (390, 1, "1 ticker:")])
def test_a_session_of_few_minutes_or_of_one_ticker_has_its_line_and_is_in_no_mean(
    completed: Completed, minutes: int, tickers: int, said: str
) -> None:
    cells = GRID.cells(SESSION.open, SESSION.minutes()[minutes - 1], TICKERS[:tickers])
    bars = pa.table({**GRID.keys(cells, "recorded"), "close": [1.0] * (minutes * tickers)})
    few = Evaluation(MARKET, 2.0)
    few.add(replace(completed, bars=bars))
    lines = [line.split() for line in few.as_text().splitlines()]
    assert [line[1] for line in lines if line[:1] == ["2026-11-20"]] == ["linear", "naive"]
    told = few.as_json()
    assert told["in_no_mean"] == {"2026-11-20": {"minutes": minutes, "tickers": tickers}}
    assert told["summaries"] == [] and not any(told["figures"].values())
    assert "2026-11-20 is in no mean" in told["conclusions"][-1] and said in told["conclusions"][-1]


def bars_of(counts: dict[Session, int]) -> Market:
    """Sessions of so many minutes with bars."""

    def versions(session: Session) -> pa.Table:
        return pa.table({"minute": session.minutes()[: counts[session]].to_numpy(), "close": [1.0] * counts[session]})

    return Market("recorded", tuple(counts), TICKERS, versions)


def test_the_newest_session_that_is_long_enough_is_proved() -> None:
    first, second, third = sessions_until(SESSION.date, 3)
    assert newest_provable(bars_of({first: 390, second: 90, third: 13}), 3) == second
    assert newest_provable(bars_of({first: 15, second: 15, third: 13}), 3) == third, "which is refused"


def test_a_session_that_is_too_short_to_prove_is_refused_with_how_long_it_is() -> None:
    versions = bars_of({SESSION: 13}).versions(SESSION)
    with pytest.raises(StockpickError, match="13 minutes of this session have a bar: too few to choose 3"):
        chosen_minutes(versions, 3, np.random.default_rng(1))


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.html", b"<!DOCTYPE")])
def test_the_picture_is_drawn_without_a_browser_or_a_network(
    evaluation: Evaluation, tmp_path: Path, name: str, begins: bytes
) -> None:
    picture(evaluation.title, **evaluation.figures()).save(str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_the_picture_of_sessions_without_forecasts_is_empty_and_no_error(tmp_path: Path) -> None:
    nothing = Evaluation(MARKET, 2.0)
    picture(nothing.title, **nothing.figures()).save(str(tmp_path / "empty.svg"))
    assert "no model is measured" in nothing.as_text()


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A file of one minute of one ticker."""
    columns = {name: [10.0] for name in ("open", "high", "low", "close", "volume")}
    minute = pa.array([SESSION.open], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"ticker": ["AAPL"], "timestamp": minute, **columns}), tmp_path / "bars.parquet")
    return tmp_path / "bars.parquet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "bars.parquet", "--picture", "a.gif"], "ends with one of .svg, .png, .html"),
        (["evaluate", "bars.parquet", "--forecasts", "nowhere/a.parquet"], "nowhere/a.parquet: there is no folder /"),
        (["evaluate", "nowhere.parquet"], "there is no file of recorded bars at nowhere.parquet"),
        (
            ["prove", "2026-11-19", "--bars", "bars.parquet"],
            "recorded has no bars of 2026-11-19; its sessions (1) are 2026-11-20",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_started(
    bars: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(bars.parent)
    answer = stockpick(bars.parent / "home", *arguments)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_store_without_bars_is_told(tmp_path: Path) -> None:
    answer = stockpick(tmp_path / "home", "evaluate", STOCKPICK_STORE_ROOT=str(tmp_path / "tables"))
    assert answer.returncode == 1
    assert "table raw_prices" in answer.stderr and "has not been written" in answer.stderr
