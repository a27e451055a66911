"""`stockpick prove`: that no forecast of a session was made of what came after it."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stockpick_assets.proof import Check

CLAIM = (
    "A bar that was backfilled is dated five minutes after its close: of its revisions before that nothing is known, "
    "and for it the proof says only that nothing dated later was used."
)


@click.command()
@click.argument("session", type=click.DateTime(["%Y-%m-%d"]), metavar="[SESSION]", required=False)
@click.option("--bars", type=click.Path(path_type=Path), help="A Parquet file of bars in place of the tables.")
@click.option("--minutes", type=click.IntRange(1, 20), default=3, show_default=True, help="How many are chosen.")
@click.option("--history", "before", type=click.IntRange(0), default=5, show_default=True, help="Sessions before it.")
@click.option("--seed", type=click.IntRange(0), help="Of the choice and the changes; STOCKPICK_SEED when left out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def prove(
    context: click.Context,
    session: datetime | None,
    bars: Path | None,
    minutes: int,
    before: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Change what came after some minutes of a session (2026-11-23), and show that nothing up to them changes.

    The session, by default the newest that is long enough, is made again for each change: factors, features,
    indicators, models, forecasts and picks, by the functions that the assets use. Then models are fitted to shuffled
    labels, and must find nothing. Exit status 1 on a leak. Nothing is written to the tables.
    """
    import numpy as np

    from stockpick_assets.cli.connected import connected
    from stockpick_assets.cli.market import market, session_of, terms
    from stockpick_assets.cli.progress import progress_bar
    from stockpick_assets.proof import checks, chosen_minutes, history, newest_provable
    from stockpick_assets.settings import Settings
    from stockpick_assets.walk_forward import Walk

    settings = Settings.load()
    found = market(settings, bars)
    chosen = session_of(found, session.date()) if session else newest_provable(found, minutes)
    found, numbers = found.until(chosen, before), settings.seed if seed is None else seed
    # A session that is too short is refused before its history is walked.
    chosen_minutes(found.versions(chosen), minutes, np.random.default_rng(numbers))
    done: list[Check] = []
    with (
        connected(settings, lambda line: click.echo(line, err=True)) as spark,
        progress_bar(err=True) as progress,
    ):
        walk = Walk(spark, found, terms(settings))
        bar = progress.add_task("history", total=len(found.sessions) - 1)
        past = []
        for completed in history(walk, chosen):
            past.append(completed)
            progress.advance(bar)
        bar = progress.add_task("checks", total=None)
        for check in checks(walk, chosen, past, minutes, numbers):
            done.append(check)
            progress.update(bar, description=check.tried)
    if as_json:
        click.echo(json.dumps({"session": chosen.label(), "checks": [asdict(one) for one in done]}, default=str))
    else:
        title = f"{found.source.upper()} {chosen.label()}: tickers {len(found.tickers)}, sessions before it {len(past)}"
        click.echo(_text(title, done))
    if any(check.leak for check in done):
        context.exit(1)


def _text(title: str, done: "list[Check]") -> str:
    from stockpick_assets.cli.columns import aligned
    from stockpick_assets.core.market_hours import minute_label

    results = {None: click.style("not tried", fg="yellow"), False: "holds", True: click.style("LEAK", fg="red")}
    rows = [("changed", "after", "values compared", "result", "")]
    rows += [
        (
            check.tried,
            minute_label(check.minute) if check.minute else "",
            f"{check.compared:,}",
            results[check.leak],
            check.found,
        )
        for check in done
    ]
    return "\n".join([title, "", aligned(rows), "", CLAIM])
