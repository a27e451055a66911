import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stockpick_assets.services import environment_file
from stockpick_assets.settings import Settings

# What dotenv cannot hold in one line, or reads as the name of another variable.
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$"), min_size=1)


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@given(KEYS, KEYS)
def test_another_process_of_the_home_reads_the_keys_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, access: str, secret: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    environment_file.write_settings(
        Settings(home=home, s3_access_key=SecretStr(access), s3_secret_key=SecretStr(secret))
    )
    read = Settings.load(home=home)
    assert (read.s3_access_key.get_secret_value(), read.s3_secret_key.get_secret_value()) == (access, secret)


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, speed=2.0)
    for _ in range(2):
        environment_file.write_settings(settings)
        assert stat.S_IMODE(environment_file.path(settings).stat().st_mode) == 0o600


def test_defaults_are_not_kept_so_that_a_later_start_can_have_others(tmp_path: Path) -> None:
    environment_file.write_settings(Settings(home=tmp_path, speed=10.0))
    read = Settings.load(home=tmp_path, port_offset=5)
    assert (read.speed, read.app_url) == (10.0, "http://127.0.0.1:8506")


def test_after_the_last_service_only_the_keys_of_the_data_are_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, speed=10.0, s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"))
    environment_file.write_settings(settings)
    environment_file.keep_credentials(settings)
    read = Settings.load(home=tmp_path)
    assert (read.speed, read.s3_access_key, read.s3_secret_key) == (1.0, SecretStr("a"), SecretStr("b"))
