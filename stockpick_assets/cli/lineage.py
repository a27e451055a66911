"""`stockpick lineage`: where a message or an alert came from, back to the bars.

What does not belong here: how that is found out (lineage.py).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from textwrap import wrap
from typing import Any

import click

from stockpick_assets.cli.columns import ABSENT, aligned, shown
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.messages import one_line
from stockpick_assets.lineage import LONGEST_ID, Lineage, Step, trace
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store

BARS = 10
WIDTH = 110
NO_BREAK = "\N{NO-BREAK SPACE}"  # text of the tables has none: one_line writes it as an escape
INDENT = "    "
LONGEST_KEY = 300
LONGEST_REMARK = 500
MOST_OBJECTS = 5
MOST_VALUES = 8  # of a list; of a longer one the text says how long it is
PRICES = ("open", "high", "low", "close", "volume")


@click.command()
@click.argument("wanted", metavar="MESSAGE_OR_ALERT_ID")
@click.option("--version", type=click.IntRange(min=1), help="Of the message; by default the newest that went out.")
@click.option(
    "--bars", type=click.IntRange(min=0), default=BARS, show_default=True, help="How many of the bars, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def lineage(wanted: str, version: int | None, bars: int, as_json: bool) -> None:
    """Trace a message or an alert back: pick, prediction, model, features, and the bars that were read.

    The id of a message is source/minute/ticker, as in simulated/2026-11-23T14:30:00Z/AAPL. Of an alert the message is
    shown that was the newest when it was raised. Each row is read at the table's version that was read at the time.
    """
    found = trace(Store.from_settings(Settings.load()), wanted, version, bars)
    click.echo(json.dumps(asdict(found), indent=2, default=_iso) if as_json else to_text(found))


def to_text(found: Lineage) -> str:
    """The lineage for a person: each step indented under what came from it."""
    lines = [f"{found.source.upper()} {one_line(found.id, LONGEST_ID)}"]
    if found.message is not None:
        message = found.message
        others = [str(version) for version in found.message_versions if version != message["version"]]
        lines.append(
            f"message  {one_line(message['id'], LONGEST_ID)} version {message['version']}, produced "
            f"{_moment(datetime.fromisoformat(message['produced_at']))}; "
            + (f"there is version {', '.join(others)} too (--version)" if others else "there is no other version")
        )
    lines += [f"store    {one_line(found.store, LONGEST_KEY)}, which all files are below", ""]
    return "\n".join([*lines, *_step(found.step, "")])


def _step(step: Step, indent: str) -> Iterator[str]:
    place = "" if step.table is None else f"  {step.table}"
    place += "" if step.version is None else f" version {step.version}"
    yield f"{indent}{click.style(step.name, bold=True)}{place}"
    inner = indent + INDENT
    if step.remark:
        yield from _wrapped(f"NOTE: {one_line(step.remark, LONGEST_REMARK)}", inner)
    if step.written:
        written = step.written
        run = f" by run {one_line(written.run_id)}" if written.run_id else ""
        yield f"{inner}written at {_moment(written.at)} as version {written.version}{run}"
    for key in step.objects[:MOST_OBJECTS]:
        yield f"{inner}file {one_line(key, LONGEST_KEY)}"
    if len(step.objects) > MOST_OBJECTS:
        yield f"{inner}and {len(step.objects) - MOST_OBJECTS} files more (--json names all)"
    yield from _wrapped("; ".join(_pair(name, _said(value)) for name, value in step.values.items()), inner)
    if step.rows:
        yield from (f"{inner}{line}" for line in _table(step.rows).splitlines())
    for before in step.came_from:
        yield from _step(before, inner)


def _table(bars: Sequence[Any]) -> str:
    head = ("minute, New York", *PRICES, "reason", "fetched, UTC", "detail")
    cells = [
        (
            minute_label(bar["minute"]),
            *(shown(bar[name]) for name in PRICES),
            shown(bar["reason"]),
            ABSENT if bar["fetched_at"] is None else _moment(bar["fetched_at"]).removesuffix(" UTC"),
            one_line(bar["detail"] or "", 60),
        )
        for bar in bars
    ]
    return aligned([head, *cells])


def _said(value: object) -> str:
    match value:
        case datetime():
            return _moment(value)
        case [date(), *_]:
            return shown(value)
        case [*several] if len(several) > MOST_VALUES:
            return f"{len(several)} values"
        case _:
            return shown(value)


def _pair(name: str, value: str) -> str:
    """A value after its name, which stay on one line where they are short."""
    pair = f"{name} {value}"
    return pair.replace(" ", NO_BREAK) if len(pair) <= WIDTH // 2 else pair


def _wrapped(text: str, indent: str) -> list[str]:
    lines = wrap(
        text,
        max(WIDTH, len(indent) + WIDTH // 2),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} UTC"


def _iso(moment: date) -> str:
    return moment.isoformat()
