"""The app: Streamlit on this machine."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from stockpick_assets.services.dagster import PROJECT, project_file
from stockpick_assets.services.service import Service
from stockpick_assets.settings import Settings


class App(Service):
    """`streamlit run` of streamlit_app/app.py."""

    name = "app"
    setting = "app_url"

    def environment(self, settings: Settings) -> Mapping[str, str]:
        return settings.environment() | {"PYTHONUNBUFFERED": "1"}

    def arguments(self, settings: Settings) -> Sequence[str]:
        server = [sys.executable, "-m", "streamlit", "run", str(project_file("streamlit_app/app.py"))]
        server += ["--server.address", "127.0.0.1", "--server.port", str(self.port(settings))]
        return [*server, "--server.headless", "true", "--browser.gatherUsageStats", "false"]

    def healthy(self, settings: Settings) -> bool:
        try:
            with urlopen(f"{settings.app_url}/_stcore/health", timeout=5) as reply:  # noqa: S310
                return reply.read() == b"ok"
        except (URLError, OSError):
            return False

    def folder(self, settings: Settings) -> Path:
        # Streamlit reads .streamlit/config.toml from where it runs.
        return PROJECT
