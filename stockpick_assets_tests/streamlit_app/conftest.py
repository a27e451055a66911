"""The app under Streamlit's own test runner, on a made-up market in a local folder."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from stockpick_assets_tests.streamlit_app.market import Market

APP = Path(__file__).parents[2] / "streamlit_app" / "app.py"
OpenApp = Callable[..., AppTest]


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """A market of twelve tickers whose tables are still to be written."""
    return Market(tmp_path, date(2026, 11, 23))


@pytest.fixture
def open_app(market: Market, monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    """Open the app at a market time, which stands still: `open_app(now, page, **query)`."""

    def open_at(now: datetime, page: str | None = None, **query: str) -> AppTest:
        monkeypatch.setenv("STOCKPICK_HOME", str(market.root / "home"))
        monkeypatch.setenv("STOCKPICK_STORE_ROOT", str(market.root))
        monkeypatch.setenv("STOCKPICK_SOURCE", market.source)
        monkeypatch.setenv("STOCKPICK_SPEED", "0.0001")
        monkeypatch.setenv("STOCKPICK_REPLAY_STARTED_AT", datetime.now(UTC).isoformat())
        monkeypatch.setenv("STOCKPICK_REPLAY_FROM", now.isoformat())
        st.cache_resource.clear()
        app = AppTest.from_file(APP, default_timeout=60)
        if page is not None:
            app.switch_page(page)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_at
