"""A clock for what waits: its time passes only when somebody waits, or is told."""

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Seconds since 1970, as the budget of requests to Yahoo takes them."""

    now: float

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.now += seconds
