"""What yfinance alone makes of each fault of Yahoo's, and what stockpick stores: one row of a Markdown table a fault.

The question is the ten minutes of `stockpick_assets_tests/faults.py`, put to a local server that answers with the
fault: by `Ticker.history` as it is, by the same with `hide_exceptions` off, and by stockpick. A bar is wrong when it is
none of the server's own. What does not belong here: whether what is stored is right, which the tests hold.

    .venv/bin/python bench/yahoo_faults.py
"""

import logging
import sys
import warnings
from collections import Counter
from datetime import timedelta

import pandas as pd
import yfinance as yf
from common import report
from yfinance.data import YfData
from yfinance.scrapers import history

from stockpick_assets.core.budget import Limits
from stockpick_assets.core.market_hours import MINUTE, NEW_YORK
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets_tests.fake_yahoo import Bar, FakeYahoo
from stockpick_assets_tests.faults import COUNT, FAULTS
from stockpick_assets_tests.rows import SESSION

TICKER = "AAPL"
TIMEOUT = 0.5
NOW = SESSION.open + COUNT * MINUTE + timedelta(seconds=2)
LAST = SESSION.open + (COUNT - 1) * MINUTE
COLUMNS = ["open", "high", "low", "close", "volume"]
EMPTY, WRONG, RIGHT, TAKEN = "an empty frame", "wrong", "the server's bars", "wrong: taken for the answer"


def bar(offset: int) -> Bar:
    """The server's own bar of one minute."""
    return (100.0 + offset, 101.0 + offset, 99.0 + offset, 100.5 + offset, 1000.0)


BARS = {SESSION.open + offset * MINUTE: bar(offset) for offset in range(COUNT + 1)}


def by_yfinance(fake: FakeYahoo, hide_exceptions: bool) -> str:
    """What `Ticker.history` does, without a cookie, a crumb or an answer from before."""
    history._BASE_URL_ = fake.url
    YfData.cache_get.cache_clear()
    yf.config.debug.hide_exceptions = hide_exceptions
    ticker = yf.Ticker(TICKER)
    ticker._tz = NEW_YORK.key
    try:
        rows = ticker.history(
            interval="1m", start=SESSION.open, end=NOW + MINUTE, auto_adjust=False, timeout=TIMEOUT, actions=False
        )
    except Exception as error:  # noqa: BLE001 - which one it is, is the finding
        return f"raises {type(error).__name__}"
    return said(rows.rename(columns=str.lower)) if len(rows) else EMPTY


def said(rows: pd.DataFrame) -> str:
    """How the rows of a frame by their minute differ from the server's own bars of the minutes asked for."""
    own = pd.DataFrame.from_dict(BARS, orient="index", columns=COLUMNS)
    known = rows.index.isin(own.index)
    wrong = (~known).sum() + (rows.loc[known, COLUMNS].to_numpy() != own.loc[rows.index[known]].to_numpy()).any(
        axis=1
    ).sum()
    missing = own.index[:COUNT].difference(rows.index).size
    parts = [
        f"{wrong} {WRONG} of {len(rows)} bars" if wrong else "",
        f"{missing} of {COUNT} missing" if missing else "",
    ]
    return ", ".join(part for part in parts if part) or RIGHT


def by_stockpick(fake: FakeYahoo) -> tuple[str, int]:
    """What the rows of `raw_prices` hold, and how many bars that are present are not the server's own."""
    budget = YahooBudget(":memory:", Limits(a_minute=1000, in_flight=1, live=1, timeout=TIMEOUT), seed=7)
    source = YahooMarketData(fake.url, (TICKER,), budget)
    rows = source.bars(SESSION, SESSION.open, LAST, (TICKER,), NOW, NOW).to_pandas().set_index("minute")
    present = rows[rows["reason"] == "present"]
    withheld = present["volume"].isna()
    own = pd.DataFrame.from_dict(BARS, orient="index", columns=COLUMNS).loc[present.index]
    differ = present[COLUMNS] != own
    differ.loc[withheld, "volume"] = False
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(rows["reason"]).items())
    details = list(rows["detail"].dropna().unique())
    wrong = int(differ.any(axis=1).sum())
    return "; ".join([counts + (f" ({wrong} {WRONG})" if wrong else ""), *details[:1]]), wrong


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text[:110].replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Print the table, and as last line what became of the faults in all."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"):
        lines, counts = table()
    logging.disable(logging.NOTSET)
    sys.stdout.write("\n".join(lines) + "\n")
    report({"faults": len(FAULTS), **counts})


def table() -> tuple[list[str], Counter[str]]:
    """The lines of the table, and how many faults had which outcome."""
    YfData._get_cookie_and_crumb = lambda *_, **__: (None, "basic")  # pyright: ignore[reportAttributeAccessIssue]
    counts: Counter[str] = Counter()
    lines = [
        "| fault | `Ticker.history` | with `hide_exceptions` off | requests | stockpick stores |",
        "|---|---|---|---|---|",
    ]
    for name, expected in FAULTS.items():
        with FakeYahoo(SESSION, NOW) as fake:
            fake.bars[TICKER] = BARS
            fake.faults[TICKER] = expected.fault
            hidden = by_yfinance(fake, hide_exceptions=True)
            requests = len(fake.asked)
            raised = by_yfinance(fake, hide_exceptions=False)
            stored, wrong = by_stockpick(fake)
        if expected.fails:
            hidden, raised = (TAKEN if outcome == RIGHT else outcome for outcome in (hidden, raised))
        lines.append(f"| {name} | {hidden} | {raised} | {requests} | {cell(stored)} |")
        for way, outcome in (("as_it_is", hidden), ("with_exceptions", raised)):
            counts[f"{way}_empty"] += outcome == EMPTY
            counts[f"{way}_wrong"] += WRONG in outcome
            counts[f"{way}_raises"] += outcome.startswith("raises")
        counts["stockpick_wrong"] += wrong > 0
    return lines, counts


if __name__ == "__main__":
    main()
