"""Whether the topics have fallen silent in market hours: said once, told to channels once, and taken back.

What does not belong here: how long is too long (core/leaders.py), or reading the topics (leaders.py).
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

from stockpick_assets.core.alert_texts import label
from stockpick_assets.core.alerts import Delivery
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.leaders import silence
from stockpick_assets.core.market_hours import minute_label, new_york_date

ALARM_RETRY = timedelta(minutes=1)


class Alarm:
    """Tells channels once that the topics fell silent, and once that they speak again.

    deliver: gives a title and a body to the channels. A text that none of them took is tried again every minute, for as
    long as it is true.
    """

    def __init__(self, deliver: Callable[[str, str], Delivery]) -> None:
        self._deliver = deliver
        self._waiting: tuple[str, str] | None = None
        self._raised = False  # whether the channels know of the silence that is, or was last
        self._next: datetime | None = None

    def silent(self, title: str, body: str) -> None:
        """A silence has begun."""
        self._waiting, self._raised, self._next = (title, body), False, None

    def over(self, title: str, body: str) -> None:
        """The silence is over; who was not told of it need not know."""
        self._waiting, self._next = ((title, body) if self._raised else None), None

    def tell(self, wall: datetime) -> str | None:
        """Deliver what waits, at the wall time `wall`; returns what to say where that failed."""
        if self._waiting is None or (self._next is not None and wall < self._next):
            return None
        delivery = self._deliver(*self._waiting)
        if delivery.accepted:
            self._waiting, self._raised = None, True
            return None
        self._next = wall + ALARM_RETRY
        return f"no channel took the alert ({', '.join(delivery.refused)}); trying again in {ALARM_RETRY}"


class Listening:
    """Says when the topics have fallen silent in market hours, once a session, and when messages come again.

    since: market time from which messages are waited for.
    """

    def __init__(self, source: str, clock: MarketClock, since: datetime, alarm: Alarm | None) -> None:
        self._source, self._clock, self._since, self._alarm = source, clock, since, alarm
        self._silent_on: date | None = None  # the day of the silence that was said and is not over
        self._last: datetime | None = None  # the newest minute when it was said

    def said(self, newest: datetime | None, wall: datetime) -> Iterator[str]:
        """What there is to say at the wall time `wall`, when `newest` is the newest minute that has come."""
        now = self._clock.at(wall)
        silent, today = silence(newest, self._since, now, self._clock.speed), new_york_date(now)
        if silent is not None and self._silent_on != today:
            self._silent_on, self._last = today, newest
            title = f"the topics have been silent for {_whole_seconds(silent)} of market time"
            last = f"the last minute that came is {minute_label(newest)}" if newest else "nothing has come yet"
            body = f"it is {minute_label(now)} in New York and the market is open; {last}"
            yield f"{self._source.upper()} {title}; {body}"
            if self._alarm is not None:
                self._alarm.silent(f"{label(self._source)}{title}", f"{body}. Look at `stockpick status`.")
        elif silent is None and self._silent_on is not None and newest != self._last and newest is not None:
            self._silent_on = None
            title = f"messages come again, of {minute_label(newest)} New York"
            yield f"{self._source.upper()} {title}"
            if self._alarm is not None:
                self._alarm.over(f"{label(self._source)}{title}", "The topics had been silent.")
        failure = self._alarm.tell(wall) if self._alarm is not None else None
        if failure is not None:
            yield f"{self._source.upper()} {failure}"


def _whole_seconds(duration: timedelta) -> timedelta:
    return timedelta(seconds=int(duration.total_seconds()))
