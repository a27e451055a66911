"""The base of the errors whose message a person is meant to read.

The command line prints such an error as one line; every other exception is a defect and keeps its trace.
"""


class StockpickError(Exception):
    """Something failed for a reason the user can act on; the message says what, where, why and what to do."""
