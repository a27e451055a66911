"""What `stockpick quality` shows of a folder of tables, and when it fails."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from stockpick_assets.cli.quality import quality
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.core.universe import members
from stockpick_assets.store import Store
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars

TICKERS = ("AAPL", "MSFT")
Run = Callable[..., Result]


def changed(rows: pa.Table, place: int, **values: Any) -> pa.Table:
    """The rows with other values in one of them."""
    made = rows.to_pylist()
    made[place] |= values
    return pa.Table.from_pylist(made, schema=rows.schema)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "tables"), "simulated", {})


def environment(tmp_path: Path, now: datetime) -> dict[str, str]:
    """A window of one session of two tickers, at that market time."""
    return {
        "STOCKPICK_HOME": str(tmp_path / "home"),
        "STOCKPICK_STORE_ROOT": str(tmp_path / "tables"),
        "STOCKPICK_TICKERS": ",".join(TICKERS),
        "STOCKPICK_LAST_SESSION": "2026-11-20",
        "STOCKPICK_SESSIONS": "1",
        "STOCKPICK_REPLAY_STARTED_AT": datetime.now(UTC).isoformat(),
        "STOCKPICK_REPLAY_FROM": now.isoformat(),
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command with its arguments and further settings, at a market time; an error for a person is raised."""

    def invoke(*arguments: str, now: datetime = SESSION.close + timedelta(hours=1), **further: str) -> Result:
        result = CliRunner().invoke(quality, arguments, env=environment(tmp_path, now) | further)
        if isinstance(result.exception, StockpickError):
            raise result.exception
        return result

    return invoke


def test_a_session_whose_every_minute_is_explained_is_shown_and_passes(store: Store, run: Run) -> None:
    rows = bars(390, tickers=TICKERS)
    rows = changed(rows, 3, reason="no_trade", volume=None)
    store.append("raw_prices", changed(rows, 4, volume=None, detail="volume withheld: it was -1"), {})
    store.append("raw_prices", bars(1, tickers=("MSFT",), fetched_at=FETCHED_AT + timedelta(days=1)), {})
    shown = run()
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines() == [
        "SIMULATED raw_prices 2026-11-20: 780 minutes of 2 tickers, 0 unexplained",
        "",
        "ticker  present  no_trade  quarantined  withheld  revised  late  first   last",
        "AAPL        390         0            0         1        0   390  09:30  15:59",
        "MSFT        389         1            0         0        1   390  09:30  15:59",
        "all         779         1            0         1        1   780  09:30  15:59",
        "",
        "thinnest minutes",
        "09:31  1 of 2 with a bar; without: MSFT",
    ]


def test_a_minute_that_is_unexplained_fails(store: Store, run: Run) -> None:
    store.append("raw_prices", changed(bars(390, tickers=TICKERS), 0, reason="pending"), {})
    shown = run("2026-11-20")
    assert shown.exit_code == 3
    assert shown.output.splitlines()[0].endswith("780 minutes of 2 tickers, 1 unexplained")


def test_a_ticker_of_the_session_that_has_no_row_is_not_forgotten(store: Store, run: Run) -> None:
    store.append("raw_prices", bars(390, tickers=("AAPL",)), {})
    shown = run()
    assert shown.exit_code == 3
    assert "780 minutes of 2 tickers, 390 unexplained" in shown.output


def test_a_ticker_that_was_no_member_that_day_is_not_missed(store: Store, run: Run) -> None:
    session = session_on(date(2026, 10, 8))  # Moderna came the day after
    rows = bars(1, tickers=members(session.date)).to_pylist()
    dated = [row | {"session": session.date, "minute": session.open} for row in rows]
    store.append("raw_prices", pa.Table.from_pylist(dated, schema=RAW_PRICES.columns), {})
    window = {"STOCKPICK_TICKERS": "", "STOCKPICK_LAST_SESSION": "2026-10-09", "STOCKPICK_SESSIONS": "2"}
    shown = run(now=session.open + 2 * MINUTE, **window)
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"SIMULATED raw_prices 2026-10-08: {len(rows)} minutes of {len(rows)} tickers, 0 un")


def test_of_a_session_under_way_what_is_on_its_way_is_not_missed(store: Store, run: Run) -> None:
    store.append("raw_prices", bars(5, tickers=TICKERS), {})
    assert run(now=SESSION.open + 8 * MINUTE).exit_code == 0
    assert run(now=SESSION.open + 12 * MINUTE).exit_code == 3


def test_one_ticker_is_shown_with_the_minutes_that_are_not_plainly_present(store: Store, run: Run) -> None:
    rows = changed(bars(390, tickers=TICKERS), 1, reason="lost", volume=None, detail="422 \x1b[31mtoo\nold")
    store.append("raw_prices", changed(rows, 2, reason="pending", volume=None), {})
    shown = run("--ticker", "msft")
    assert shown.exit_code == 0, "the other ticker's minute is not looked at"
    assert shown.output.splitlines() == [
        "SIMULATED raw_prices 2026-11-20: 390 minutes of MSFT, 0 unexplained",
        "",
        "ticker  present  lost  quarantined  withheld  revised  late  first   last",
        "MSFT        389     1            0         0        0   390  09:31  15:59",
        "",
        r"09:30  lost            422 \x1b[31mtoo\nold",
    ]


