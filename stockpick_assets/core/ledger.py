"""Two accounts of the same partitions compared: what a table holds, and what Dagster knows to be materialized.

A partition key is a session, or `minute|ticker`. What does not belong here: reading either account, or changing one.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

DELIMITER = "|"


@dataclass(frozen=True)
class Block:
    """A rectangle of partitions: consecutive minutes and the tickers that each of them has, or consecutive sessions
    without tickers. Both ascending.
    """

    rows: tuple[str, ...]
    tickers: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """Its partition keys, ascending."""
        if not self.tickers:
            return list(self.rows)
        return [f"{row}{DELIMITER}{ticker}" for row in self.rows for ticker in self.tickers]

    def __str__(self) -> str:
        span = self.rows[0] if len(self.rows) == 1 else f"{self.rows[0]} to {self.rows[-1]}"
        if not self.tickers:
            return span
        return (
            f"{span} New York × {', '.join(self.tickers) if len(self.tickers) < 4 else f'{len(self.tickers)} tickers'}"
        )


@dataclass(frozen=True)
class Comparison:
    """held, known: numbers of partitions. unknown: what the table holds and Dagster does not know; unheld: what
    Dagster knows and the table does not hold.
    """

    held: int
    known: int
    unknown: tuple[Block, ...]
    unheld: tuple[Block, ...]

    @property
    def agrees(self) -> bool:
        """Whether both accounts have the same partitions."""
        return not self.unknown and not self.unheld


def compare(held: Collection[str], known: Collection[str], rows: Sequence[str]) -> Comparison:
    """Compare two sets of partition keys. rows: every minute or session there is, ascending; which are consecutive.

    Raises KeyError for a key of another minute or session.
    """
    table, dagster = set(held), set(known)
    return Comparison(
        len(table), len(dagster), tuple(blocks(table - dagster, rows)), tuple(blocks(dagster - table, rows))
    )


def blocks(keys: Collection[str], rows: Sequence[str]) -> Iterator[Block]:
    """Disjoint blocks, ascending, that have just these keys; a filled rectangle is one. See `compare`."""
    position = {row: index for index, row in enumerate(rows)}
    tickers_of: dict[str, list[str]] = {}
    for key in sorted(keys):
        row, _, ticker = key.partition(DELIMITER)
        tickers_of.setdefault(row, []).extend([ticker] if ticker else [])
    together: list[str] = []
    for row in sorted(tickers_of, key=position.__getitem__):
        if together and (position[row] != position[together[-1]] + 1 or tickers_of[row] != tickers_of[together[-1]]):
            yield Block(tuple(together), tuple(tickers_of[together[-1]]))
            together = []
        together.append(row)
    if together:
        yield Block(tuple(together), tuple(tickers_of[together[-1]]))
