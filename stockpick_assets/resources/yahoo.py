"""One-minute bars from Yahoo Finance, through yfinance.

What belongs here: how Yahoo is asked, and what its refusals mean. What does not: which of the bars it sends can be
believed (core/quarantine.py), what a missing one means (core/answers.py), when a request may go out
(yahoo_budget.py), and when a minute is asked for again.

yfinance's own client keeps answers, fetches cookies and a crumb that charts do not need, and asks again at once after
an error, a 429 too. Its `PriceHistory`, which is all that `Ticker.history` calls, takes the client as an argument:
`_ChartClient` stands in for it, at a settable address, and makes one request for one question. A minute of 100 tickers
costs 100 requests, nothing is kept between them or on disk, and there is no secret to log.
"""

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yfinance as yf
from curl_cffi import requests
from pandas.errors import Pandas4Warning
from yfinance.exceptions import YFPricesMissingError
from yfinance.scrapers.history import PriceHistory

from stockpick_assets.core.answers import BACKFILL_LAG, Request, raw_prices, silent_minutes
from stockpick_assets.core.bars import COLUMNS, Bars, Failure, as_traded, no_bars
from stockpick_assets.core.budget import Priority, priority
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import (
    MINUTE,
    NEW_YORK,
    Session,
    last_session_begun,
    minute_label,
    new_york_date,
    sessions_until,
)
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.market_data import SourceUnreachable
from stockpick_assets.resources.yahoo_budget import REFUSAL, NoPlace, YahooBudget

logger = logging.getLogger(__name__)

# An answer for a session that is over may stop this long before the close and still be taken for the whole of it.
LONGEST_LAST_SILENCE = timedelta(minutes=10)

# How many tickers a line of the log names: 20 take up to 340 characters. The rows have every one.
MOST_NAMED = 20

# What the description of an answer must say; anything else is an answer to another question.
EXPECTED = {"exchangeTimezoneName": NEW_YORK.key, "dataGranularity": "1m", "currency": "USD"}


class _Refused(Exception):
    """Yahoo answered with an HTTP status of 300 or more."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.said = _one_line(response.text)[:200]
        after = response.headers.get("Retry-After")
        super().__init__(f"HTTP {self.status}{f', retry after {after}' if after else ''}: {self.said}")

    def failure(self) -> Failure:
        """The reason it is, told apart by Yahoo's own words where the status alone says too little."""
        if self.status == REFUSAL:
            return Failure(Reason.RATE_LIMITED, str(self))
        if self.status == 404 and "may be delisted" in self.said:
            return Failure(Reason.DELISTED, str(self))
        if self.status == 422 and "must be within the last" in self.said:
            return Failure(Reason.LOST, str(self))
        return Failure(Reason.PROVIDER_ERROR, str(self))


class _ChartClient:
    """What yfinance asks for charts, in place of its YfData, in one call of `bars`. Safe to share between threads."""

    def __init__(self, base_url: str, session: requests.Session, budget: YahooBudget, priority: Priority) -> None:
        self.session = session
        self._base_url = base_url.rstrip("/")
        self._budget = budget
        self._priority = priority
        self._wait_until = budget.wait_until(priority)
        self._under_way = BoundedSemaphore(budget.limits.in_flight)

    def get(self, url: str, params: dict[str, Any], timeout: float) -> requests.Response:
        """Ask once, in at most `timeout` seconds for the whole answer.

        Raises NoPlace when the budget has none in time, _Refused, or curl_cffi's exceptions.
        """
        address = self._base_url + urlsplit(url).path
        with self._under_way, self._budget.place(self._priority, self._wait_until) as place:
            response = self.session.get(
                address, params=params, timeout=timeout, discard_cookies=True, allow_redirects=False
            )
            place.answer(response.status_code, response.headers.get("Retry-After"))
        if response.status_code >= 300:
            raise _Refused(response)
        return response

    cache_get = get  # what yfinance calls for minutes long past, whose answers it would keep