def test_one_ticker_is_shown_with_what_was_first_stored_of_the_minutes_that_have_versions(
    store: Store, run: Run
) -> None:
    minutes: list[list[dict[str, Any]]] = [
        [{"close": 383.56, "volume": 6537.0}, {"close": 383.59, "volume": 8555.0}],
        [{"reason": "provider_error", "volume": None, "detail": "HTTP 500"}, {}],
        [{"volume": None, "detail": "spike: volume 9"}, {"volume": 9.0}, {"volume": 8.25e6, "detail": "odd"}],
        [{"reason": "pending", "volume": None}, {}, {"high": 101.5}],
        [{}, {"close": 101.0}, {}],
        [{"low": 99.56}, {"low": 99.56000000000002}],
    ]
    store.append("raw_prices", bars(384, start=len(minutes)), {})
    for place, versions in enumerate(minutes):
        for days, values in reversed(list(enumerate(versions))):  # their order is that of `fetched_at`
            row = bars(1, start=place, fetched_at=FETCHED_AT + timedelta(days=days))
            store.append("raw_prices", changed(row, 0, **values), {})
    assert run("--ticker", "AAPL").output.splitlines()[3:] == [
        "AAPL        390            0         0        6   390  09:30  15:59",
        "",
        "09:30  present         revised 2026-11-21 16:30: close 383.56 to 383.59, volume 6,537 to 8,555",
        "09:31  present         was provider_error",
        "09:32  present         revised 2026-11-22 16:30: volume null to 8,250,000, 3 versions; odd",
        "09:33  present         was pending, 3 versions",
        "09:34  present         revised 2026-11-22 16:30: as it was first, 3 versions",
        "09:35  present         revised 2026-11-21 16:30: low 99.56 to 99.56000000000002",
    ]


def test_a_ticker_without_anything_to_say_about_it_says_so(store: Store, run: Run) -> None:
    store.append("raw_prices", bars(390, tickers=TICKERS), {})
    assert run("--ticker", "AAPL").output.splitlines()[-1] == "every minute is plainly present"


def test_the_same_comes_as_json(store: Store, run: Run) -> None:
    store.append("raw_prices", changed(bars(390, tickers=TICKERS), 1, reason="lost", volume=None, detail="422"), {})
    shown = json.loads(run("--json").output)
    assert (shown["source"], shown["session"]) == ("simulated", "2026-11-20")
    assert (shown["expected"], shown["unexplained"], shown["reasons"]) == (780, 0, {"present": 779, "lost": 1})
    assert shown["tickers"]["MSFT"] == {
        "expected": 390,
        "unexplained": 0,
        "reasons": {"present": 389, "lost": 1},
        "volume_withheld": 0,
        "revised": 0,
        "late": 390,
        "first_bar": "2026-11-20T14:31:00+00:00",
        "last_bar": "2026-11-20T20:59:00+00:00",
    }
    assert shown["thinnest_minutes"] == [{"minute": "2026-11-20T14:30:00+00:00", "listed": 2, "without": ["MSFT"]}]
    assert "minutes" not in shown
    assert json.loads(run("--json", "--ticker", "MSFT").output)["minutes"] == [
        {
            "minute": "2026-11-20T14:30:00+00:00",
            "reason": "lost",
            "detail": "422",
            "versions": [
                {
                    "fetched_at": "2026-11-20T21:30:00+00:00",
                    "known_at": "2026-11-20T21:30:00+00:00",
                    **dict.fromkeys(("open", "high", "low", "close"), 100.0),
                    "volume": None,
                    "split": None,
                    "reason": "lost",
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["2026-11-19"],
            r"simulated/raw_prices has no rows of 2026-11-19; it holds 1 session, 2026-11-20. `stockpick backfill",
        ),
        (["2026-11-23"], "the session of 2026-11-23 has not begun: it opens at 2026-11-23 09:30 New York, where it is"),
        (["2026-11-21"], r"2026-11-21 \(Saturday\) is no trading session of the XNYS calendar; the nearest are"),
        (
            ["--ticker", "no\n"],
            r"has no row of no\\n in the session of 2026-11-20, which has 2 tickers, AAPL to MSFT",
        ),
    ],
)
def test_what_cannot_be_shown_says_why(store: Store, run: Run, arguments: list[str], says: str) -> None:
    store.append("raw_prices", bars(390, tickers=TICKERS), {})
    with pytest.raises(StockpickError, match=says):
        run(*arguments)


def test_one_of_a_thing_is_not_called_several(store: Store, run: Run) -> None:
    store.append("raw_prices", bars(1), {})
    settings = {"now": SESSION.open + 2 * MINUTE, "STOCKPICK_TICKERS": "AAPL"}
    assert run(**settings).output.startswith("SIMULATED raw_prices 2026-11-20: 1 minute of 1 ticker, 0 unexplained\n")
    with pytest.raises(StockpickError, match=r"which has 1 ticker, AAPL$"):
        run("--ticker", "MSFT", **settings)


def test_what_is_no_date_is_a_usage_error(store: Store, run: Run) -> None:
    assert run("yesterday").exit_code == 2


def test_a_table_that_was_never_written_is_one_line_and_no_trace(tmp_path: Path) -> None:
    answer = stockpick(tmp_path, "quality", STOCKPICK_STORE_ROOT=str(tmp_path / "tables"))
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert "raw_prices" in answer.stderr and "has not been written" in answer.stderr
