"""One-minute bars from Yahoo Finance, through yfinance.

What belongs here: how Yahoo is asked, and what its refusals mean. What does not: which of the bars it sends can be
believed (core/answers.py), and when an unanswered minute is asked for again.

yfinance's own client keeps answers, fetches cookies and a crumb that charts do not need, and asks again at once after
an error, a 429 too. Its `PriceHistory`, which is all that `Ticker.history` calls, takes the client as an argument:
`_ChartClient` stands in for it, at a settable address, and makes one request for one question. A minute of 100 tickers
costs 100 requests, nothing is kept between them or on disk, and there is no secret to log.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import yfinance as yf
from curl_cffi import requests
from pandas.errors import Pandas4Warning
from yfinance.exceptions import YFPricesMissingError
from yfinance.scrapers.history import PriceHistory

from stockpick_assets.core.answers import (
    BACKFILL_LAG,
    Bars,
    Failure,
    Request,
    no_bars,
    raw_prices,
    silent_minutes,
)
from stockpick_assets.core.market_hours import (
    MINUTE,
    NEW_YORK,
    Session,
    last_session_begun,
    minute_label,
    sessions_until,
)
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.market_data import SourceUnreachable

logger = logging.getLogger(__name__)

# An answer for a session that is over may stop this long before the close and still be taken for the whole of it.
LONGEST_LAST_SILENCE = timedelta(minutes=10)

# What the description of an answer must say; anything else is an answer to another question.
EXPECTED = {"exchangeTimezoneName": NEW_YORK.key, "dataGranularity": "1m", "currency": "USD"}


class _Refused(Exception):
    """Yahoo answered with an HTTP status of 400 or more."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.said = " ".join(response.text.split())[:200]
        after = response.headers.get("Retry-After")
        super().__init__(f"HTTP {self.status}{f', retry after {after}' if after else ''}: {self.said}")

    def failure(self) -> Failure:
        """The reason it is, told apart by Yahoo's own words where the status alone says too little."""
        if self.status == 429:
            return Failure(Reason.RATE_LIMITED, str(self))
        if self.status == 404 and "may be delisted" in self.said:
            return Failure(Reason.DELISTED, str(self))
        if self.status == 422 and "must be within the last" in self.said:
            return Failure(Reason.LOST, str(self))
        return Failure(Reason.PROVIDER_ERROR, str(self))


class _ChartClient:
    """What yfinance asks for charts, in place of its YfData. Safe to share between threads."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self.session = requests.Session(impersonate="chrome")

    def get(self, url: str, params: dict[str, Any], timeout: float) -> requests.Response:
        """Ask once, in at most `timeout` seconds for the whole answer. Raises _Refused or curl_cffi's exceptions."""
        address = self._base_url + urlsplit(url).path
        response = self.session.get(address, params=params, timeout=timeout, discard_cookies=True)
        if response.status_code >= 400:
            raise _Refused(response)
        return response

    cache_get = get  # what yfinance calls for minutes long past, whose answers it would keep


class YahooMarketData:
    """The `MarketData` of Yahoo Finance, for the tickers of its American listings.

    base_url: of the chart API. in_flight: requests at one time. timeout: of one request, in seconds.
    """

    def __init__(self, base_url: str, tickers: Sequence[str], in_flight: int, timeout: float) -> None:
        self._tickers = tuple(sorted(tickers))
        self._in_flight = in_flight
        self._client = _ChartClient(base_url)
        self._timeout = timeout
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
        """See `MarketData.bars`. One request a ticker, however many minutes.

        Raises SourceUnreachable when several tickers are asked for and none gets an answer of any kind: their
        minutes stay unanswered, and the live sensor asks again.
        """
        request = Request(session, first, last, tuple(tickers), now, wall)
        with ThreadPoolExecutor(self._in_flight, "yahoo") as pool:
            answered = pool.map(lambda ticker: self._answer(request, ticker), request.tickers)
            answers = dict(zip(request.tickers, answered, strict=True))
        failures = {ticker: answer for ticker, answer in answers.items() if isinstance(answer, Failure)}
        reached = any(failure.reason is not Reason.PROVIDER_ERROR for failure in failures.values())
        if len(failures) == len(answers) > 1 and not reached:
            raise SourceUnreachable(
                f"Yahoo has no answer for any of {len(answers)} tickers, {minute_label(first)} to {minute_label(last)} "
                f"New York; for {tickers[0]}: {failures[tickers[0]].detail}. Is the network up, and is "
                "STOCKPICK_YAHOO_URL right?"
            )
        for ticker, failure in failures.items():
            logger.warning(
                "yahoo gave no bar of %s from %s to %s New York: %s, %s; %s",
                ticker,
                minute_label(first),
                minute_label(last),
                failure.reason,
                failure.detail,
                "that is final" if failure.reason.final else "asking again may help",
            )
        return raw_prices("yahoo", request, answers)

    def _answer(self, request: Request, ticker: str) -> Bars | Failure:
        """What Yahoo says of one ticker, from the first minute asked for to now: later bars explain missing ones."""
        try:
            asked = PriceHistory(self._client, ticker, NEW_YORK.key, self._client.session)
            rows = asked.history(
                interval="1m",
                start=request.first,
                end=min(request.session.close, request.now + MINUTE),
                prepost=False,
                auto_adjust=False,
                actions=False,
                keepna=True,
                timeout=self._timeout,  # pyright: ignore[reportArgumentType] - handed to the client as it is
            )
            return _checked(request, ticker, rows, asked.get_history_metadata())
        except _Refused as error:
            return error.failure()
        except YFPricesMissingError as error:
            return Failure(Reason.PROVIDER_ERROR, error.yahoo_reason) if error.yahoo_reason else no_bars()
        except Exception as error:  # noqa: BLE001 - a malformed answer makes yfinance raise whatever it leads to
            return Failure(Reason.PROVIDER_ERROR, f"{type(error).__name__}: {error}"[:300])


def _checked(request: Request, ticker: str, rows: pd.DataFrame, about: Mapping[str, Any]) -> Bars | Failure:
    """yfinance's frame as bars, if its description says that it is what was asked for.

    `regularMarketTime` is when the ticker last traded in regular hours, of any day.
    """
    wrong = {
        name: about.get(name) for name, value in {**EXPECTED, "symbol": ticker}.items() if about.get(name) != value
    }
    if wrong:
        return Failure(Reason.PROVIDER_ERROR, f"an answer to another question: {wrong}")
    minutes = pd.DatetimeIndex(rows.index).tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    columns = (rows[name].to_numpy(dtype=float) for name in ("Open", "High", "Low", "Close", "Volume"))
    bars = Bars(minutes, *columns, silent=minutes[:0])
    quoted = minutes[bars.quoted()]
    close = request.session.close
    last_trade: datetime | None = about.get("regularMarketTime")
    over = request.now >= close + BACKFILL_LAG and last_trade is not None and last_trade >= close
    nearly_whole = quoted.size and pd.Timestamp(quoted.max(), tz="UTC") >= close - LONGEST_LAST_SILENCE
    return replace(bars, silent=silent_minutes(request, quoted, close if over and nearly_whole else None))
