"""What a service is to the supervisor. Nothing here knows any of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.services.process import GRACE_SECONDS, ServiceProcess
from stockpick_assets.settings import PREFIX, Settings

THIS_MACHINE = ("127.0.0.1", "localhost")


class ServiceError(StockpickError):
    """A service cannot be started, does not answer, or has died."""


class Service(ABC):
    """One process that the platform needs.

    name: for people, and of its log. setting: the setting that holds its address; empty when it has none.
    needs: names of the services that must answer before it is launched. patience_seconds: how long it may take to
    answer after its launch. grace_seconds: how long it may take to end when asked to.
    """

    name: str
    setting: str = ""
    needs: tuple[str, ...] = ()
    patience_seconds: float = 300.0
    grace_seconds: float = GRACE_SECONDS

    def environment(self, settings: Settings) -> Mapping[str, str]:
        """What its environment has beyond the shell's; a service that runs with another one must be restarted."""
        return {}

    def require(self, settings: Settings) -> None:  # noqa: B027 - most need nothing of the machine
        """Raise StockpickError when this machine lacks what it needs."""

    @abstractmethod
    def arguments(self, settings: Settings) -> Sequence[str]:
        """Its command line, without secrets; what it reads at its start is written, or fetched, before this returns."""

    @abstractmethod
    def healthy(self, settings: Settings) -> bool:
        """Whether it answers a question of its own protocol now."""

    def complete(self, settings: Settings) -> None:  # noqa: B027 - most have nothing left to do
        """What is left to do once it answers."""

    def folder(self, settings: Settings) -> Path:
        """Its working folder, and where it keeps what it must keep."""
        return settings.home.absolute() / self.name.replace(" ", "_")

    def process(self, settings: Settings) -> ServiceProcess:
        """Its process in this home."""
        return ServiceProcess(settings.home, self.name)

    def address(self, settings: Settings) -> str:
        """Where it is, as its setting has it; empty when nobody connects to it."""
        return getattr(settings, self.setting) if self.setting else ""

    def endpoint(self, settings: Settings) -> tuple[str, int]:
        """Host and port of its address. Raises ServiceError when the setting names none."""
        address = self.address(settings)
        parts = urlsplit(address if "//" in address else f"//{address}")
        try:
            host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            host, port = None, None
        if host is None or port is None:
            raise ServiceError(f"{self.variable} is {address!r}, which names no host and port")
        return host, port

    def port(self, settings: Settings) -> int:
        """The port of its address."""
        return self.endpoint(settings)[1]

    def is_local(self, settings: Settings) -> bool:
        """Whether it is ours to start; an address on another machine is only asked whether it answers."""
        return not self.setting or self.endpoint(settings)[0] in THIS_MACHINE

    @property
    def variable(self) -> str:
        """The environment variable of its address."""
        return f"{PREFIX}{self.setting.upper()}"
