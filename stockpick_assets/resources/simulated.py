"""An exchange that does not exist: seeded bars of any ticker for any session, for use without a network.

What belongs here: what it answers. What does not: how its prices come about (simulated_prices.py), what befalls them
(simulated_troubles.py), and the rows and reasons they become (core/answers.py). Nothing of it is market data, and
everything made from it says `simulated`.

A ticker's answer follows from the seed, the ticker, the session and the market time of the question alone, whoever asks
and for which others. Some days after a session it no longer changes.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache

import numpy as np
import pyarrow as pa

from stockpick_assets.core.answers import Request, raw_prices
from stockpick_assets.core.bars import Bars, Failure
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import MINUTE, Session, last_session_begun, session_before, sessions_until
from stockpick_assets.core.reasons import Reason
from stockpick_assets.resources.simulated_prices import FOUNDED, Market, Stream, random_numbers
from stockpick_assets.resources.simulated_troubles import USUAL_TROUBLES, Life, Tape, Troubles, taped

KEPT_SESSIONS = 8


class SimulatedExchange:
    """The `MarketData` of a made-up exchange with the sessions of XNYS from 2010 on.

    troubles: how often what goes wrong with a real source goes wrong here. effect: whether there is something in its
    returns for a model to find.
    """

    def __init__(
        self, seed: int, tickers: Sequence[str], troubles: Troubles = USUAL_TROUBLES, effect: bool = True
    ) -> None:
        self._seed = seed
        self._tickers = tuple(sorted(tickers))
        self._troubles = troubles
        self._market = Market(seed, self._tickers, effect)
        lives = [Life.drawn(random_numbers(seed, ticker, Stream.LIFE), troubles) for ticker in self._tickers]
        self._lives = dict(zip(self._tickers, lives, strict=True))
        self._session_tape = lru_cache(maxsize=KEPT_SESSIONS)(self._taped)

    def sessions(self, now: datetime, count: int) -> list[Session]:
        """The newest `count` sessions, ascending, that have begun at market time `now`."""
        return sessions_until(last_session_begun(now).date, count)

    def tickers(self) -> tuple[str, ...]:
        """The tickers it knows, in alphabetical order."""
        return self._tickers

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        """See `MarketData.bars`. Raises StockpickError for a session before the exchange was founded."""
        request = Request(session, first, last, tuple(tickers), now, wall)
        if session.date <= FOUNDED:
            raise StockpickError(
                f"the simulated exchange has no session of {session.date}: it was founded on {FOUNDED}; "
                "choose a later session"
            )
        before = session_before(session).date
        answers = {ticker: self._answer(request, before, ticker) for ticker in tickers}
        return raw_prices("simulated", request, answers)

    def _answer(self, request: Request, before: date, ticker: str) -> Bars | Failure:
        """What it says of one ticker; `before` is the date of the session before."""
        if ticker not in self._lives:
            return Failure(Reason.NOT_LISTED, "the simulated exchange does not list it")
        session, life = request.session, self._lives[ticker]
        absence, ratio = life.absence(session.date), life.split(before, session.date)
        if absence:
            return absence
        tape = self._session_tape(session)
        splits = {} if ratio is None else {tape.minutes[0]: ratio}
        return tape.bars(self._tickers.index(ticker), (request.now - session.open) / MINUTE, splits)

    def _taped(self, session: Session) -> Tape:
        day = session.date
        premium = np.array([[life.premium(day)] for life in self._lives.values()])
        streams = [random_numbers(self._seed, ticker, Stream.TROUBLES, day.toordinal()) for ticker in self._tickers]
        return taped(session, self._market.trading(session, premium), streams, self._troubles)
