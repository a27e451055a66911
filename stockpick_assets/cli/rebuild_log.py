"""`stockpick rebuild-log`: Dagster's knowledge of what is materialized, restored from the tables."""

import click


@click.command()
@click.option("--check", is_flag=True, help="Only report; exit status 1 when the two disagree.")
@click.pass_context
def rebuild_log(context: click.Context, check: bool) -> None:
    """Tell Dagster of every partition that the tables hold and it does not know: after its home was lost, say.

    What Dagster knows and a table does not hold is reported and left as it is; materialize it again.
    """
    from stockpick_assets.cli.context import Platform
    from stockpick_assets.ledger import ASSETS, Ledger
    from stockpick_assets.settings import Settings
    from stockpick_assets.store import Store

    platform = Platform.load(Settings.load())
    agree = True
    with platform.instance() as instance:
        ledger = Ledger(platform.flow, Store.from_settings(platform.settings), instance)
        for asset in ASSETS:
            found = ledger.compare(asset)
            agree = agree and found.agrees
            click.echo(
                f"{platform.settings.source}/{asset}: the table holds {found.held:,}, Dagster knew {found.known:,}"
            )
            for block in found.unknown:
                if not check:
                    ledger.restore(asset, block)
                click.echo(f"  {'not known' if check else 'restored'}  {block}")
            for block in found.unheld:
                click.echo(f"  not held  {block}")
    if check and not agree:
        context.exit(1)
