"""When a request may be sent: the rules of a budget that processes share, as functions of what was sent so far.

What belongs here: rate, priorities, limits in flight, and what follows from a refusal. What does not: where the account
is kept and how long anybody waits (resources/yahoo_budget.py), or what is asked.

Rate: at most `Limits.a_minute` requests in any 60 seconds. A live minute goes out at once; everything else is spaced
evenly, and while a session is open in what the live minute leaves, one at a time, and never while a more urgent request
waits.

Refusal: a 429 to anybody, or a 5xx that says when to ask again, opens the breaker for everybody, for as long as the
answer says, or for a time drawn from 0 to FIRST_PAUSE, twice that at the next refusal, and so on to LONGEST_PAUSE. Then
one request is let through; another refusal opens the breaker for longer, an answer closes it.

Degraded mode: after that, a quarter of the rate and of the tickers, those that have waited longest; half after five
minutes, all after ten. A refusal meanwhile begins it anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import IntEnum

import numpy as np

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.market_hours import MINUTE, NEW_YORK, Session, last_session_begun

# How long Yahoo keeps minutes: older ones it answers with 422, "must be within the last 30 days".
KEPT = timedelta(days=30)
# How long before that a session comes before others: a weekend and a holiday, and a day to notice.
EXPIRES_SOON = timedelta(days=5)

WINDOW = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 1800.0
SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, 3600.0
SMALLEST_SHARE, STEP = 0.25, 300.0
# How soon to look again when it depends on others, a request taking some 100 ms, and at the latest.
SOON, LOOK_AGAIN = 0.05, 1.0


class Priority(IntEnum):
    """Who goes first: the lower number."""

    LIVE = 0
    EXPIRING = 1
    REST = 2


def priority(session: Session, last: datetime, now: datetime) -> Priority:
    """Of a request for minutes of `session` up to the one that starts at `last`, at market time `now`."""
    if now <= last + MINUTE + BACKFILL_LAG:
        return Priority.LIVE
    expires_in = session.open + KEPT - now
    return Priority.EXPIRING if timedelta(0) < expires_in <= EXPIRES_SOON else Priority.REST


def live_minutes_come(now: datetime) -> bool:
    """Whether a session is open, or closed so short ago that its last minutes still count as live."""
    return now <= last_session_begun(now).close + BACKFILL_LAG


@dataclass(frozen=True)
class Limits:
    """a_minute: requests in any 60 seconds. in_flight: requests at one time. live: requests that a live minute takes.
    timeout: of one request, in seconds, after which its place is free whatever became of it.
    """

    a_minute: int
    in_flight: int
    live: int
    timeout: float


@dataclass(frozen=True)
class Account:
    """What every process knows of the others. Instants are seconds since 1970 in UTC.

    sent: instant and priority of each request of the last 60 seconds, ascending. in_flight, waiting: by place, until
    when it counts and its priority. open: whether the breaker is; the one let through is `probe`. refused_at: the last
    refusal that opened it, the `refusals`-th without full recovery between. ask_from: the end of the pause.
    closed_at: when an answer ended it. turns: when each ticker was last asked in degraded mode.
    """

    sent: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    in_flight: dict[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])
    waiting: dict[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])
    open: bool = False
    probe: str | None = None
    refused_at: float = 0.0
    refusals: int = 0
    ask_from: float = 0.0
    closed_at: float = 0.0
    turns: dict[str, float] = field(default_factory=dict[str, float])

    def paused(self, now: float) -> bool:
        """Whether nobody may send."""
        return self.open and now < self.ask_from

    def share(self, now: float) -> float:
        """The part of the rate, and of the tickers, that degraded mode allows; 1 when there was no refusal lately."""
        recovering_for = 0 if self.open else now - self.closed_at
        return min(1.0, SMALLEST_SHARE * 2.0 ** min(recovering_for // STEP, 8))

    def pause(self) -> str:
        """What is said of a request that the open breaker holds back."""
        return (
            f"Yahoo refused at {_clock_time(self.refused_at)}, asked again from {_clock_time(self.ask_from)} New York"
        )

    def turn(self, now: float) -> str:
        """What is said of a ticker that degraded mode leaves out."""
        return (
            f"not its turn: Yahoo refused at {_clock_time(self.refused_at)} New York, and {self.share(now):.0%} of the "
            "tickers are asked each time"
        )


def asked(account: Account, limits: Limits, place: str, priority: Priority, now: float) -> tuple[Account, float]:
    """The account after `place` has asked to send, and how many seconds it must wait: 0 when it may send now.

    Infinite where waiting is of no use: the breaker is open, or a session is open and its live minutes take everything.
    """
    account = _current(account, now)
    if account.paused(now):
        return _without(account, place), math.inf
    wait = _wait(account, limits, priority, now)
    if wait > 0:
        until = now + LOOK_AGAIN + limits.timeout
        return replace(account, waiting={**account.waiting, place: (until, priority)}), wait
    account = _without(account, place)
    sent = replace(
        account,
        sent=[*account.sent, (now, priority)],
        in_flight={**account.in_flight, place: (now + limits.timeout + SOON, priority)},
        probe=place if account.open else None,
    )
    return sent, 0.0


def given_up(account: Account, place: str, now: float) -> Account:
    """The account after `place` has stopped waiting."""
    return _without(_current(account, now), place)


def answered(account: Account, place: str, now: float, believed: bool) -> Account:
    """The account after the request of `place` has ended. believed: whether by an answer that ends a pause."""
    account = _current(account, now)
    ends = believed and account.open and account.probe == place
    return replace(
        _without(account, place),
        open=account.open and not ends,
        closed_at=now if ends else account.closed_at,
        probe=None if account.probe == place else account.probe,
    )


def refused(account: Account, place: str, sent_at: float, now: float, retry_after: float | None, seed: int) -> Account:
    """The account after the request of `place` was refused.

    retry_after: seconds, where the answer has them. seed: of the pause otherwise, together with `now`. Requests that
    were under way when another was refused do not make the pause longer, save by what their answer asks for.
    """
    account = answered(account, place, now, believed=False)
    if retry_after is not None:
        retry_after = min(max(retry_after, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)
    if sent_at <= account.refused_at:
        later = now + (retry_after or 0) if account.open else account.ask_from
        return replace(account, ask_from=max(account.ask_from, later))
    refusals = 1 if account.share(now) == 1 else account.refusals + 1
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(refusals - 1, 16))
    pause = retry_after or np.random.default_rng((seed, int(now * 1000))).uniform(0, longest)
    return replace(account, open=True, refused_at=now, refusals=refusals, ask_from=now + pause)


def turns(account: Account, tickers: Sequence[str], now: float) -> tuple[Account, tuple[str, ...]]:
    """The account after `tickers` were to be asked for, and those of them that are: all, or in degraded mode a part."""
    account = _current(account, now)
    share = account.share(now)
    if account.paused(now) or share == 1:
        return account, tuple(tickers)
    longest_first = sorted(tickers, key=lambda ticker: (account.turns.get(ticker, -math.inf), ticker))
    chosen = longest_first[: math.ceil(len(tickers) * share)]
    return replace(account, turns={**account.turns, **dict.fromkeys(chosen, now)}), tuple(sorted(chosen))


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """The header Retry-After in seconds from `now`: it holds seconds or an HTTP date. None where it says nothing."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - now
    except ValueError:
        return None


