"""`stockpick up`, `down`, `status` and `clean`: the services of this machine, and what they hold."""

import json

import click


@click.command()
def up() -> None:
    """Start the object store, Kafka, Spark, Dagster and the app, and wait until all of them answer."""
    from stockpick_assets import services
    from stockpick_assets.settings import Settings

    settings = services.start(Settings.load(), on_progress=click.echo)
    click.echo(f"everything runs; data, logs and keys are in {settings.home.absolute()}")


@click.command()
def down() -> None:
    """Stop what `stockpick up` started, and nothing else."""
    from stockpick_assets import services
    from stockpick_assets.settings import Settings

    settings = Settings.load()
    if not services.running(settings):
        click.echo(f"nothing of {settings.home.absolute()} runs")
    services.stop(settings, on_progress=click.echo)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def status(as_json: bool) -> None:
    """Show the services, the tables, the newest message, and how far the picks are behind the market."""
    from stockpick_assets.settings import Settings

    settings = Settings.load()
    # After the settings: these import pandas, deltalake and Kafka's client, and a wrong setting is told at once.
    from stockpick_assets.cli import report
    from stockpick_assets.services.status import read_status

    found = read_status(settings)
    click.echo(json.dumps(report.as_json(found), indent=2) if as_json else report.as_text(found))


@click.command()
@click.option("--yes", is_flag=True, help="Remove without asking; services that run are stopped.")
def clean(yes: bool) -> None:
    """Remove the home folder: all tables, messages, runs and logs. Asks before it does."""
    from stockpick_assets import services
    from stockpick_assets.settings import Settings

    settings = Settings.load()
    home = settings.home.absolute()
    if not home.exists():
        click.echo(f"there is nothing at {home}")
        return
    running = ", ".join(service.name for service in services.running(settings))
    if running and not yes:
        click.confirm(f"{running} still run; stop them", abort=True)
    if not yes:
        click.confirm(f"remove {home} with every table, message, run and log in it", abort=True)
    services.remove(settings, on_progress=click.echo)
    click.echo(f"{home} is gone")