class YahooMarketData:
    """The `MarketData` of Yahoo Finance, for the tickers of its American listings.

    base_url: of the chart API. budget: what requests go out within, with their time-out.
    """

    def __init__(self, base_url: str, tickers: Sequence[str], budget: YahooBudget) -> None:
        self._base_url = base_url
        self._tickers = tuple(sorted(tickers))
        self._budget = budget
        self._session = requests.Session(impersonate="chrome")
        self._timeout = budget.limits.timeout
        yf.config.debug.hide_exceptions = False
        warnings.filterwarnings("ignore", category=Pandas4Warning, module="yfinance")

    def sessions(self, now: datetime, count: int) -> list[Session]:
        """The newest `count` sessions, ascending, that have begun at `now`; Yahoo keeps minutes for some 30 days."""
        return sessions_until(last_session_begun(now).date, count)

    def tickers(self) -> tuple[str, ...]:
        """The tickers it is asked for, in alphabetical order."""
        return self._tickers

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        """See `MarketData.bars`. At most one request a ticker, however many minutes.

        Raises SourceUnreachable when several tickers are asked for and none gets an answer of any kind: their
        minutes stay unanswered, and the live sensor asks again. BudgetUnusable when nothing may be asked.
        """
        request = Request(session, first, last, tuple(tickers), now, wall)
        client = _ChartClient(self._base_url, self._session, self._budget, priority(session, last, now))
        chosen, passed_over = self._budget.turns(request.tickers)
        # Twice as many threads as requests at one time: yfinance spends some 12 ms of a core on each answer, in which
        # the next can be under way. At 300 ms an answer, 100 tickers took 4.2 s so and 4.9 s without; the floor is 3.9.
        with ThreadPoolExecutor(2 * self._budget.limits.in_flight, "yahoo") as pool:
            answered = pool.map(lambda ticker: self._answer(client, request, ticker), chosen)
            answers = dict.fromkeys(request.tickers, passed_over) | dict(zip(chosen, answered, strict=True))
        failures = {ticker: answer for ticker, answer in answers.items() if isinstance(answer, Failure)}
        reached = any(failure.reason is not Reason.PROVIDER_ERROR for failure in failures.values())
        if len(failures) == len(answers) > 1 and not reached:
            raise SourceUnreachable(
                f"Yahoo has no answer for any of {len(answers)} tickers, {minute_label(first)} to {minute_label(last)} "
                f"New York; for {tickers[0]}: {failures[tickers[0]].detail}. Is the network up, and is "
                "STOCKPICK_YAHOO_URL right?"
            )
        for failure in dict.fromkeys(failures.values()):
            logger.warning(
                "yahoo gave no bar of %s from %s to %s New York: %s, %s; %s",
                _named([ticker for ticker, other in failures.items() if other == failure]),
                minute_label(first),
                minute_label(last),
                failure.reason,
                failure.detail,
                "that is final" if failure.reason.final else "asking again may help",
            )
        rows = raw_prices("yahoo", request, answers)
        _say_what_is_unexplained(rows, failures)
        return rows

    def _answer(self, client: _ChartClient, request: Request, ticker: str) -> Bars | Failure:
        """What Yahoo says of one ticker, to now: later bars explain missing ones, earlier ones show what is normal."""
        heard = _Heard(client)
        try:
            try:
                PriceHistory(heard, ticker, NEW_YORK.key, client.session).history(
                    interval="1m",
                    start=request.since,
                    end=min(request.session.close, request.now + MINUTE),
                    prepost=False,
                    auto_adjust=False,
                    timeout=self._timeout,  # pyright: ignore[reportArgumentType] - handed to the client as it is
                )
            except YFPricesMissingError as error:
                if error.yahoo_reason:
                    return Failure(Reason.PROVIDER_ERROR, _one_line(error.yahoo_reason))
            chart = heard.chart()
            return _checked(request, ticker, chart) if chart else no_bars()
        except (_Refused, NoPlace) as error:
            return error.failure()
        except StockpickError:
            raise
        except Exception as error:  # noqa: BLE001 - a malformed answer makes yfinance raise whatever it leads to
            return Failure(Reason.PROVIDER_ERROR, _one_line(f"{type(error).__name__}: {error}"))


def _say_what_is_unexplained(rows: pa.Table, failed: Collection[str]) -> None:
    """Log what answers that came leave to be asked for again: a line for each cause, and one for all that is pending.

    failed: the tickers without an answer, of which each has its line already.
    """
    again = rows.filter(pc.is_in(rows["reason"], pa.array([reason for reason in Reason if not reason.final])))
    causes: dict[tuple[str, str], list[tuple[str, datetime]]] = {}
    for ticker, minute, reason, detail in zip(
        *(again[name].to_pylist() for name in ("ticker", "minute", "reason", "detail")), strict=True
    ):
        if ticker not in failed:
            cause = "no answer shows anything later yet" if reason == Reason.PENDING else detail
            causes.setdefault((reason, cause), []).append((ticker, minute))
    for (reason, cause), waiting in causes.items():
        tickers, minutes = (sorted(set(values)) for values in zip(*waiting, strict=True))
        logger.log(
            logging.INFO if reason == Reason.PENDING else logging.WARNING,
            "yahoo leaves %d minutes of %s from %s to %s New York without a bar: %s, %s; they are asked for again",
            len(waiting),
            _named(tickers),
            minute_label(minutes[0]),
            minute_label(minutes[-1]),
            reason,
            cause,
        )


def _named(tickers: Sequence[str]) -> str:
    """The tickers for a line of the log, at most MOST_NAMED by name."""
    more = [f"{len(tickers) - MOST_NAMED} more"] if len(tickers) > MOST_NAMED else []
    return ", ".join([*tickers[:MOST_NAMED], *more])