def _wait(account: Account, limits: Limits, priority: Priority, now: float) -> float:
    if account.probe is not None:
        return SOON
    share = account.share(now)
    most = max(1, int(limits.a_minute * share))
    waits = [0.0]
    if len(account.sent) >= most:
        waits.append(account.sent[-most][0] + WINDOW - now)
    if len(account.in_flight) >= limits.in_flight:
        waits.append(SOON)
    if priority > Priority.LIVE:
        if any(other < priority for _, other in account.waiting.values()):
            waits.append(SOON)
        reserved = math.ceil(limits.live * share) if live_minutes_come(datetime.fromtimestamp(now, UTC)) else 0
        if reserved >= most:
            return math.inf
        if reserved and any(other > Priority.LIVE for _, other in account.in_flight.values()):
            waits.append(SOON)
        spaced = [at for at, other in account.sent if other > Priority.LIVE]
        if spaced:
            waits.append(spaced[-1] + WINDOW / (most - reserved) - now)
    return max(waits)


def _current(account: Account, now: float) -> Account:
    """The account without what no longer counts."""
    in_flight = {place: lease for place, lease in account.in_flight.items() if lease[0] > now}
    return replace(
        account,
        sent=[entry for entry in account.sent if entry[0] > now - WINDOW],
        in_flight=in_flight,
        waiting={place: lease for place, lease in account.waiting.items() if lease[0] > now},
        probe=account.probe if account.probe in in_flight else None,
        turns=account.turns if account.share(now) < 1 else {},
    )


def _without(account: Account, place: str) -> Account:
    return replace(
        account,
        in_flight={other: lease for other, lease in account.in_flight.items() if other != place},
        waiting={other: lease for other, lease in account.waiting.items() if other != place},
    )


def _clock_time(instant: float) -> str:
    return f"{datetime.fromtimestamp(instant, NEW_YORK):%Y-%m-%d %H:%M:%S}"
