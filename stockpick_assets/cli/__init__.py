"""The `stockpick` command. A module of this package adds a command by holding a function under `@click.command()`,
or several with one name by one under `@click.group()`.

A module is imported when its command is used, and read as text for the list of commands: `stockpick --help` takes a
fraction of a second, whatever the commands need. What belongs here is what a person types and sees; what is done is
elsewhere.
"""

import ast
import sys
import warnings
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from stockpick_assets.core.errors import StockpickError


class _NamedCommand(click.Command):
    """A command known by its name and help; the rest of it is imported when it is called."""

    def __init__(self, module: str, function: ast.FunctionDef) -> None:
        super().__init__(function.name.replace("_", "-"), help=ast.get_docstring(function))
        self._place = f"{__name__}.{module}", function.name

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        module, function = self._place
        return getattr(import_module(module), function).make_context(info_name, args, parent, **extra)


class _Commands(click.Group):
    @cached_property
    def _found(self) -> dict[str, click.Command]:
        return {command.name: command for command in _commands() if command.name}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._found.get(cmd_name)


def _commands() -> Iterator[_NamedCommand]:
    for path in Path(__file__).parent.glob("[!_]*.py"):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(function, ast.FunctionDef) and any(
                ast.unparse(decorator).startswith(("click.command", "click.group"))
                for decorator in function.decorator_list
            ):
                yield _NamedCommand(path.stem, function)


@click.group(cls=_Commands)
def stockpick() -> None:
    """Pick stocks every minute: the services, the demo, backfills and what is published."""


def main() -> None:
    """Run the command line; an error that a person can act on is one red line, and exit status 1."""
    # pyspark warns of any pandas from 3.0 on; what is used of it here passes with the pinned one.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    # The error that follows it says so too.
    warnings.filterwarnings("ignore", r"\[RETRIES_EXCEEDED\]", UserWarning)
    try:
        stockpick(prog_name="stockpick")
    except StockpickError as error:
        first, _, rest = str(error).partition("\n")
        click.secho(first, fg="red", err=True)
        if rest:
            click.echo(rest, err=True)
        sys.exit(1)
