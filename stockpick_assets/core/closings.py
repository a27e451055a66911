"""Closings of the exchange that its calendar does not know: days, or hours of a day, that were not announced in time.

What does not belong here: holidays, half-days and the closings that the calendar does know (market_hours.py).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time

from stockpick_assets.core.market_hours import NEW_YORK

TAKES = "takes New York dates, 2026-12-01, and hours of one, 2026-12-01 13:00-16:00, separated by commas"
_HOURS = re.compile(r"(\S+)(?: +(\d\d:\d\d)-(\d\d:\d\d))?")
# The longest session: a half-day ends before its close.
_OPENS, _CLOSES = time(9, 30), time(16)


@dataclass(frozen=True, order=True)
class Closing:
    """A day of New York on which the exchange is closed from `begins` until `ends`."""

    day: date
    begins: time = _OPENS
    ends: time = _CLOSES

    def contains(self, minute: datetime) -> bool:
        """Whether the bar that starts at `minute` would lie in it."""
        local = minute.astimezone(NEW_YORK)
        return local.date() == self.day and self.begins <= local.time() < self.ends

    def __str__(self) -> str:
        if (self.begins, self.ends) == (_OPENS, _CLOSES):
            return self.day.isoformat()
        return f"{self.day} {self.begins:%H:%M}-{self.ends:%H:%M}"


def parse_closings(text: str) -> tuple[Closing, ...]:
    """The closings of a comma-separated text, ascending. Raises ValueError naming the part that is none."""
    parts = (part.strip() for part in text.split(","))
    return tuple(sorted({_closing(part) for part in parts if part}))


def _closing(text: str) -> Closing:
    found = _HOURS.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        day = date.fromisoformat(found[1])
        begins, ends = (time.fromisoformat(found[2]), time.fromisoformat(found[3])) if found[2] else (_OPENS, _CLOSES)
    except ValueError:
        raise ValueError(f"{text!r} is no closing: {TAKES}") from None
    if begins >= ends:
        raise ValueError(f"{text!r} ends before it begins")
    if ends <= _OPENS or begins >= _CLOSES:
        raise ValueError(
            f"{text!r} has no minute of a session, which lasts from 09:30 to 16:00; write 13:00, not 01:00"
        )
    return Closing(day, begins, ends)
