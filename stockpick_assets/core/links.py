"""The one builder of links into the app and into Dagster, and the one reader of what such links carry.

A link names a minute by New York wall time, `2026-11-23T13:47`. A value that cannot be right is refused with a
LinkError, in both directions. What does not belong here: where the app is (settings.py), or what a page shows.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, urlencode

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import NEW_YORK, NotASession, session_of
from stockpick_assets.core.schemas import TABLES
from stockpick_assets.core.universe import TICKER

MINUTE_IN_LINK = "%Y-%m-%dT%H:%M"
RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
LONGEST_QUOTED = 40

View = Literal["partitions", "checks", "events", "lineage"]


class LinkError(StockpickError):
    """A link carries, or would carry, a value that cannot be right."""


@dataclass(frozen=True)
class Links:
    """Links of one copy of stockpick: where its app and its Dagster are, and the source its tables belong to."""

    app_url: str
    dagster_url: str
    source: str

    def picks(self) -> str:
        """The picks of the newest minute."""
        return f"{self.app_url}/"

    def alerts(self) -> str:
        """The newest alerts."""
        return f"{self.app_url}/alerts"

    def ticker(self, ticker: str, minute: datetime | None = None) -> str:
        """A ticker's page, fixed at `minute` where one is given. Raises LinkError."""
        return f"{self.app_url}/ticker?{urlencode(ticker_parameters(ticker, minute))}"

    def asset(self, table: str, view: View = "partitions") -> str:
        """The Dagster page of the asset that writes `table`. Raises LinkError."""
        if table not in TABLES:
            raise LinkError(f"no table is called {_quoted(table)}; there are {', '.join(TABLES)}")
        return f"{self.dagster_url}/assets/{quote(self.source)}/{table}?{urlencode({'view': view})}"

    def run(self, run_id: str) -> str:
        """The Dagster page of a run. Raises LinkError."""
        if not RUN_ID.fullmatch(run_id):
            raise LinkError(f"{_quoted(run_id)} is no run id")
        return f"{self.dagster_url}/runs/{run_id}"


def ticker_parameters(ticker: str, minute: datetime | None = None) -> dict[str, str]:
    """The query parameters of a ticker's page. Raises LinkError."""
    if not TICKER.fullmatch(ticker):
        raise LinkError(f"{_quoted(ticker)} is no ticker; they look like AAPL or BRK-B")
    if minute is None:
        return {"ticker": ticker}
    _session_has(minute)
    return {"ticker": ticker, "minute": minute.astimezone(NEW_YORK).strftime(MINUTE_IN_LINK)}


def ticker_from_link(text: str, universe: Collection[str]) -> str:
    """The ticker that a link names. Raises LinkError when `universe` does not have it."""
    if text not in universe:
        raise LinkError(f"{_quoted(text)} is not among the {len(universe)} tickers of this source")
    return text


def minute_from_link(text: str) -> datetime:
    """The minute (UTC) that a link names. Raises LinkError when it is none of a session."""
    try:
        minute = datetime.strptime(text, MINUTE_IN_LINK).replace(tzinfo=NEW_YORK).astimezone(UTC)
    except ValueError:
        raise LinkError(f"{_quoted(text)} is no minute; it is written 2026-11-23T13:47, in New York time") from None
    _session_has(minute)
    return minute


def _session_has(minute: datetime) -> None:
    if minute.second or minute.microsecond:
        raise LinkError(f"{minute.isoformat()} is not the start of a minute")
    try:
        session_of(minute)
    except NotASession as error:
        raise LinkError(str(error)) from None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}…")
