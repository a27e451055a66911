"""The time, as a resource: assets, checks and sensors are given it, and tests set it."""

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

    def wall(self) -> datetime:
        """Wall time, UTC."""
        return self.read_wall()

    def market(self) -> datetime:
        """Market time, UTC: wall time, or the replay's."""
        return self.clock.at(self.read_wall())
