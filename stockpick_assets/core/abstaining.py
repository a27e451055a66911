"""When a forecast is not to be relied on, in words with the numbers that say so. A reason never takes a number away.

What belongs here: the limits, and the sentences. What does not: what is measured (performance.py), and why a ticker has
no forecast at all (spark/scoring.py). A pick says the first of these that holds: no forecast, `doubt` about the model,
`missing` data, `no_edge`.
"""

from stockpick_assets.core.evaluation import Numbers

NO_EDGE = "no edge after cost"
MOST_MISSING = 1 / 3
BASIS_POINTS = 1e4


def missing(present: int, expected: int) -> str | None:
    """Why no pick of a minute is to be relied on, by how many of the tickers of the session have a bar in it."""
    lacking = expected - present
    if lacking <= MOST_MISSING * expected:
        return None
    return f"{lacking} of {expected} tickers have no bar in this minute"


def no_edge(expected_returns: Numbers, cost_bp: float) -> str | None:
    """Why no pick of a minute pays, by the obtainable returns (fractions) that are expected of its tickers.

    None where one exceeds the cost of a round trip, and where nothing is known of any.
    """
    if not expected_returns.size:
        return None
    best = float(expected_returns.max()) * BASIS_POINTS
    return (
        f"{NO_EDGE}: the best expected return is {best:.1f} bp, the cost {cost_bp:.1f} bp" if best <= cost_bp else None
    )
