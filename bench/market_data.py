"""What a live minute and a session of Yahoo's bars take, against a local server that takes a given time over an answer.

The floor is what the requests take that may be under way at one time: tickers over those in flight, rounded up, times
the time of an answer. The server is a process of its own. Minutes do not wait for each other: the budget's clock is
moved on by what it would wait, which a session's figures show apart. The account of requests is a file, as in a home,
but in a temporary folder and of this process alone.

It does not show what it costs that other processes use the account, nor Yahoo itself: its network, encryption and
refusals, and how its times vary. The server shares the machine's cores. What does not belong here: the run around it,
which bench/live_minute.py measures.

    .venv/bin/python bench/market_data.py
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import report

from stockpick_assets.core.budget import Limits
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets.resources.yahoo import YahooMarketData
from stockpick_assets.resources.yahoo_budget import YahooBudget
from stockpick_assets.settings import Settings
from stockpick_assets_tests.fake_yahoo import FakeYahoo
from stockpick_assets_tests.rows import SESSION

SEED = 7
FIRST = 60  # the minute of the session that the live ones begin with, when an answer may hold what was before


class Clock:
    """The wall's time, and what would have been waited for."""

    def __init__(self) -> None:
        self.ahead = SESSION.open.timestamp() - time.time()

    def __call__(self) -> float:
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.ahead += seconds


def serve(parent: Connection, tickers: Sequence[str], latency: float) -> None:
    """Be the server of a whole session, until the other end is closed."""
    with FakeYahoo(SESSION, SESSION.close, latency) as fake:
        bars = {minute.to_pydatetime(): (100.0, 101.0, 99.0, 100.5, 1000.0) for minute in SESSION.minutes()}
        fake.bars = dict.fromkeys(tickers, bars)
        parent.send(fake.url)
        parent.poll(None)


@contextmanager
def server(tickers: Sequence[str], latency: float) -> Iterator[str]:
    """The address of a server in another process."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(theirs, tickers, latency), daemon=True)
    process.start()
    yield ours.recv()
    ours.send(None)
    process.join()


def measured(limits: Limits, tickers: Sequence[str], latency: float, minutes: int) -> dict[str, float]:
    """Seconds of each live minute, as p50, p95 and their ratio to the floor, and of a session."""
    floor = math.ceil(len(tickers) / limits.in_flight) * latency
    name = f"at_{1000 * latency:.0f}_ms"
    clock = Clock()
    with server(tickers, latency) as url, TemporaryDirectory() as folder:
        budget = YahooBudget(Path(folder) / "yahoo_budget.sqlite", limits, SEED, clock, clock.sleep)
        source = YahooMarketData(url, tickers, budget)

        def took(first: int, last: int, wall: Any) -> float:
            began = time.perf_counter()
            rows = source.bars(
                SESSION, SESSION.open + first * MINUTE, SESSION.open + last * MINUTE, tickers, wall, wall
            )
            seconds = time.perf_counter() - began
            if set(rows["reason"].to_pylist()) != {"present"}:
                raise SystemExit("not every bar of the server's is present: this measures something else")
            return seconds

        seconds = []
        for number in range(FIRST, FIRST + minutes + 1):
            clock.ahead = (SESSION.open + (number + 1) * MINUTE).timestamp() + 2 - time.time()
            seconds.append(took(number, number, SESSION.open + (number + 1) * MINUTE))
        p50, p95 = np.percentile(seconds[1:], [50, 95])
        clock.ahead = (SESSION.close + 60 * MINUTE).timestamp() - time.time()
        before = clock.ahead
        session = took(0, SESSION.length - 1, SESSION.close + 60 * MINUTE)
    return {
        f"floor_s_{name}": floor,
        f"first_minute_s_{name}": seconds[0],
        f"minute_s_p50_{name}": float(p50),
        f"minute_s_p95_{name}": float(p95),
        f"minute_p95_over_floor_{name}": float(p95) / floor,
        f"session_s_{name}": session,
        f"session_waited_s_{name}": clock.ahead - before,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of each time of an answer as one last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=Settings.model_fields["yahoo_in_flight"].default)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[30.0, 300.0])
    chosen = parser.parse_args(arguments)
    a_minute = Settings.model_fields["yahoo_requests_a_minute"].default
    limits = Limits(a_minute, chosen.in_flight, chosen.tickers, timeout=10.0)
    figures: dict[str, Any] = {"tickers": chosen.tickers, "in_flight": chosen.in_flight, "minutes": chosen.minutes}
    for milliseconds in chosen.latency_ms:
        figures |= measured(limits, NASDAQ_100[: chosen.tickers], milliseconds / 1000, chosen.minutes)
    report(figures, digits=3)


if __name__ == "__main__":
    main()
