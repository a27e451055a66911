"""Why an expected minute of a ticker has a bar or has none. The words stand in `raw_prices.reason`."""

from enum import StrEnum


class Reason(StrEnum):
    """The answer to one expected (ticker, minute)."""

    PRESENT = "present"
    NO_TRADE = "no_trade"
    HALTED = "halted"
    CLOSED = "closed"
    NOT_LISTED = "not_listed"
    DELISTED = "delisted"
    QUARANTINED = "quarantined"
    LOST = "lost"
    RATE_LIMITED = "rate_limited"
    PROVIDER_ERROR = "provider_error"
    PENDING = "pending"

    @property
    def final(self) -> bool:
        """Whether asking again cannot change the answer."""
        return self not in (Reason.RATE_LIMITED, Reason.PROVIDER_ERROR, Reason.PENDING)
