"""The budget that every process of this copy of stockpick asks Yahoo within: one account in one SQLite file.

What belongs here: keeping the account, and waiting for a place in it. What does not: the rules (core/budget.py), which
the module docstring there states, degraded mode included.

Nothing is asked again inside a run: what Yahoo or the budget refuses is the reason of its minutes, and the sensors ask
for those later. So a minute of 100 tickers costs at most 100 requests, and so does a session, whatever Yahoo does.

A call waits for at most LONGEST_WAIT of its priority, all its tickers together; who has no place by then is refused.
With the time-out of a request that is the longest that a call takes.
"""

import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar
from uuid import uuid4

from stockpick_assets.core import budget
from stockpick_assets.core.bars import Failure
from stockpick_assets.core.budget import Account, Limits, Priority
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.reasons import Reason

logger = logging.getLogger(__name__)

# A live minute must be out before the next closes; five sessions of history fit into the hour that a run may take.
LONGEST_WAIT = {Priority.LIVE: 30.0, Priority.EXPIRING: 300.0, Priority.REST: 300.0}

# Statuses of 400 and more that are an answer to the question; after a refusal, the others do not say that Yahoo answers
# again.
ANSWERS = (404, 422)
REFUSAL = 429
SECONDS_FOR_THE_FILE = 30

T = TypeVar("T")


class BudgetUnusable(StockpickError):
    """The account cannot be read or written."""


class NoPlace(Exception):
    """The budget does not let a request go out; the text says why."""

    def failure(self) -> Failure:
        """The reason of the minutes that are not asked for."""
        return Failure(Reason.RATE_LIMITED, str(self))


class Place:
    """The right to send one request now."""

    def __init__(self, name: str, sent_at: float) -> None:
        self.name = name
        self.sent_at = sent_at
        self.status: int | None = None
        self.retry_after: str | None = None

    def answer(self, status: int, retry_after: str | None) -> None:
        """Say what came back: the HTTP status, and the header Retry-After where there is one."""
        self.status, self.retry_after = status, retry_after


class YahooBudget:
    """The account in the file `path` (or ":memory:", for one process). Safe to share between threads.

    seed: of the pauses after a refusal. clock: seconds since 1970. sleep: waits for seconds of that clock.
    """

    def __init__(
        self,
        path: Path | str,
        limits: Limits,
        seed: int,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limits = limits
        self._path = path
        self._seed = seed
        self._clock = clock
        self._sleep = sleep
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    def wait_until(self, priority: Priority) -> float:
        """The instant at which a call of that priority, begun now, waits no longer."""
        return self._clock() + LONGEST_WAIT[priority]

    def turns(self, tickers: Sequence[str]) -> tuple[tuple[str, ...], Failure]:
        """Those of the tickers that may be asked for now, and what becomes of the others."""
        _, account, chosen = self._changed(lambda account, now: budget.turns(account, tickers, now))
        return chosen, Failure(Reason.RATE_LIMITED, account.turn(self._clock()))

    @contextmanager
    def place(self, priority: Priority, until: float) -> Iterator[Place]:
        """A place for one request, free again at the end. Waits for it until then at the latest, and raises NoPlace."""
        place = self._place(uuid4().hex, priority, until)
        try:
            yield place
        finally:
            self._end(place)

    def _place(self, name: str, priority: Priority, until: float) -> Place:
        def ask(account: Account, now: float) -> tuple[Account, tuple[float, float]]:
            after, wait = budget.asked(account, self.limits, name, priority, now)
            if now + wait < until:
                return after, (wait, now)
            return budget.given_up(account, name, now), (math.inf, now)

        while True:
            _, account, (wait, now) = self._changed(ask)
            if wait == 0:
                return Place(name, now)
            if wait == math.inf:
                full = (
                    f"no place within {LONGEST_WAIT[priority]:.0f} s among {self.limits.a_minute} requests a minute, "
                    f"{self.limits.in_flight} at a time"
                )
                raise NoPlace(account.pause() if account.paused(now) else full)
            self._sleep(min(wait, budget.LOOK_AGAIN))

    def _end(self, place: Place) -> None:
        def end(account: Account, now: float) -> tuple[Account, None]:
            seconds = budget.seconds_of(place.retry_after, now)
            overloaded = place.status is not None and place.status >= 500 and seconds is not None
            if place.status == REFUSAL or overloaded:
                return budget.refused(account, place.name, place.sent_at, now, seconds, self._seed), None
            believed = place.status is not None and (place.status < 400 or place.status in ANSWERS)
            return budget.answered(account, place.name, now, believed), None

        before, after, _ = self._changed(end)
        if after.refused_at > before.refused_at:
            logger.warning("%s; until then nobody asks, and then one request goes first", after.pause())
        elif before.open and not after.open:
            logger.info("Yahoo answers again; the rate recovers from %.0f%%", 100 * budget.SMALLEST_SHARE)

    def _changed(self, rule: Callable[[Account, float], tuple[Account, T]]) -> tuple[Account, Account, T]:
        """The account before and after a rule was applied to it now, and what else the rule gave.

        It is held against every other thread and process meanwhile. Raises BudgetUnusable.
        """
        try:
            with self._lock, self._file() as file:
                file.execute("BEGIN IMMEDIATE")
                before = _account(file)
                after, given = rule(before, self._clock())
                if after != before:
                    file.execute("UPDATE budget SET account = ?", (json.dumps(vars(after)),))
                return before, after, given
        except (sqlite3.Error, OSError, _NoAccount) as error:
            self._connection = None  # the file may have been replaced: the next call opens it anew
            raise BudgetUnusable(
                f"the account of requests to Yahoo in {self._path} cannot be used: {error}. No request was sent. Is "
                "the folder there and writable? A damaged file may be removed once nothing runs"
            ) from error

    def _file(self) -> sqlite3.Connection:
        """The open file. It is opened on first use: a process that is forked before has one of its own."""
        if self._connection is None:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            opened = sqlite3.connect(self._path, SECONDS_FOR_THE_FILE, isolation_level=None, check_same_thread=False)
            # A process that dies leaves a journal that the next one rolls back; only a power cut could do harm.
            opened.execute("PRAGMA journal_mode = PERSIST")
            opened.execute("PRAGMA synchronous = OFF")
            with opened:
                opened.execute("BEGIN IMMEDIATE")
                opened.execute("CREATE TABLE IF NOT EXISTS budget (id INTEGER PRIMARY KEY CHECK (id = 1), account)")
                opened.execute("INSERT OR IGNORE INTO budget VALUES (1, '{}')")
            self._connection = opened
        return self._connection


class _NoAccount(Exception):
    """What stands in the file is no account of ours."""


def _account(file: sqlite3.Connection) -> Account:
    row = file.execute("SELECT account FROM budget").fetchone()
    try:
        return Account(**json.loads(row[0]))
    except (TypeError, ValueError) as error:
        raise _NoAccount(f"it holds no account ({type(error).__name__}: {error})") from error
