"""What Yahoo has been seen to do, or could: named faults, each with what must become of ten minutes that it answers.

A fault is a function of the honest answer, so the same list serves one question, a session of random ones, and a look
at what yfinance alone makes of it. The honest answer of FAULTS' reasons holds the ten minutes and the one forming.
What does not belong here: the server (fake_yahoo.py).
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stockpick_assets_tests.fake_yahoo import Fault, Reply

COUNT = 10
PRESENT = ("present",) * COUNT
FAILED = ("provider_error",) * COUNT
REFUSED = ("rate_limited",) * COUNT
UNEXPLAINED = ("provider_error",) * 5 + ("pending",) * 5  # the first five closed more than five minutes ago

ALL_PRICES = ("open", "high", "low", "close")
ALL = (*ALL_PRICES, "volume")
RESULT = ("chart", "result", 0)
MARKUP = "<script>alert('buy')</script>"


@dataclass(frozen=True)
class Expected:
    """fault: what it does. reasons: of the ten minutes, in order. detail: what their details say, and the log where
    the whole answer is one failure. refuses: whether it is said to the whole of stockpick, so that nobody else is asked
    after it.
    """

    fault: Fault
    reasons: tuple[str, ...]
    detail: str = ""
    refuses: bool = False

    @property
    def fails(self) -> bool:
        """Whether the answer as a whole is the reason of every minute, and a line of the log."""
        return len(set(self.reasons)) == 1 and self.reasons[0] not in ("present", "no_trade")


def answered(body: Any, status: int = 200, **headers: str) -> Reply:
    """A body as JSON."""
    return Reply(json.dumps(body).encode(), status, headers)


def failed(status: int, code: str, description: str) -> Fault:
    """An error in the words of the chart API."""
    body = {"chart": {"result": None, "error": {"code": code, "description": description}}}
    return lambda _: answered(body, status)


def always(body: bytes = b"", status: int = 200, **headers: str) -> Fault:
    """The same answer to everything."""
    return lambda _: Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def changed(**columns: Callable[[list[Any]], list[Any]]) -> Fault:
    """The honest answer with some columns of its quote changed."""

    def fault(body: dict[str, Any]) -> Reply:
        quote = body["chart"]["result"][0]["indicators"]["quote"][0]
        for name, change in columns.items():
            quote[name] = change(quote.get(name, []))
        return answered(body)

    return fault


def described(**meta: object) -> Fault:
    """The honest answer with another description of itself."""

    def fault(body: dict[str, Any]) -> Reply:
        body["chart"]["result"][0]["meta"].update(meta)
        return answered(body)

    return fault


def timed(change: Callable[[list[int]], list[Any]]) -> Fault:
    """The honest answer with its timestamps changed."""

    def fault(body: dict[str, Any]) -> Reply:
        body["chart"]["result"][0]["timestamp"] = change(body["chart"]["result"][0].get("timestamp", []))
        return answered(body)

    return fault


def without(*path: str | int) -> Fault:
    """The honest answer with the part at the end of a path gone."""

    def fault(body: dict[str, Any]) -> Reply:
        part: Any = body
        for step in path[:-1]:
            part = part[step]
        if isinstance(part, list) or path[-1] in part:
            del part[path[-1]]
        return answered(body)

    return fault


def rows(change: Callable[[list[list[Any]]], list[list[Any]]]) -> Fault:
    """The honest answer with its rows changed: each its timestamp, then open, high, low, close and volume."""

    def fault(body: dict[str, Any]) -> Reply:
        result = body["chart"]["result"][0]
        quote = result["indicators"]["quote"][0]
        columns = (result.get("timestamp", []), *(quote.get(name, []) for name in ALL))
        changed = change([list(row) for row in zip(*columns, strict=True)])
        result["timestamp"] = [row[0] for row in changed]
        quote.update({name: [row[place] for row in changed] for place, name in enumerate(ALL, start=1)})
        return answered(body)

    return fault


def newest(value: object) -> Callable[[list[Any]], list[Any]]:
    """A column with another value for the newest minute that has closed: the last row but one, if a bar is forming."""
    return lambda column: [*column[:-2], value, *column[-1:]] if len(column) > 1 else column


def everywhere(value: object) -> Callable[[list[Any]], list[Any]]:
    """A column of one value."""
    return lambda column: [value] * len(column)


def last(reason: str) -> tuple[str, ...]:
    """Ten minutes that are present, but for the newest."""
    return (*PRESENT[:-1], reason)


def emptied(body: dict[str, Any]) -> Reply:
    """A quote without columns, as Yahoo answers for a day without trading."""
    body["chart"]["result"][0]["indicators"]["quote"] = [{}]
    return answered(body)


def split_in_the_middle(body: dict[str, Any]) -> Reply:
    """Two shares for one before the sixth row, with the event that says so."""
    stamps = body["chart"]["result"][0].get("timestamp", [])
    if len(stamps) > 5:
        event = {"date": stamps[5], "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"}
        body["chart"]["result"][0]["events"] = {"splits": {str(stamps[5]): event}}
    return rows(lambda table: table[:5] + [times(0.5, row) for row in table[5:]])(body)


def times(factor: float, row: list[Any]) -> list[Any]:
    """A row with its prices multiplied."""
    return [row[0], *(price and price * factor for price in row[1:5]), row[5]]


def flat(row: list[Any]) -> list[Any]:
    """A row as it is while its minute has just begun."""
    return [row[0], *[row[1]] * 4, 0]


def later(seconds: int, row: list[Any]) -> list[Any]:
    """The row at another time."""
    return [row[0] + seconds, *row[1:]]


def moved(seconds: int) -> Fault:
    """The honest answer with every row at another time."""
    return timed(lambda stamps: [stamp + seconds for stamp in stamps])


HALTED = described(regularMarketTime=1)

FAULTS: dict[str, Expected] = {
    # What is said to everybody.
    "429": Expected(
        always(b"Edge: Too Many Requests", 429), REFUSED, "HTTP 429: Edge: Too Many Requests", refuses=True
    ),
    "429 with Retry-After": Expected(
        always(b"slow down", 429, Retry_After="7"), REFUSED, "retry after 7", refuses=True
    ),
    "429 with Retry-After as a date": Expected(
        always(b"slow down", 429, Retry_After="Fri, 20 Nov 2026 14:41:00 GMT"),
        REFUSED,
        "retry after Fri, 20 Nov 2026",
        refuses=True,
    ),
    "429 with Retry-After that is neither": Expected(
        always(b"", 429, Retry_After="soon"), REFUSED, "retry after soon", refuses=True
    ),
    "503 with Retry-After": Expected(
        always(b"", 503, Retry_After="120"), FAILED, "HTTP 503, retry after 120", refuses=True
    ),
    # Other refusals.
    "401 crumb": Expected(failed(401, "Unauthorized", "Invalid Crumb"), FAILED, "HTTP 401"),
    "403": Expected(always(b"<html>Forbidden</html>", 403), FAILED, "HTTP 403"),
    "404 delisted": Expected(
        failed(404, "Not Found", "No data found, symbol may be delisted"), ("delisted",) * COUNT, "may be delisted"
    ),
    "404 of a proxy": Expected(always(b"<html>no such page</html>", 404), FAILED, "HTTP 404"),
    "422 too old": Expected(
        failed(422, "Unprocessable Entity", "The requested range must be within the last 30 days."),
        ("lost",) * COUNT,
        "within the last 30 days",
    ),
    "422 too wide": Expected(
        failed(422, "Unprocessable Entity", "Only 8 days worth of 1m granularity data are allowed"),
        FAILED,
        "Only 8 days",
    ),
    "500": Expected(always(b"<html>oops</html>", 500), FAILED, "HTTP 500"),
    "502": Expected(always(b"Bad Gateway", 502), FAILED, "HTTP 502"),
    "503": Expected(always(b"Service Unavailable", 503), FAILED, "HTTP 503: Service Unavailable"),
    "504": Expected(always(b"Gateway Time-out", 504), FAILED, "HTTP 504"),
    "redirect elsewhere": Expected(always(b"", 302, Location="http://127.0.0.1:9/consent"), FAILED, "HTTP 302"),
    # The way to it.
    "reset": Expected(lambda _: Reply(b"x" * 100, sent=0), FAILED, "curl: ("),
    "truncated": Expected(lambda body: Reply(json.dumps(body).encode(), sent=200), FAILED, "curl: ("),
    "hang": Expected(lambda _: Reply(hangs=True), FAILED, "timed out"),
    "drip": Expected(lambda body: Reply(json.dumps(body).encode(), every=0.05), FAILED, "timed out"),
    "gzip that is none": Expected(always(b"no gzip", Content_Encoding="gzip"), FAILED, "curl: ("),
    "gzip cut off": Expected(
        lambda body: Reply(gzip.compress(json.dumps(body).encode())[:-40], headers={"Content-Encoding": "gzip"}),
        FAILED,
        "",
    ),
    # 200 with a body that is no answer.
    "200 without a body": Expected(always(), FAILED, "JSONDecodeError"),
    "200 that is no JSON": Expected(always(b"<html>welcome</html>"), FAILED, "JSONDecodeError"),
    "200 cut off where nobody notices": Expected(
        lambda body: Reply(json.dumps(body).encode()[:-30]), FAILED, "JSONDecodeError"
    ),
    "200 nested without end": Expected(always(b"[" * 100_000), FAILED, ""),
    "200 while Yahoo is down": Expected(always(b"Will be right back"), FAILED, "CURRENTLY DOWN"),
    "200 with an error": Expected(failed(200, "Internal", "backend sulks"), FAILED, "backend sulks"),
    "200 with an empty result": Expected(lambda _: answered({"chart": {"result": [], "error": None}}), UNEXPLAINED),
    "200 with a null result": Expected(lambda _: answered({"chart": {"result": None, "error": None}}), UNEXPLAINED),
    "200 with a null chart": Expected(lambda _: answered({"chart": None}), UNEXPLAINED),
    "200 with a list": Expected(lambda _: answered([]), FAILED, "AttributeError"),
    # Parts that are missing.
    "an empty quote": Expected(emptied, UNEXPLAINED, "no bar"),
    "no timestamps": Expected(without(*RESULT, "timestamp"), FAILED, "KeyError: 'timestamp'"),
    "no close": Expected(without(*RESULT, "indicators", "quote", 0, "close"), FAILED, "KeyError: 'close'"),
    "no volume": Expected(without(*RESULT, "indicators", "quote", 0, "volume"), FAILED, "KeyError: 'volume'"),
    "no description": Expected(without(*RESULT, "meta"), FAILED, "KeyError"),
    "no currency": Expected(without(*RESULT, "meta", "currency"), FAILED, "currency"),
    "fewer prices than timestamps": Expected(changed(close=lambda column: column[:-2]), FAILED, "ValueError"),
    # Another question's answer.
    "another ticker": Expected(described(symbol="TSLA"), FAILED, "{'symbol': 'TSLA'}"),
    "another zone": Expected(described(exchangeTimezoneName="Asia/Tokyo"), FAILED, "Asia/Tokyo"),
    "another currency": Expected(described(currency="EUR"), FAILED, "{'currency': 'EUR'}"),
    "daily bars": Expected(described(dataGranularity="1d"), FAILED, "{'dataGranularity': '1d'}"),
    "summer time in winter": Expected(described(gmtoffset=-14400, timezone="EDT"), PRESENT),
    # Injected text.
    "markup for a symbol": Expected(described(symbol=MARKUP), FAILED, MARKUP),
    "markup in an error": Expected(failed(200, "Internal", f"{MARKUP}\n\x1b[31mred"), FAILED, f"{MARKUP} [31mred"),
    "an error of a megabyte": Expected(failed(200, "Internal", "lorem ipsum\n" * 90_000), FAILED, "lorem ipsum lorem"),
    # Rows.
    "a row of nulls": Expected(changed(**dict.fromkeys(ALL, newest(None))), last("no_trade")),
    "nothing but nulls": Expected(changed(**dict.fromkeys(ALL, everywhere(None))), UNEXPLAINED, "no bar"),
    "a halt all session long": Expected(
        lambda body: HALTED(json.loads(changed(**dict.fromkeys(ALL, everywhere(None)))(body).body)), UNEXPLAINED
    ),
    "a row left out": Expected(rows(lambda table: table[:-2] + table[-1:]), last("no_trade")),
    "the newest rows left out": Expected(
        rows(lambda table: table[:-2]), last("pending"), "09:30 to 2026-11-20 09:38 New York and does not explain"
    ),
    "the same row twice": Expected(rows(lambda table: table[:-1] + table[-2:]), PRESENT),
    "unsorted rows": Expected(rows(lambda table: table[::-1]), PRESENT),
    "yesterday's rows": Expected(moved(-86400), UNEXPLAINED, "2026-11-19"),
    "rows an hour early": Expected(moved(-3600), UNEXPLAINED, "11 bars from 2026-11-20 08:30"),
    "rows an hour late": Expected(moved(3600), UNEXPLAINED, "11 bars from 2026-11-20 10:30"),
    "rows off the minute": Expected(moved(7), UNEXPLAINED, "11 bars"),
    "times in milliseconds": Expected(timed(lambda stamps: [1000 * stamp for stamp in stamps]), FAILED, "out of range"),
    "rows before regular hours": Expected(
        rows(lambda table: [*(later(-1800, times(1.1, row)) for row in table), *table]), PRESENT
    ),
    "rows after regular hours": Expected(
        rows(lambda table: [*table, *(later(36000, times(1.1, row)) for row in table)]), PRESENT
    ),
    # Prices.
    "a null close": Expected(changed(close=newest(None)), last("quarantined"), "close nan"),
    "a close that is no number": Expected(changed(close=newest(float("nan"))), last("quarantined"), "close nan"),
    "a row of zero prices": Expected(
        changed(**dict.fromkeys(ALL_PRICES, newest(0))), last("quarantined"), "open 0 high 0"
    ),
    "a row of zeros": Expected(changed(**dict.fromkeys(ALL, newest(0))), last("quarantined"), "close 0 volume 0"),
    "a negative price": Expected(changed(low=newest(-99.0)), last("quarantined"), "low -99"),
    "a close above the high": Expected(changed(close=newest(500.0)), last("quarantined"), "close 500"),
    "a price of 1e308": Expected(changed(close=newest(1e308)), last("quarantined"), "close 1e+308"),
    "a price without end": Expected(changed(high=newest(float("inf"))), last("quarantined"), "high inf"),
    "a price that is text": Expected(changed(close=newest("buy now")), FAILED, "buy now"),
    # Volumes.
    "a negative volume": Expected(changed(volume=newest(-5)), PRESENT, "impossible volume: volume -5"),
    "a volume without end": Expected(changed(volume=newest(float("inf"))), FAILED, ""),
    # What only other bars show.
    "two rows of one minute": Expected(
        rows(lambda table: [*table[:-2], *(times(3, row) for row in table[-2:-1]), *table[-2:]]),
        last("quarantined"),
        "different bars",
    ),
    "a jump and return": Expected(
        rows(lambda table: table[:-3] + [times(10, row) for row in table[-3:-2]] + table[-2:]),
        (*PRESENT[:-2], "quarantined", "present"),
        "jump: open 1080",
    ),
    "a huge volume": Expected(changed(volume=newest(1e15)), PRESENT, "volume 1e+15"),
    "volumes of zero between others": Expected(
        changed(volume=lambda column: [0 if place % 2 else 50 * value for place, value in enumerate(column)]),
        PRESENT,
        "volume 50000",
    ),
    "the newest bar still forming": Expected(
        rows(lambda table: table[:-2] + [flat(row) for row in table[-2:-1]]), last("pending"), "does not explain"
    ),
    "a row of the newest trade": Expected(
        rows(lambda table: [*table[:-1], *(later(41, times(1.001, row)) for row in table[-2:-1])]), PRESENT
    ),
    "a row of the far future": Expected(rows(lambda table: [*table, later(864000, table[-1])]), PRESENT),
    "a time that is null": Expected(timed(newest(None)), FAILED, "TypeError"),
    # What one answer does not show.
    "a split in the middle": Expected(split_in_the_middle, PRESENT),
    "another price, revised by the next call": Expected(
        rows(lambda table: table[:-2] + [times(1.001, row) for row in table[-2:]]), PRESENT
    ),
}

# Those whose wrong bar is stored as present: one answer does not show that it is wrong.
UNSEEN = frozenset({"a split in the middle", "another price, revised by the next call"})
