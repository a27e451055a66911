"""How `stockpick status` looks: for people, and as JSON."""

from datetime import date, datetime, timedelta
from typing import Any

import click

from stockpick_assets.cli.columns import aligned
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.latency import Latency
from stockpick_assets.services.status import Status, TableStatus


def as_json(status: Status) -> dict[str, Any]:
    """The same as numbers and ISO texts: memory in bytes, minutes and market time in UTC, times in seconds."""
    message = status.newest_message
    return {
        "source": status.source,
        "market_time": status.market_time.isoformat(),
        "services": [vars(service) for service in status.services],
        "tables": [vars(table) | {"newest": table.newest and table.newest.isoformat()} for table in status.tables],
        "newest_message": message and {"id": message.id, "minute": message.minute.isoformat()},
        "message_problem": status.message_problem,
        "lag_seconds": None if status.lag is None else status.lag.total_seconds(),
        "newest_live_minute": status.latency and vars(status.latency) | {"minute": status.latency.minute.isoformat()},
        "latency_problem": status.latency_problem,
    }


def as_text(status: Status) -> str:
    """The services and the tables, a line each, and what else there is to know."""
    services = [
        (
            service.name,
            service.address,
            f"process {service.pid}" if service.pid else "not started here",
            f"{service.memory / 2**20:.0f} MB" if service.memory else "",
            "healthy" if service.healthy else click.style("no answer", fg="red"),
        )
        for service in status.services
    ]
    tables = [(table.name, table.address, *_content(table)) for table in status.tables]
    message = status.newest_message
    rest = [
        ("newest message", status.message_problem or (message.id if message else "none")),
        ("market time", f"{minute_label(status.market_time)} New York ({status.source})"),
        ("lag", "no picks yet" if status.lag is None else str(timedelta(seconds=round(status.lag.total_seconds())))),
    ]
    if status.latency:
        rest.append(("newest live minute", _stages(status.latency)))
    elif status.latency_problem:
        rest.append(("newest live minute", status.latency_problem))
    return "\n\n".join(aligned(rows) for rows in (services, tables, rest))


def _stages(latency: Latency) -> str:
    minute, seconds = f"{minute_label(latency.minute)} New York", latency.close_to_last_commit_seconds
    waits = {"launch": latency.close_to_launch_seconds, "start": latency.launch_to_first_step_seconds}
    stages = ", ".join(f"{stage} {took:.1f}" for stage, took in (waits | latency.step_seconds).items())
    return f"{minute}, in every table {seconds:.1f} s after its close: {stages}"


def _content(table: TableStatus) -> tuple[str, str]:
    if table.problem:
        return click.style(table.problem, fg="red"), ""
    return (
        ("not written yet", "") if table.newest is None else (f"{table.rows:,} rows", f"newest {_label(table.newest)}")
    )


def _label(newest: datetime | date) -> str:
    return f"{minute_label(newest)} New York" if isinstance(newest, datetime) else newest.isoformat()
