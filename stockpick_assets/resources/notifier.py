"""The channels an alert goes to, through Apprise: Slack, Telegram, mail, a webhook, …

What does not belong here: which alerts there are, or whether one is tried again. An address is a secret: it is never
logged, shown or part of an error; a channel is known by its place in the setting and its service's name.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

from stockpick_assets.core.alerts import Delivery, Parcel


class Notifier:
    """The channels of the setting `alert_urls`, Apprise addresses separated by blanks; none when it is empty."""

    def __init__(self, urls: str) -> None:
        self._urls = urls.split()
        self._opened: dict[str, Any] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Their labels, in the order of the setting."""
        with _unlogged():
            return tuple(self._open())

    def deliver(self, texts: Mapping[str, Sequence[Parcel]]) -> dict[str, list[bool]]:
        """Give each channel its texts in their order, as plain text; returns which of them it took.

        A channel that does not answer has refused after 8 s. After the first that it refuses a channel is given no
        more, and its list is shorter. All channels are served at one time.
        """
        if not texts:
            return {}
        with _unlogged(), ThreadPoolExecutor(len(texts)) as threads:
            opened = self._open()
            taken = threads.map(lambda label: _given(opened[label], texts[label]), texts)
            return dict(zip(texts, taken, strict=True))

    def tell(self, title: str, body: str) -> Delivery:
        """Give one text to every channel."""
        taken = self.deliver({channel: [Parcel(title, body, ())] for channel in self.channels})
        return Delivery(
            tuple(channel for channel, took in taken.items() if took[0]),
            tuple(channel for channel, took in taken.items() if not took[0]),
        )

    def _open(self) -> dict[str, Any]:
        if self._opened is None:
            # Imported on first use: it takes 0.5 s, which a process without channels should not pay.
            import apprise

            asset = apprise.AppriseAsset(app_id="stockpick", interpret_escapes=False, interpret_emojis=False)
            self._opened = {}
            for place, url in enumerate(self._urls, start=1):
                channel = apprise.Apprise(asset=asset)
                channel.add(url)
                service = next((str(server.service_name) for server in channel), "no address that Apprise knows")
                self._opened[f"channel {place} ({service})"] = channel
        return self._opened


def _given(channel: Any, texts: Sequence[Parcel]) -> list[bool]:
    taken: list[bool] = []
    for text in texts:
        taken.append(bool(len(channel) and channel.notify(body=text.body, title=text.title, body_format="text")))
        if not taken[-1]:
            break
    return taken


# Loggers are one for all threads: the first that is done would let them speak of what another still delivers.
_ONE_AT_A_TIME = Lock()


@contextmanager
def _unlogged() -> Iterator[None]:
    """Apprise logs an address that it cannot parse, and urllib3 the path of a request, which holds the secret."""
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3.connectionpool")]
    with _ONE_AT_A_TIME:
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger in loggers:
                logger.disabled = False
