"""The time, as a resource: assets, checks and sensors are given it, and tests set it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from stockpick_assets.core.clock import MarketClock


def wall_clock() -> datetime:
    """Wall time now, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Now:
    """Wall time and market time at the moment of the call."""

    clock: MarketClock
    read_wall: Callable[[], datetime] = wall_clock
    sleep: Callable[[float], None] = time.sleep

    def wall(self) -> datetime:
        """Wall time, UTC."""
        return self.read_wall()

    def market(self) -> datetime:
        """Market time, UTC: wall time, or the replay's."""
        return self.clock.at(self.read_wall())

    def seconds_until(self, market: datetime) -> float:
        """Seconds of wall time until it is `market` there; negative when that is past."""
        return (self.clock.wall_at(market) - self.read_wall()).total_seconds()

    def wait_until(self, market: datetime) -> None:
        """Return once it is `market` there."""
        while (seconds := self.seconds_until(market)) > 0:
            self.sleep(seconds)
