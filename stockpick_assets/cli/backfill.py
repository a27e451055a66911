"""`stockpick backfill`: whole sessions from a terminal."""

import os

import click

# A live minute beside it goes first.
LOWER_PRIORITY = 10


@click.command()
@click.argument("first", metavar="FROM")
@click.argument("last", metavar="TO")
@click.option("--tickers", default="", help="Comma-separated; all of the universe when left out.")
@click.option("--again", is_flag=True, help="Also what the tables hold already.")
def backfill(first: str, last: str, tickers: str, again: bool) -> None:
    """Materialize the sessions FROM to TO (dates), oldest first, with their training sets and models.

    What the tables hold already is left out, so the same command goes on after a stop.
    """
    from stockpick_assets.backfill import fail_runs_left_behind, missing, plan, run
    from stockpick_assets.cli.context import Platform, parsed_tickers
    from stockpick_assets.cli.progress import AssetsDone, progress_bar
    from stockpick_assets.core.errors import StockpickError
    from stockpick_assets.settings import Settings
    from stockpick_assets.store import Store

    platform = Platform.load(Settings.load())
    sessions = platform.sessions(first, last)
    with platform.instance() as instance:
        for run_id in fail_runs_left_behind(instance):
            click.echo(f"run {run_id[:8]}, whose process was killed, is now reported as failed")
    flow = platform.flow
    steps = list(plan(flow.window, sessions, parsed_tickers(tickers), platform.market_time(), flow.bar_delay))
    if not steps:
        raise StockpickError(
            f"no minute of the sessions {first} to {last} has closed yet; there is nothing to backfill"
        )
    if not again:
        steps = list(missing(Store.from_settings(platform.settings), steps))
    if not steps:
        click.echo(f"the tables hold everything of the sessions {first} to {last}; --again materializes it anew")
        return
    os.nice(LOWER_PRIORITY)
    with platform.instance() as instance, progress_bar() as progress:
        bar = progress.add_task("", total=sum(len(step.assets) for step in steps))
        try:
            for step in steps:
                progress.update(bar, description=step.label)
                run(platform.definitions, instance, step, AssetsDone(progress, bar, step.label))
        except KeyboardInterrupt:
            goes_on = "begins anew" if again else "goes on where it stopped"
            progress.console.print(f"stopped within {step.label}; the same command {goes_on}")
            raise
