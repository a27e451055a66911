"""What a notifier keeps to itself; what it delivers is in sensors/test_alerts.py."""

import logging
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from stockpick_assets.core.alerts import Parcel
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets_tests.webhook import SECRET, listening


def test_an_address_is_not_logged_when_the_channels_are_asked_for_during_a_delivery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As by the tick after one whose daemon died: the wait is over at once where nothing holds it back."""
    caplog.set_level(logging.DEBUG)
    with listening() as webhook, ThreadPoolExecutor(1) as threads:
        notifier = Notifier(webhook.url)
        webhook.meanwhile = lambda: wait([threads.submit(lambda: notifier.channels)], timeout=0.5)
        taken = notifier.deliver({channel: [Parcel("title", "body", ())] for channel in notifier.channels})
    assert list(taken.values()) == [[True]]
    assert SECRET not in caplog.text