def _one_line(text: str) -> str:
    """What Yahoo said, as text that is safe in a log and a table, of at most 300 characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


class _Heard:
    """The client for one question, which keeps the answer: yfinance's frame of it hides what the rules must see.

    Of two rows of a minute the frame has the first, rows outside regular hours it has not, the newest trade it writes
    into the minute before, and a volume that is missing is 0. What yfinance raises of an answer still counts.
    """

    def __init__(self, client: _ChartClient) -> None:
        self._client = client
        self._response: requests.Response | None = None

    def get(self, url: str, params: dict[str, Any], timeout: float) -> requests.Response:
        """As the client's."""
        self._response = self._client.get(url, params, timeout)
        return self._response

    cache_get = get

    def chart(self) -> dict[str, Any] | None:
        """The answer's one result as Yahoo sent it, None where it has none."""
        body = self._response.json() if self._response else {}
        return ((body.get("chart") or {}).get("result") or [None])[0]


def _checked(request: Request, ticker: str, chart: Mapping[str, Any]) -> Bars | Failure:
    """Yahoo's chart as bars as traded, if its description says that it is what was asked for.

    `regularMarketTime` is when the ticker last traded in regular hours, of any day. It did not trade in a session that
    is over, so it was halted, if that lies before it, the answer has no bar, and names this session or a later one as
    the current. (Yahoo may also answer so of a ticker that left the exchange, where not with a 404.)
    Dividends are not kept: a price is as traded, and no forecast spans a dividend, which falls between two sessions.
    """
    about, session = chart["meta"], request.session
    wrong = {
        name: about.get(name) for name, value in {**EXPECTED, "symbol": ticker}.items() if about.get(name) != value
    }
    if wrong:
        return Failure(Reason.PROVIDER_ERROR, _one_line(f"an answer to another question: {wrong}"))
    bars = _bars(chart)
    quoted = bars.minutes[bars.quoted()]
    reaches, halted, day_volume = None, quoted[:0], None
    if about.get("regularMarketTime") is not None:
        last_trade = _instant(about["regularMarketTime"])
        over = request.now >= session.close + BACKFILL_LAG
        nearly_whole = quoted.size and pd.Timestamp(quoted.max(), tz="UTC") >= session.close - LONGEST_LAST_SILENCE
        if over and last_trade >= session.close and nearly_whole:
            reaches = session.close
        if over and not quoted.size and last_trade < session.open <= _opening(about):
            halted = request.minutes()
        if new_york_date(last_trade) == session.date and last_trade >= request.last + MINUTE:
            day_volume = _number(about.get("regularMarketVolume"))
    return as_traded(
        replace(
            bars,
            silent=silent_minutes(request, quoted, reaches),
            splits=_splits(session, chart),
            day_volume=day_volume,
            halted=halted,
            previous_close=_number(about.get("chartPreviousClose")),
        )
    )


def _bars(chart: Mapping[str, Any]) -> Bars:
    """The rows of a chart: a null is NaN. Raises ValueError for a time that no calendar has."""
    quote, stamps = chart["indicators"]["quote"][0], chart.get("timestamp")
    if not quote or not stamps:
        return no_bars()
    minutes = np.array([_instant(stamp).replace(tzinfo=None) for stamp in stamps], dtype="datetime64[us]")
    return Bars(minutes, *(np.array(quote[name], dtype=np.float64) for name in COLUMNS), silent=minutes[:0])


def _splits(session: Session, chart: Mapping[str, Any]) -> dict[np.datetime64, float]:
    """The splits an answer tells of: one of the session's day holds from its open, any other from the time it says.

    Yahoo gives prices of before a split in shares of after it, and tells of splits as far as the range asked for, which
    ends with the session: what it says of a session before the newest split is off by the ratio without a word of it.
    """
    splits: dict[np.datetime64, float] = {}
    for event in ((chart.get("events") or {}).get("splits") or {}).values():
        at, ratio = _instant(event["date"]), event["numerator"] / event["denominator"]
        if not 0 < ratio < np.inf:
            raise ValueError(f"a split of {event['numerator']} for {event['denominator']}")
        start = session.open if new_york_date(at) == session.date else at
        splits[np.datetime64(start.replace(tzinfo=None), "us")] = ratio
    return splits


def _opening(about: Mapping[str, Any]) -> datetime:
    """When the session opens or opened that Yahoo calls the current one."""
    return _instant(about["currentTradingPeriod"]["regular"]["start"])


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _number(value: float | None) -> float | None:
    """A number above zero, None for anything else that Yahoo may put in its place."""
    return float(value) if isinstance(value, int | float) and 0 < value < np.inf else None
