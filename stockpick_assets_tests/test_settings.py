"""What the environment may say, and what is said of what it may not."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stockpick_assets.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` and no home of the developer's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STOCKPICK_")]:
        monkeypatch.delenv(name)


def test_with_nothing_set_the_market_is_simulated_on_this_machine() -> None:
    settings = Settings.load()
    assert (settings.source, settings.s3_endpoint) == ("simulated", "http://127.0.0.1:8333")


def test_an_offset_moves_every_default_address_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKPICK_PORT_OFFSET", "1000")
    monkeypatch.setenv("STOCKPICK_KAFKA_BOOTSTRAP", "kafka:9092")
    settings = Settings.load()
    assert settings.s3_endpoint == "http://127.0.0.1:9333"
    assert settings.dagster_url == "http://127.0.0.1:4000"
    assert settings.kafka_bootstrap == "kafka:9092"


def test_an_offset_that_puts_a_page_where_no_browser_opens_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKPICK_PORT_OFFSET", "3000")
    with pytest.raises(SettingsError, match=r"browsers refuse to open http://127.0.0.1:6000"):
        Settings.load()


def test_what_one_process_was_told_another_reads_from_the_home(tmp_path: Path) -> None:
    home = tmp_path / ".stockpick"
    home.mkdir()
    (home / "stockpick.env").write_text("STOCKPICK_SPEED='10.0'\n")
    assert Settings.load().speed == 10


def test_the_environment_of_a_child_says_the_same_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Settings.load(
        home=tmp_path,
        tickers="msft,aapl",
        extra_tickers="brk-b",
        kinds="Reversal, forest",
        closings="2026-12-02,2026-12-01 13:00-16:00",
        s3_secret_key="secret",
        replay_started_at=datetime(2026, 11, 20, tzinfo=UTC),
        replay_from=datetime(2026, 11, 13, 14, 30, tzinfo=UTC),
    )
    for name, value in first.environment().items():
        monkeypatch.setenv(name, value)
    second = Settings.load()
    assert second.model_dump() == first.model_dump()
    assert (second.tickers, second.extra_tickers) == (("AAPL", "MSFT"), ("BRK-B",))
    assert second.kinds == ("reversal", "forest")
    assert [str(closing) for closing in second.closings] == ["2026-12-01 13:00-16:00", "2026-12-02"]


def test_a_secret_is_not_shown() -> None:
    assert "hush" not in repr(Settings.load(s3_secret_key="hush"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SOURCE", "bloomberg", "STOCKPICK_SOURCE"),
        ("TICKERS", "AAPL,<script>", "no such ticker can exist: '<SCRIPT>'"),
        ("EXTRA_TICKERS", "AAPL,B A", "STOCKPICK_EXTRA_TICKERS: no such ticker can exist: 'B A'"),
        ("CLOSINGS", "2026-12-01 1pm", "STOCKPICK_CLOSINGS: '2026-12-01 1pm' is no closing: takes New York dates"),
        ("SPEED", "0", "STOCKPICK_SPEED"),
        ("S3_ENDPOINT", "127.0.0.1:8333", "takes an address such as"),
        ("SOURCE", "recorded", "STOCKPICK_BARS must name the Parquet file"),
        ("REPLAY_FROM", "2026-11-13T14:30:00Z", "are set together"),
        ("LAST_SESSION", "yesterday", "STOCKPICK_LAST_SESSION"),
        ("KINDS", "linear,naive", "STOCKPICK_KINDS: takes one or more of linear, reversal, average, boosted, forest"),
        ("KINDS", "linear,linear", "STOCKPICK_KINDS: takes one or more of"),
        ("KINDS", " , ", "STOCKPICK_KINDS: takes one or more of"),
        ("KINDS", "average,linear", "STOCKPICK_KINDS: average is the mean of linear and reversal"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"STOCKPICK_{name}", value)
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.load()
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("STOCKPICK_") <= 2


def test_a_replayed_clock_runs_as_fast_as_it_is_told() -> None:
    began, market = datetime(2026, 11, 23, 12, 0, tzinfo=UTC), datetime(2026, 11, 13, 15, 0, tzinfo=UTC)
    clock = Settings.load(replay_started_at=began, replay_from=market, speed=10).clock
    assert clock.at(began + timedelta(seconds=30)) == market + timedelta(minutes=5)
    assert clock.wall_at(market + timedelta(minutes=5)) == began + timedelta(seconds=30)
