"""The services that stockpick runs on this machine, without Docker: started together, watched, stopped.

`start` returns the settings that every process of the platform must use, `check` tells whether a service died, `stop`
ends exactly what the home of the settings started. One module a service; supervisor.py knows their common life.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from stockpick_assets.services import environment_file
from stockpick_assets.services.app import App
from stockpick_assets.services.dagster import PROJECT, CodeServer, Daemon, Webserver
from stockpick_assets.services.kafka import Kafka
from stockpick_assets.services.object_store import ObjectStore, with_credentials
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.services.spark import Spark
from stockpick_assets.services.supervisor import (
    Progress,
    ServiceDied,
    StoppedElsewhere,
    bring_up,
    check_alive,
    only_one,
    take_down,
)
from stockpick_assets.settings import Settings

__all__ = [
    "ALL",
    "DATA",
    "Service",
    "ServiceDied",
    "ServiceError",
    "StoppedElsewhere",
    "check",
    "remove",
    "running",
    "start",
    "stop",
]

OBJECT_STORE = ObjectStore()
DATA: tuple[Service, ...] = (OBJECT_STORE, Kafka(), Spark())
ALL: tuple[Service, ...] = (*DATA, CodeServer(), Webserver(), Daemon(), App())


def _silent(line: str) -> None:
    """Progress that nobody wants to see."""


def start(settings: Settings, services: Sequence[Service] = ALL, on_progress: Progress = _silent) -> Settings:
    """Start those of `services` that do not run yet and wait until all of them answer.

    Returns the settings with the object store's keys; they are also in `<home>/stockpick.env`, from where other
    processes of this home read them. on_progress gets one line a service. When one fails, those that this call
    started are stopped. Raises ServiceError: a port is taken, a service died or gives no answer, or it already runs
    with other settings.
    """
    with only_one(settings):
        settings = with_credentials(settings, OBJECT_STORE)
        environment_file.write_settings(settings)
        bring_up(settings, services, on_progress)
    return settings


def stop(settings: Settings, services: Sequence[Service] = ALL, on_progress: Progress = _silent) -> None:
    """Stop those of `services` that this home started, what stands on others first. Nothing to stop is no error.

    Once none is left, `<home>/stockpick.env` keeps the object store's keys alone: the next start begins with the
    defaults, on the same data.
    """
    with only_one(settings):
        above = [[service] for service in reversed(services) if service not in DATA]
        take_down(settings, [*above, [service for service in services if service in DATA]], on_progress)
        if not running(settings):
            environment_file.keep_credentials(settings)


def running(settings: Settings) -> list[Service]:
    """The services that this home started and that are alive."""
    return [service for service in ALL if service.process(settings).leader()]


def check(settings: Settings, services: Sequence[Service] = ALL) -> None:
    """Raise ServiceDied, with the end of its log, when a service that this home started is dead and was not stopped.

    Raises StoppedElsewhere when another command stops them.
    """
    check_alive(settings, services)


def remove(settings: Settings, on_progress: Progress = _silent) -> None:
    """Stop what this home started and delete it with all its data. Raises ServiceError when it looks like no home."""
    home = settings.home.absolute()
    holds_more = any(home in (folder, *folder.parents) for folder in (Path.home(), Path.cwd(), PROJECT))
    if holds_more or not environment_file.path(settings).exists():
        raise ServiceError(
            f"{home} was not made by `stockpick up`; nothing was removed. Check STOCKPICK_HOME, or remove it yourself"
        )
    stop(settings, on_progress=on_progress)
    shutil.rmtree(home)
