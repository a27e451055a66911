"""`stockpick backfill`: whole sessions from a terminal."""

import click


@click.command()
@click.argument("first", metavar="FROM")
@click.argument("last", metavar="TO")
@click.option("--tickers", default="", help="Comma-separated; all of the universe when left out.")
def backfill(first: str, last: str, tickers: str) -> None:
    """Materialize the sessions FROM to TO (dates), oldest first, with their training sets and models."""
    from stockpick_assets.backfill import plan, run
    from stockpick_assets.cli.context import Platform, parsed_tickers
    from stockpick_assets.cli.progress import progress_bar
    from stockpick_assets.core.errors import StockpickError
    from stockpick_assets.settings import Settings

    platform = Platform.load(Settings.load())
    sessions = platform.sessions(first, last)
    flow = platform.flow
    steps = list(plan(flow.window, sessions, parsed_tickers(tickers), platform.market_time(), flow.bar_delay))
    if not steps:
        raise StockpickError(
            f"no minute of the sessions {first} to {last} has closed yet; there is nothing to backfill"
        )
    with platform.instance() as instance, progress_bar() as progress:
        bar = progress.add_task("", total=sum(len(step.assets) for step in steps))
        for step in steps:
            progress.update(bar, description=step.label)
            run(platform.definitions, instance, step, lambda _: progress.advance(bar))
