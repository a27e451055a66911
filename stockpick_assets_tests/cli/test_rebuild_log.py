"""`stockpick rebuild-log` as it is typed, on a home whose Dagster is new and whose tables are not."""

from pathlib import Path

from stockpick_assets.store import Store
from stockpick_assets_tests.cli.test_commands import stockpick
from stockpick_assets_tests.rows import bars

TICKERS = ("AAPL", "MSFT")


def test_a_check_fails_until_the_log_is_rebuilt_and_tells_what_is_missing(tmp_path: Path) -> None:
    Store(str(tmp_path / "tables"), "simulated", {}).append("raw_prices", bars(3, tickers=TICKERS), {})
    settings = {
        "STOCKPICK_STORE_ROOT": str(tmp_path / "tables"),
        "STOCKPICK_TICKERS": ",".join(TICKERS),
        "STOCKPICK_LAST_SESSION": "2026-11-20",
        "STOCKPICK_SESSIONS": "1",
    }
    block = "2026-11-20 09:30 to 2026-11-20 09:32 New York × AAPL, MSFT"

    differs = stockpick(tmp_path / "home", "rebuild-log", "--check", **settings)
    assert differs.returncode == 1, differs.stderr
    assert differs.stdout.splitlines()[:2] == [
        "simulated/raw_prices: the table holds 6, Dagster knew 0",
        f"  not known  {block}",
    ]

    rebuilt = stockpick(tmp_path / "home", "rebuild-log", **settings)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert f"  restored  {block}" in rebuilt.stdout.splitlines()

    agrees = stockpick(tmp_path / "home", "rebuild-log", "--check", **settings)
    assert agrees.returncode == 0, agrees.stderr
    assert agrees.stdout.splitlines()[0] == "simulated/raw_prices: the table holds 6, Dagster knew 6"
