"""Columns of text in a terminal, and how values of the tables' columns are written there."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import click

from stockpick_assets.core.messages import one_line

ABSENT = "-"
LONGEST_TEXT = 400


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A line a row, every column as wide as its widest cell; a colour has no width."""
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    padded = [
        [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in padded)


def shown(value: object) -> str:
    """A column's value for a person: of sessions their number, the first and the last."""
    match value:
        case None | []:
            return ABSENT
        case [date() as first, *_]:
            return str(first) if len(value) == 1 else f"{len(value)} sessions, {first} to {value[-1]}"
        case [*several]:
            return ", ".join(map(shown, several))
        case float():
            return f"{value:.6g}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case _:
            return one_line(str(value), LONGEST_TEXT)
