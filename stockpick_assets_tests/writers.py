"""Writers of one table that get in each other's way: of new minutes, of healed ones, and the table's upkeep."""

import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import count
from threading import Event

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.store import CommitRefused, Store
from stockpick_assets_tests.rows import SESSION, bars

TICKERS = ("AAPL", "AMD", "MSFT")
COMMITTED = "committed minute "
A_DAY = timedelta(days=1)
BACKFILLED = 100  # the minute of the session that a backfill begins with


def predicate(first: int, last: int) -> str:
    """The rows of the session's `first`-th to `last`-th minute."""
    ends = (f"{SESSION.open + end * MINUTE:%Y-%m-%dT%H:%M:%S}Z" for end in (first, last))
    first_minute, last_minute = (f"arrow_cast('{end}', 'Timestamp(Microsecond, Some(\"UTC\"))')" for end in ends)
    return f"session = '{SESSION.date}' AND minute >= {first_minute} AND minute <= {last_minute}"


def race(store: Store, commits: int) -> list[str]:
    """A live run, a backfill, a single ticker's healing, compactions and vacuums, all at one time on one table.

    Returns what is wrong with the rows afterwards.
    """
    name, done = "raw_prices", Event()
    store.append(name, bars(1, tickers=TICKERS), {})

    def replace(first: int, minutes: int) -> None:
        rows = bars(minutes, start=first, tickers=TICKERS, close=float(first))
        store.replace(name, rows, predicate(first, first + minutes - 1), {})

    def live() -> None:
        for minute in range(1, commits + 1):
            replace(minute, 1)

    def backfill() -> None:
        for commit in range(commits):
            replace(BACKFILLED + 3 * commit, 3)

    def heal() -> None:
        for _ in range(commits):
            replace(0, 1)

    def keep_up() -> None:
        while not done.wait(0.05):
            with suppress(CommitRefused):
                store.compact(name, SESSION.date)
            store.vacuum(name, A_DAY)

    with ThreadPoolExecutor() as pool:
        upkeep = pool.submit(keep_up)
        try:
            for writer in [pool.submit(work) for work in (live, backfill, heal)]:
                writer.result()
        finally:
            done.set()
        upkeep.result()

    rows = store.read(name, every_version=True).to_pylist()
    found = Counter((int((row["minute"] - SESSION.open) / MINUTE), row["ticker"]) for row in rows)
    minutes = [*range(commits + 1), *range(BACKFILLED, BACKFILLED + 3 * commits)]
    expected = Counter((minute, ticker) for minute in minutes for ticker in TICKERS)
    return [f"lost {key}" for key in expected - found] + [f"too many of {key}" for key in found - expected]


def write_without_end(root: str) -> None:
    """Append new minutes, replace old ones and compact, telling each before and after, until killed."""
    store, name = Store(root, "simulated", {}), "raw_prices"
    chance = random.Random()

    def tell(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with suppress(CommitRefused):
        held = store.contents(name) if store.exists(name) else None
        begin = held.rows // len(TICKERS) if held else 0
        for minute in count(begin):
            tell(f"appending minute {minute}")
            store.append(name, bars(1, start=minute, tickers=TICKERS), {})
            tell(f"{COMMITTED}{minute}")
            again = chance.randrange(minute + 1)
            tell(f"replacing minute {again}")
            store.replace(name, bars(1, start=again, tickers=TICKERS, close=float(minute)), predicate(again, again), {})
            tell(f"{COMMITTED}{again}")
            if minute % 3 == 2:
                tell("compacting")
                store.compact(name, SESSION.date)
