"""Spark SQL that features and labels have in common.

What does not belong here: what is computed of it (features.py, training.py).
"""

from collections.abc import Iterator

from stockpick_assets.core.factors import BASIS

# The tickers of a minute, in an order that makes their sums the same to the last bit.
ACROSS = "(PARTITION BY session, minute ORDER BY ticker ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"


def within(value: str, bound: str | int) -> str:
    """`value` clipped to ±bound; a missing one stays missing."""
    # Not least(greatest()): Spark's skip nulls, and would make a missing value the bound.
    return f"CASE WHEN {value} > {bound} THEN {bound} WHEN {value} < -{bound} THEN -{bound} ELSE {value} END"


def loadings(name: str, basis: str = "basis") -> Iterator[str]:
    """The sums over the tickers of the minute that say how much of each factor is in the demeaned `name`."""
    return (f"sum({name} * {basis}[{k}]) OVER {ACROSS} AS {name}_{k}" for k in range(BASIS))


def without_factors(name: str, basis: str = "basis") -> str:
    """`name` without its projection on the factors, whose basis is orthonormal over all tickers of the session.

    It stands beside its `loadings`.
    """
    return f"{name} - ({' + '.join(f'{basis}[{k}] * {name}_{k}' for k in range(BASIS))})"
