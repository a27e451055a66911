"""`stockpick alert`: the channels tried out, the newest alerts and what became of them, and the rules."""

import json
from typing import Any

import click

from stockpick_assets.cli.columns import aligned
from stockpick_assets.core.alert_texts import label
from stockpick_assets.core.alerts import NO_CHANNEL, Alert, Status, alerts_from
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.rules import RULES, Rule, rules_from
from stockpick_assets.core.schemas import ALERTS
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store

COLOURS = {Status.SENT: "green", Status.FAILED: "red", Status.EXPIRED: "yellow"}
LONGEST = 100


@click.group()
def alert() -> None:
    """Alerts: try the channels out, list what was raised and what became of it, and the rules."""


@alert.command()
@click.pass_context
def test(context: click.Context) -> None:
    """Send a test text to every channel, and say which took it. Exit status 1 when one did not, or there is none."""
    settings = Settings.load()
    notifier = Notifier(settings.alert_urls.get_secret_value())
    if not notifier.channels:
        raise StockpickError(NO_CHANNEL)
    links = Links(settings.app_url, settings.dagster_url, settings.source)
    delivery = notifier.tell(
        f"{label(settings.source)}this is a test of stockpick's alerts",
        f"Nothing happened. Sent at {wall_clock():%Y-%m-%d %H:%M:%S} UTC by `stockpick alert test`.\n{links.alerts()}",
    )
    for channel in notifier.channels:
        took = channel in delivery.accepted
        click.echo(f"{channel}: {click.style('accepted', 'green') if took else click.style('refused', 'red')}")
    if delivery.refused:
        click.echo("What a service answered may hold its address, and is not shown: is the address right, and valid?")
        context.exit(1)


@alert.command("list")
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole text.")
def listed(count: int, as_json: bool) -> None:
    """List the newest alerts with what became of each, and why."""
    settings = Settings.load()
    found = alerts_from(Store.from_settings(settings).read_if_written(ALERTS.name))
    newest = sorted(found, key=lambda one: (one.created_at, one.minute, one.id), reverse=True)[:count]
    if as_json:
        for one in newest:
            click.echo(json.dumps(vars(one), default=lambda moment: moment.isoformat()))
    elif not newest:
        click.echo(f"{settings.source.upper()} has no alerts yet.")
    else:
        click.echo(aligned([("minute", "rule", "status", "alert"), *map(_row, newest)]))


@alert.command()
def rules() -> None:
    """Show the rules with their numbers, as STOCKPICK_ALERT_RULES has them."""
    chosen = {rule.name: rule for rule in rules_from(Settings.load().alert_rules)}
    head = ("rule", "alerts at", "again after", "cooldown", "matters for", "when")
    click.echo(aligned([head, *(_numbers(rule, chosen.get(rule.name)) for rule in RULES)]))


def _row(one: Alert) -> tuple[str, ...]:
    status = click.style(one.status, COLOURS.get(Status(one.status)))
    why = f" ({one_line(one.detail, LONGEST)})" if one.detail else ""
    return minute_label(one.minute), one.rule, status, f"{one_line(one.title, LONGEST)}{why}"


def _numbers(rule: Rule, chosen: Rule | None) -> tuple[Any, ...]:
    if chosen is None:
        return rule.name, "off", "", "", "", rule.says
    ends = ("each", "") if chosen.threshold is None else _ends(chosen, chosen.threshold, chosen.clear or 0.0)
    minutes = (f"{span.total_seconds() / 60:g} min" for span in (chosen.cooldown, chosen.matters_for))
    return rule.name, *ends, *minutes, rule.says


def _ends(rule: Rule, threshold: float, clear: float) -> tuple[str, str]:
    return ("below " if rule.low else "") + rule.unit.said(threshold), rule.unit.said(clear)
