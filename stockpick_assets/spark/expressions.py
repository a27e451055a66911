"""Spark SQL that features and labels have in common.

What does not belong here: what is computed of it (features.py, training.py).
"""

# The tickers of a minute, in an order that makes their sums the same to the last bit.
ACROSS = "(PARTITION BY session, minute ORDER BY ticker ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"


def within(value: str, bound: str | int) -> str:
    """`value` clipped to ±bound; a missing one stays missing."""
    # Not least(greatest()): Spark's skip nulls, and would make a missing value the bound.
    return f"CASE WHEN {value} > {bound} THEN {bound} WHEN {value} < -{bound} THEN -{bound} ELSE {value} END"
