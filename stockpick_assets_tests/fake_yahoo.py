"""A local stand-in for Yahoo's chart API, as much of it as yfinance asks for, that can be told to fail.

It answers from bars it is given, as of the time its exchange has reached, and keeps a log of what it was asked. What
belongs here: speaking HTTP and the shape of an answer. What does not: which faults there are (faults.py); a fault is a
function of the honest answer.
"""

import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from stockpick_assets.core.market_hours import MINUTE, Session

Bar = tuple[float | None, float | None, float | None, float | None, float | None]
NULLS: Bar = (None, None, None, None, None)


@dataclass(frozen=True)
class Reply:
    """What goes back. `sent` is how many bytes of the body leave before the connection is reset; None is all.

    every: seconds from one byte of the body to the next. hangs: nothing goes back while the server runs.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    every: float | None = None
    hangs: bool = False


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it, at an instant of its wall clock, in seconds."""

    at: float
    path: str
    ticker: str
    query: Mapping[str, str]


Fault = Callable[[dict[str, Any]], Reply]


def chart(ticker: str, session: Session, bars: Mapping[datetime, Bar], last_trade: datetime) -> dict[str, Any]:
    """An answer in Yahoo's shape: bars by the start of their minute, nulls where it has a row without a trade."""
    regular = {
        "timezone": "EST",
        "start": int(session.open.timestamp()),
        "end": int(session.close.timestamp()),
        "gmtoffset": -18000,
    }
    columns = zip(*bars.values(), strict=True) if bars else ()
    names = ("open", "high", "low", "close", "volume")
    result: dict[str, Any] = {
        "meta": {
            "currency": "USD",
            "symbol": ticker,
            "exchangeName": "NMS",
            "instrumentType": "EQUITY",
            "regularMarketTime": int(last_trade.timestamp()),
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": "America/New_York",
            "priceHint": 2,
            "currentTradingPeriod": {"pre": dict(regular), "regular": dict(regular), "post": dict(regular)},
            "tradingPeriods": [[regular]],
            "dataGranularity": "1m",
            "range": "",
            "validRanges": ["1d", "5d"],
        },
        "indicators": {"quote": [dict(zip(names, map(list, columns), strict=True)) if bars else {}]},
    }
    if bars:
        result["timestamp"] = [int(minute.timestamp()) for minute in bars]
    return {"chart": {"result": [result], "error": None}}


class FakeYahoo:
    """The server: give it `bars` by ticker, `faults` by ticker, and `now`, the time its exchange has reached.

    latency: seconds that each answer takes. wall: the clock by which requests are logged.
    """

    def __init__(
        self, session: Session, now: datetime, latency: float = 0.0, wall: Callable[[], float] = time.time
    ) -> None:
        self.session = session
        self.now = now
        self.latency = latency
        self._wall = wall
        self.bars: dict[str, dict[datetime, Bar]] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self.released = Event()
        self._at_once = 0
        self._lock = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeYahoo":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, path: str) -> Reply:
        """The answer to one request, which is logged."""
        address = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        ticker = unquote(address.path.rsplit("/", 1)[-1])
        with self._lock:
            self.asked.append(Asked(self._wall(), address.path, ticker, query))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.released.wait(self.latency)
            honest = self.honest(ticker, query)
            fault = self.faults.get(ticker)
            return fault(honest) if fault else Reply(json.dumps(honest).encode())
        finally:
            with self._lock:
                self._at_once -= 1

    def honest(self, ticker: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The chart of the ticker's bars that have begun, in the range asked for."""
        first, stop = int(query["period1"]), int(query["period2"])
        bars = {
            minute: bar
            for minute, bar in self.bars.get(ticker, {}).items()
            if first <= minute.timestamp() < stop and minute <= self.now
        }
        traded = {
            minute: bar for minute, bar in self.bars.get(ticker, {}).items() if minute <= self.now and bar != NULLS
        }
        after = max(traded, default=self.session.open) + MINUTE
        body = chart(ticker, self.session, bars, min(after, self.now))
        body["chart"]["result"][0]["meta"]["regularMarketVolume"] = sum(bar[4] or 0 for bar in traded.values())
        return body


def _handler(fake: FakeYahoo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = (
            True  # or each answer waits some 30 ms for the client's acknowledgement of its headers
        )

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked has hung up
                super().handle()

        def do_GET(self) -> None:
            reply = fake.reply(self.path)
            if reply.hangs:
                fake.released.wait()
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.every is not None:
                self._drip(reply.body, reply.every)
                return
            self.wfile.write(reply.body[: reply.sent])
            if reply.sent is not None:
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

        def _drip(self, body: bytes, every: float) -> None:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if fake.released.wait(every):
                    break
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean; the requests are in `fake.asked`."""

    return Handler
