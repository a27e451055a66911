"""The gate stands before every page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from stockpick_assets_tests.streamlit_app.conftest import APP
from streamlit_app.gate import is_loopback


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A server that other machines can reach."""
    monkeypatch.setenv("STOCKPICK_HOME", str(tmp_path))
    monkeypatch.setenv("STOCKPICK_STORE_ROOT", str(tmp_path))
    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    yield
    config.set_option("server.address", before)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_alone_reaches_a_loopback_address(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.5", "app.example.com"])
def test_every_other_address_is_reached_from_elsewhere(address: str | None) -> None:
    assert not is_loopback(address)


def test_without_a_login_a_reachable_app_shows_nothing(reachable: None) -> None:
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert not app.exception
    assert [error.value for error in app.error] == [
        "The app can be reached from other machines and has no login, so it shows nothing."
    ]
    assert not app.markdown


def test_the_operator_can_say_that_something_else_keeps_strangers_out(reachable: None) -> None:
    app = AppTest.from_file(APP, default_timeout=60)
    app.secrets["gate"] = {"without_login": True}
    app.run()
    assert not app.error
    assert "SIMULATED" in "".join(element.value for element in app.markdown)


def test_with_a_login_configured_a_visitor_sees_the_login_alone(reachable: None) -> None:
    app = AppTest.from_file(APP, default_timeout=60)
    app.secrets["auth"] = {"redirect_uri": "http://127.0.0.1:8501/oauth2callback", "cookie_secret": "of a test"}
    app.run()
    assert not app.exception
    assert [button.label for button in app.button] == ["Log in"]
    assert not app.markdown
