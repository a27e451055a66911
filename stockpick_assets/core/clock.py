"""Market time as a function of wall time. Reads no clock: the wall time is always an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class MarketClock:
    """The clock of the source's exchange.

    Without a replay, market time is wall time. With one, market time stood at `replay_from` when wall time stood at
    `replay_started_at`, and has moved `speed` times as fast since.
    """

    replay_started_at: datetime | None = None
    replay_from: datetime | None = None
    speed: float = 1.0

    @property
    def replayed(self) -> bool:
        """Whether this clock shows a market other than the one that is open now."""
        return self.replay_from is not None

    def at(self, wall: datetime) -> datetime:
        """Market time (UTC) at the aware wall time `wall`."""
        if self.replay_from is None or self.replay_started_at is None:
            return wall.astimezone(UTC)
        return (self.replay_from + (wall - self.replay_started_at) * self.speed).astimezone(UTC)

    def wall_at(self, market: datetime) -> datetime:
        """Wall time (UTC) at which market time is `market`; the inverse of `at`."""
        if self.replay_from is None or self.replay_started_at is None:
            return market.astimezone(UTC)
        return (self.replay_started_at + (market - self.replay_from) / self.speed).astimezone(UTC)
