"""`stockpick demo` and `stockpick live`: the whole platform on this machine, from nothing to live minutes."""

from datetime import date
from pathlib import Path

import click

from stockpick_assets.core.errors import StockpickError


@click.command()
@click.option("--source", type=click.Choice(["simulated", "recorded"]), default="simulated", show_default=True)
@click.option(
    "--bars", type=click.Path(path_type=Path), help="The Parquet file to replay; STOCKPICK_BARS when left out."
)
@click.option("--session", help="The session to play as if live (a date).")
@click.option("--speed", type=float, help="Market minutes a minute; STOCKPICK_SPEED, or 1, when left out.")
@click.option("--once", is_flag=True, help="End after three live minutes have been published.")
def demo(source: str, bars: Path | None, session: str | None, speed: float | None, once: bool) -> None:
    """Backfill the last sessions of a simulated or recorded market, then play one as if live. Ctrl-C stops it all."""
    from stockpick_assets.cli.context import parsed_date
    from stockpick_assets.cli.play import play
    from stockpick_assets.settings import Settings

    if bars is not None and source != "recorded":
        raise StockpickError("BARS goes with SOURCE=recorded; the simulated market makes its own bars")
    asked: date | None = parsed_date(session) if session else None
    given = {name: value for name, value in (("bars", bars), ("speed", speed)) if value is not None}
    play(Settings.load(source=source, **given), asked, once)


@click.command()
def live() -> None:
    """Go live on Yahoo Finance: backfill the latest sessions, then each minute. Waits while the market is closed."""
    from stockpick_assets.cli.play import play
    from stockpick_assets.settings import Settings

    # What a demo that was killed left in the home's stockpick.env would hold the window and the clock in the past.
    now = {"last_session": None, "speed": 1.0, "replay_from": None, "replay_started_at": None}
    play(Settings.load(source="yahoo", bars=None, **now), None, once=False)
