"""`stockpick quality`: what became of every minute of a session, from raw_prices."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import NEW_YORK, Session, minute_label, session_on
from stockpick_assets.core.messages import first_of, one_line
from stockpick_assets.core.quality import AnswerMatrix
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.core.session_quality import (
    Remark,
    Row,
    SessionQuality,
    expected_minutes,
    remarks,
    session_quality,
)
from stockpick_assets.core.versions import BAR
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data, universe
from stockpick_assets.settings import Settings
from stockpick_assets.store import Contents, Store
from stockpick_assets.window import window

MOST_NAMED = 8
UNEXPLAINED = 3  # the exit status; that of an error is 1, of a usage error 2


@click.command()
@click.argument("session", type=click.DateTime(["%Y-%m-%d"]), metavar="[SESSION]", required=False)
@click.option("--ticker", help="That ticker alone, with each minute that is not plainly present or was revised.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def quality(context: click.Context, session: datetime | None, ticker: str | None, as_json: bool) -> None:
    """Show what became of every minute of a session (2026-11-23), by default the newest that has rows.

    Exit status 3 when a minute that is shown is unexplained: it has no row, or a reason that is not final; 1 when
    nothing can be shown. Of a session under way, minutes that closed in the last five minutes count once they have a
    row.
    """
    settings = Settings.load()
    store, now = Store.from_settings(settings), settings.clock.at(wall_clock())
    contents = store.contents(RAW_PRICES.name)
    chosen = _session(settings.source, contents, session, now)
    versions = store.read(
        RAW_PRICES.name,
        from_session=chosen.date,
        to_session=chosen.date,
        version=contents.version,
        every_version=True,
    ).sort_by("fetched_at")
    tickers = _tickers(settings, chosen, versions)
    if ticker is not None:
        if ticker.upper() not in tickers:
            raise StockpickError(
                f"{settings.source}/raw_prices has no row of {one_line(ticker)} in the session of {chosen.date}, "
                f"which has {_ends(tickers, 'ticker')}"
            )
        tickers = [ticker.upper()]
    answers = AnswerMatrix.of(versions, tickers, expected_minutes(chosen, pc.max(versions["minute"]).as_py(), now))
    found = session_quality(answers, versions)
    said = remarks(answers, versions, tickers[0]) if ticker else None
    show = to_json if as_json else to_text
    click.echo(show(settings.source, chosen, found, said))
    if found.together.unexplained:
        context.exit(UNEXPLAINED)


def _session(source: str, contents: Contents, asked: datetime | None, now: datetime) -> Session:
    """The session that was asked for, or the newest. Raises StockpickError where the table has no row of it."""
    held = sorted(contents.files)
    if not held:
        raise StockpickError(f"{source}/raw_prices has no rows yet; `stockpick backfill` fetches sessions")
    if asked is None:
        return session_on(held[-1])
    session = session_on(asked.date())
    if session.date in held:
        return session
    if session.open > now:
        raise StockpickError(
            f"the session of {session.date} has not begun: it opens at {minute_label(session.open)} New York, where it "
            f"is {minute_label(now)}"
        )
    raise StockpickError(
        f"{source}/raw_prices has no rows of {session.date}; it holds {_ends(held, 'session')}. "
        f"`stockpick backfill {session.date} {session.date}` fetches it if it is in the window"
    )


def _tickers(settings: Settings, session: Session, rows: pa.Table) -> list[str]:
    """Those that have rows; of a session of the window its tickers as well, which must have some."""
    source = market_data(settings)
    with_rows: set[Any] = set(rows["ticker"].to_pylist())
    if session not in window(settings, source, wall_clock()).sessions:
        return sorted(with_rows)
    return sorted(with_rows.union(universe(settings, source).on(session.date)))


def to_text(source: str, session: Session, found: SessionQuality, said: Sequence[Remark] | None) -> str:
    """The table, the thinnest minutes, and the remarks on the one ticker; New York time."""
    together = found.together
    unexplained = f"{together.unexplained:,} unexplained"
    if together.unexplained:
        unexplained = click.style(unexplained, fg="red")
    tickers = _count(len(found.tickers), "ticker") if said is None else one_line(next(iter(found.tickers)))
    minutes = _count(together.expected, "minute")
    head = f"{source.upper()} raw_prices {session.label()}: {minutes} of {tickers}, {unexplained}"
    reasons = list({"present": 0, **together.reasons, "quarantined": 0})
    names = ("ticker", *reasons, "withheld", "revised", "late", "first", "last")
    rows = [_cells(one_line(ticker), row, reasons) for ticker, row in found.tickers.items()]
    if said is None:
        rows.append(_cells("all", together, reasons))
    lines = [head, "", *_aligned([names, *rows])]
    if said is not None:
        lines += ["", *([_remark(remark) for remark in said] or ["every minute is plainly present"])]
    elif found.thinnest:
        lines += ["", "thinnest minutes"]
        lines += [
            f"{_time(thin.minute)}  {thin.listed - len(thin.without)} of {thin.listed} with a bar; "
            f"without: {first_of([one_line(ticker) for ticker in thin.without], MOST_NAMED)}"
            for thin in found.thinnest
        ]
    return "\n".join(lines)


def to_json(source: str, session: Session, found: SessionQuality, said: Sequence[Remark] | None) -> str:
    """The same with minutes in UTC; of every thin minute all tickers."""
    fields: dict[str, Any] = {
        "source": source,
        "session": session.label(),
        **_fields(found.together),
        "tickers": {ticker: _fields(row) for ticker, row in found.tickers.items()},
        "thinnest_minutes": [
            {"minute": thin.minute, "listed": thin.listed, "without": thin.without} for thin in found.thinnest
        ],
    }
    if said is not None:
        fields["minutes"] = [vars(remark) for remark in said]
    return json.dumps(fields, indent=2, default=datetime.isoformat)


def _fields(row: Row) -> dict[str, Any]:
    return {
        "expected": row.expected,
        "unexplained": row.unexplained,
        "reasons": row.reasons,
        "volume_withheld": row.withheld,
        "revised": row.revised,
        "late": row.late,
        "first_bar": row.first,
        "last_bar": row.last,
    }


def _cells(name: str, row: Row, reasons: Sequence[str]) -> tuple[str, ...]:
    numbers = (*(row.reasons.get(reason, 0) for reason in reasons), row.withheld, row.revised, row.late)
    return (name, *(f"{number:,}" for number in numbers), _time(row.first), _time(row.last))


def _remark(remark: Remark) -> str:
    said = "; ".join(filter(None, [_revision(remark.versions), one_line(remark.detail or "", 200)]))
    return f"{_time(remark.minute)}  {remark.reason:<14}  {said}".rstrip()


def _revision(versions: Sequence[Mapping[str, Any]]) -> str:
    """What the newest version has other than the first; empty where there are not two."""
    if len(versions) < 2:
        return ""
    first, newest = versions[0], versions[-1]
    more = f", {len(versions)} versions" if len(versions) > 2 else ""
    if first["reason"] != newest["reason"]:
        return f"was {first['reason']}{more}"
    changes = [f"{name} {_change(first[name], newest[name])}" for name in BAR if first[name] != newest[name]]
    return f"revised {minute_label(newest['known_at'])}: {', '.join(changes) or 'as it was first'}{more}"


def _change(before: float | None, after: float | None) -> str:
    """Both with four decimals at most, or all of them where those do not tell the two apart."""
    texts = ["null" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".") for value in (before, after)]
    return " to ".join(texts if texts[0] != texts[1] else map(str, (before, after)))


def _time(minute: datetime | None) -> str:
    return f"{minute.astimezone(NEW_YORK):%H:%M}" if minute else ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The first column to the left, numbers and times to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _ends(things: Sequence[object], thing: str) -> str:
    """How many there are, with the first and the last."""
    last = f" to {things[-1]}" if len(things) > 1 else ""
    return f"{_count(len(things), thing)}, {things[0]}{last}"
