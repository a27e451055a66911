import json
import stat
from pathlib import Path

import pytest

from stockpick_assets.services.object_store import ObjectStore, with_credentials
from stockpick_assets.services.service import ServiceError
from stockpick_assets.settings import Settings


def test_keys_are_made_once_and_differ_from_home_to_home(tmp_path: Path) -> None:
    first, second = (with_credentials(Settings(home=tmp_path), ObjectStore()) for _ in range(2))
    assert first.s3_secret_key != second.s3_secret_key
    assert len(first.s3_secret_key.get_secret_value()) >= 40
    assert with_credentials(first, ObjectStore()) is first


def test_a_store_elsewhere_must_come_with_its_keys(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, s3_endpoint="https://s3.example.com")
    with pytest.raises(ServiceError, match="needs STOCKPICK_S3_ACCESS_KEY and STOCKPICK_S3_SECRET_KEY"):
        with_credentials(settings, ObjectStore())


def test_keys_reach_the_store_by_a_file_of_the_owners_alone(tmp_path: Path) -> None:
    settings = with_credentials(Settings(home=tmp_path, port_offset=7), ObjectStore())
    arguments = ObjectStore().arguments(settings)
    identities = tmp_path / "object_store" / "identities.json"
    assert f"-s3.config={identities}" in arguments
    assert "-s3.port=8340" in arguments
    assert stat.S_IMODE(identities.stat().st_mode) == 0o600
    key = json.loads(identities.read_text())["identities"][0]["credentials"][0]["secretKey"]
    assert key == settings.s3_secret_key.get_secret_value()
    assert key not in " ".join(arguments)
