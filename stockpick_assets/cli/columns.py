"""Columns of text in a terminal."""

from collections.abc import Sequence

import click


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A line a row, every column as wide as its widest cell; a colour has no width."""
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    padded = [
        [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in padded)
