"""The app in a real browser, on a made-up market in a local folder whose clock stands still."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stockpick_assets.services.process import free_ports
from stockpick_assets_tests.streamlit_app.market import Market
from stockpick_assets_tests.streamlit_app.test_trust import measured

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 120_000  # the imports of a cold server took 42 s at a load of 16 on two cores
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}
ROW, HEADER = 35, 36  # heights in a dataframe, px

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine, else the one that playwright installed."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=next(filter(None, found), None), args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """A market whose tables end at 10:30 New York."""
    market = Market(tmp_path, date(2026, 11, 23))
    market.halted["TSLA"] = market.at("10:20")
    market.write(market.session.open, market.at("10:30"))
    return market


@pytest.fixture
def server(market: Market, tmp_path: Path) -> Iterator[str]:
    """The address of an app whose market clock stands at 10:32:10, so that 10:30 and 10:31 are live."""
    (port,) = free_ports(1)
    settings = {
        "STOCKPICK_HOME": str(tmp_path / "home"),
        "STOCKPICK_STORE_ROOT": str(market.root),
        "STOCKPICK_SPEED": "0.0001",
        "STOCKPICK_REPLAY_STARTED_AT": datetime.now(UTC).isoformat(),
        "STOCKPICK_REPLAY_FROM": (market.at("10:32") + timedelta(seconds=10)).isoformat(),
    }
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app/app.py", "--server.port", str(port)]
    with (tmp_path / "app.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Open a page in a fresh browser profile: `visit(path, viewport, theme)`."""
    contexts = []

    def open_page(path: str, viewport: dict[str, int] = WIDE, theme: str = "light") -> Page:
        contexts.append(browser.new_context(viewport=viewport, color_scheme=theme))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(server + path)
        return page

    until_it_answers(server)
    yield open_page
    for context in contexts:
        context.close()


def until_it_answers(address: str) -> None:
    """Connect until the server is up; each refusal takes as long as the loopback needs to refuse."""
    deadline = datetime.now(UTC) + timedelta(milliseconds=PATIENCE_MS)
    while True:
        try:
            urlopen(f"{address}/_stcore/health", timeout=5).close()
        except OSError:
            assert datetime.now(UTC) < deadline, f"no app answers at {address}"
        else:
            return


def assert_whole(page: Page) -> None:
    """No exception is on the page, and it does not scroll sideways."""
    expect(page.get_by_test_id("stException")).to_have_count(0)
    for element in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{element}.scrollWidth - {element}.clientWidth") == 0


def test_a_cold_deep_link_has_the_navigation_the_strip_and_the_minute_it_names(visit: Callable[..., Page]) -> None:
    page = visit("/ticker?ticker=NVDA&minute=2026-11-23T10:05")
    expect(page.get_by_text("Fixed at 2026-11-23 10:05 New York")).to_be_visible()
    expect(page.get_by_text("SIMULATED").first).to_be_visible()
    expect(page.get_by_role("link", name="Picks")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(2)
    assert_whole(page)
    page.get_by_label("Minute, New York", exact=True).fill("")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/ticker\?ticker=NVDA$"))
    expect(page.get_by_text("Fixed at")).to_have_count(0)


def test_picks_show_a_new_minute_without_reload_and_keep_the_selected_ticker(
    market: Market, visit: Callable[..., Page]
) -> None:
    before, after = market.ranks(market.at("10:30")), market.ranks(market.at("10:31"))
    ticker = next(ticker for ticker, rank in before.items() if rank != after[ticker])
    page = visit("/")
    expect(page.get_by_text("Best picks now, 10:30 New York")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    table = page.get_by_test_id("stDataFrame")
    table.click(position={"x": 17, "y": HEADER + (before[ticker] - 1) * ROW + ROW // 2})
    expect(page.get_by_text(f"Selected: {ticker}, rank {before[ticker]} of 11")).to_be_visible()
    market.write(market.at("10:31"), market.at("10:31"))
    expect(page.get_by_text("Best picks now, 10:31 New York")).to_be_visible()
    expect(page.get_by_text(f"Selected: {ticker}, rank {after[ticker]} of 11")).to_be_visible()
    expect(page.get_by_test_id("stMetric")).to_have_count(5)
    assert page.evaluate("window.notReloaded")
    assert_whole(page)


def test_a_ticker_shows_a_new_minute_without_reload_and_stays_chosen(
    market: Market, visit: Callable[..., Page]
) -> None:
    page = visit("/ticker?ticker=NVDA")
    expect(page.get_by_text("Each of the 61 minutes has a bar.")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    market.write(market.at("10:31"), market.at("10:31"))
    expect(page.get_by_text("Each of the 62 minutes has a bar.")).to_be_visible()
    price = f"{market.closes[61, market.tickers.index('NVDA')]:.2f}"
    expect(page.get_by_test_id("stMetric").filter(has_text="price, $")).to_contain_text(price)
    expect(page.get_by_role("combobox", name="Ticker")).to_have_value("NVDA")
    assert page.evaluate("window.notReloaded")
    assert "ticker=NVDA" in page.url
    assert_whole(page)


def test_a_store_that_goes_away_leaves_the_last_minute_marked_until_it_is_back(
    market: Market, visit: Callable[..., Page]
) -> None:
    page = visit("/")
    expect(page.get_by_text("Best picks now, 10:30 New York")).to_be_visible()
    tables, away = market.root / "simulated", market.root / "away"
    tables.rename(away)
    tables.mkdir()
    (tables / "raw_prices").write_text("no table")
    expect(page.get_by_text("As of 2026-11-23 10:30 New York, not current.")).to_be_visible()
    expect(page.get_by_text("Best picks as of 10:30 New York")).to_be_visible()
    expect(page.get_by_test_id("stMetric")).to_have_count(5)
    assert_whole(page)
    shutil.rmtree(tables)
    away.rename(tables)
    expect(page.get_by_text("Best picks now, 10:30 New York")).to_be_visible()
    expect(page.get_by_text("not current")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways_and_the_first_pick_is_above_the_fold(
    visit: Callable[..., Page], theme: str
) -> None:
    page = visit("/", PHONE, theme)
    expect(page.get_by_text("Best picks now, 10:30 New York")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    # The page moves while its parts arrive; where the pick comes to stand is what counts.
    above = "height => document.querySelector('[data-testid=stMetric]').getBoundingClientRect().bottom <= height"
    page.wait_for_function(above, arg=PHONE["height"])
    assert_whole(page)
    page = visit("/ticker?ticker=TSLA", PHONE, theme)
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(3)
    assert_whole(page)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_trust_draws_its_figures_on_any_screen(
    market: Market, visit: Callable[..., Page], viewport: dict[str, int]
) -> None:
    market.store.append("performance", measured([0.012, 0.016, 0.011, 0.015, 0.013, 0.014]), {})
    page = visit("/trust", viewport)
    expect(page.get_by_role("heading", name="Skill")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(5)
    expect(page.get_by_text("close: not tradable")).to_be_visible()
    assert_whole(page)


def test_a_hostile_link_is_refused_in_plain_words(visit: Callable[..., Page]) -> None:
    page = visit("/ticker?ticker=%3Cscript%3Ewindow.hacked=1%3C/script%3E")
    expect(page.get_by_text("This link cannot be followed.")).to_be_visible()
    assert page.evaluate("window.hacked === undefined")
    assert_whole(page)
