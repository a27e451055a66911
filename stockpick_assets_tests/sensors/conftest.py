"""A store in a folder, and the other end of a channel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockpick_assets.store import Store
from stockpick_assets_tests.sensors.flows import tables
from stockpick_assets_tests.webhook import Webhook, listening


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path / "tables").store()
