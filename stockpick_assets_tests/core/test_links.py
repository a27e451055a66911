"""Links are built in one place, and what they carry is read back or refused."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.links import LinkError, Links, minute_from_link, ticker_from_link, ticker_parameters
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.core.universe import NASDAQ_100

LINKS = Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated")
MINUTE = datetime(2026, 11, 23, 18, 47, tzinfo=UTC)


def test_a_ticker_link_names_the_minute_by_new_york_wall_time() -> None:
    assert LINKS.ticker("NVDA", MINUTE) == "http://127.0.0.1:8501/ticker?ticker=NVDA&minute=2026-11-23T13%3A47"


def test_a_ticker_link_without_a_minute_follows_the_newest() -> None:
    assert LINKS.ticker("NVDA") == "http://127.0.0.1:8501/ticker?ticker=NVDA"


def test_values_are_percent_encoded() -> None:
    assert LINKS.ticker("EURUSD=X").endswith("/ticker?ticker=EURUSD%3DX")


def test_the_picks_are_at_the_root_because_a_default_page_has_no_path() -> None:
    assert LINKS.picks() == "http://127.0.0.1:8501/"


def test_an_asset_link_carries_the_source() -> None:
    assert LINKS.asset("picks", "events") == "http://127.0.0.1:3000/assets/simulated/picks?view=events"


def test_a_run_link_takes_a_run_id() -> None:
    run_id = "0b3f5a7e-1c2d-4e5f-8a9b-0c1d2e3f4a5b"
    assert LINKS.run(run_id) == f"http://127.0.0.1:3000/runs/{run_id}"


@given(st.sampled_from(NASDAQ_100), st.integers(0, 389))
def test_what_a_link_carries_is_read_back(ticker: str, offset: int) -> None:
    minute = session_on(MINUTE.date()).open + timedelta(minutes=offset)
    query = parse_qs(urlsplit(LINKS.ticker(ticker, minute)).query)
    assert ticker_from_link(query["ticker"][0], NASDAQ_100) == ticker
    assert minute_from_link(query["minute"][0]) == minute


@pytest.mark.parametrize("ticker", ["<script>", "NVDA&minute=x", "nvda", "", "A" * 10_000, "../picks"])
def test_a_link_to_no_ticker_is_refused(ticker: str) -> None:
    with pytest.raises(LinkError):
        ticker_parameters(ticker)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "nvda", "IBM", "", "A" * 10_000])
def test_a_ticker_outside_the_universe_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(LinkError) as refusal:
        ticker_from_link(text, NASDAQ_100)
    assert len(str(refusal.value)) < 120


@pytest.mark.parametrize("text", ["", "13:47", "2026-11-23 13:47", "2026-11-23T13:47:10", "<script>", "9" * 10_000])
def test_what_is_no_minute_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(LinkError, match="is no minute") as refusal:
        minute_from_link(text)
    assert len(str(refusal.value)) < 140


@pytest.mark.parametrize("text", ["2026-11-22T13:47", "2026-11-23T08:00", "2026-11-27T13:00"])
def test_a_minute_outside_every_session_is_refused(text: str) -> None:
    with pytest.raises(LinkError, match="session"):
        minute_from_link(text)


def test_a_time_within_a_minute_is_no_minute() -> None:
    with pytest.raises(LinkError, match="start of a minute"):
        ticker_parameters("NVDA", MINUTE + timedelta(seconds=1))


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(LinkError, match="no table is called 'orders'"):
        LINKS.asset("orders")


def test_what_is_no_run_id_is_refused() -> None:
    with pytest.raises(LinkError, match="no run id"):
        LINKS.run("../assets")
