"""The channels an alert goes to, through Apprise: Slack, Telegram, mail, a webhook, …

What does not belong here: which alerts there are, or whether one is tried again. An address is a secret: it is never
logged, shown or part of an error; a channel is known by its place in the setting and its service's name.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stockpick_assets.core.alerts import Delivery


class Notifier:
    """The channels of the setting `alert_urls`, Apprise addresses separated by blanks; none when it is empty."""

    def __init__(self, urls: str) -> None:
        self._urls = urls.split()
        self._channels: list[tuple[str, Any]] | None = None

    def deliver(self, title: str, body: str) -> Delivery:
        """Give the text to each channel, as plain text. A channel that does not answer takes 8 s and has refused."""
        accepted: list[str] = []
        refused: list[str] = []
        with _unlogged():
            for label, channel in self._opened():
                taken = len(channel) and channel.notify(body=body, title=title, body_format="text")
                (accepted if taken else refused).append(label)
        return Delivery(tuple(accepted), tuple(refused))

    def _opened(self) -> list[tuple[str, Any]]:
        if self._channels is None:
            # Imported on first use: it takes 0.5 s, which a process without channels should not pay.
            import apprise

            asset = apprise.AppriseAsset(app_id="stockpick", interpret_escapes=False, interpret_emojis=False)
            self._channels = []
            for place, url in enumerate(self._urls, start=1):
                channel = apprise.Apprise(asset=asset)
                channel.add(url)
                service = next((str(server.service_name) for server in channel), "no address that Apprise knows")
                self._channels.append((f"channel {place} ({service})", channel))
        return self._channels


@contextmanager
def _unlogged() -> Iterator[None]:
    """Apprise logs an address that it cannot parse, and urllib3 the path of a request, which holds the secret."""
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3.connectionpool")]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False
