"""The message of a pick: its text against the published schema, its identity and its topic."""

import json
import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stockpick_assets.core.messages import (
    SCHEMA_VERSION,
    MessageError,
    correction,
    message_id,
    one_line,
    parse_message,
    ticker_of,
    topic_name,
)
from stockpick_assets.core.schemas import PICKS
from stockpick_assets.core.universe import NASDAQ_100
from stockpick_assets_tests.picks import minute, pick, picks, table

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "message.schema.json").read_text(encoding="utf-8"))
VALID = Draft202012Validator(SCHEMA)
ADDED = {2: ["expected_obtainable_return"], 3: ["version", "supersedes", "data_version", "produced_at", "store"]}
HOSTILE = '<b>A</b>\n"; DROP {{ticker}} \x1b[31m\u202e\U0001f4a3'
fraction = st.none() | st.floats(-1, 1)


def sample(version: int) -> str:
    return (Path(__file__).parents[1] / "data" / f"message_{version}.json").read_text(encoding="utf-8")


def message(**values: Any) -> dict[str, Any]:
    return json.loads(table([pick(minute(0), "AAPL", 1, **values)])["message"][0].as_py())


@given(
    price=st.none() | st.floats(0.01, 1e6),
    change_day=fraction,
    change_5m=fraction,
    expected_excess_return=fraction,
    expected_obtainable_return=fraction,
    pop_window=st.none() | st.sampled_from([0.2, 0.5, 1.0]),
    p_profit=st.none() | st.floats(0, 1),
    model_version=st.none() | st.text(),
    ticker=st.text(st.characters(codec="utf-8"), min_size=1),
)
def test_every_pick_makes_a_message_that_the_published_schema_accepts(ticker: str, **values: Any) -> None:
    made = json.loads(table([pick(minute(0), ticker, 1, **values)])["message"][0].as_py())
    VALID.validate(made)
    assert {name: made[name] for name in values} == values


def test_a_ticker_without_a_forecast_says_why_in_its_message() -> None:
    made = json.loads(table([pick(minute(0), "AAPL", abstain="no trade in the last 5 minutes")])["message"][0].as_py())
    VALID.validate(made)
    assert (made["rank"], made["p_profit"], made["abstain"]) == (None, None, "no trade in the last 5 minutes")


def test_the_schema_refuses_a_message_with_neither_rank_nor_reason() -> None:
    assert not VALID.is_valid(message() | {"rank": None, "abstain": None})


@pytest.mark.parametrize("name", [*SCHEMA["required"], *ADDED[2], *ADDED[3]])
def test_the_schema_refuses_a_message_that_lacks_a_field(name: str) -> None:
    made = message()
    del made[name]
    assert not VALID.is_valid(made)


def test_a_message_names_the_table_versions_and_the_run_it_came_from() -> None:
    made = message()
    assert (made["tables"], made["run_id"], made["model_version"]) == ({"raw_prices": 3}, "run", "2026-11-19-1")


def test_an_id_is_the_same_whatever_the_message_says() -> None:
    assert message(p_profit=0.1)["id"] == message(p_profit=0.9)["id"] == message_id("simulated", minute(0), "AAPL")


def test_every_message_of_a_session_has_an_id_of_its_own() -> None:
    rows = picks(390)
    assert len(set(rows["message_id"].to_pylist())) == rows.num_rows == 390 * 3
    assert [json.loads(str(text))["id"] for text in rows["message"].to_pylist()] == rows["message_id"].to_pylist()


def test_picks_keep_every_other_column() -> None:
    before = pick(minute(0), "AAPL", 1)
    after = table([before])
    assert after.schema == PICKS.columns
    assert after.select(list(before)).to_pylist() == [before]


def test_a_number_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        message(p_profit=float("nan"))


def test_text_from_outside_stays_text() -> None:
    text = table([pick(minute(0), "AAPL", abstain=HOSTILE * 500)])["message"][0].as_py()
    assert "\n" not in text
    assert text.isascii()
    assert parse_message(text).abstain == HOSTILE * 500


def test_what_is_read_is_what_was_written() -> None:
    read = parse_message(table([pick(minute(7), "AAPL", 2)])["message"][0].as_py().encode())
    wrote = pick(minute(7), "AAPL", 2)
    assert {name: getattr(read, name) for name in wrote if name != "session"} == {
        name: value for name, value in wrote.items() if name != "session"
    }


def test_an_older_reader_reads_a_newer_message() -> None:
    newer = message() | {"schema_version": 4, "venue": {"name": "XNAS"}}
    VALID.validate(newer)
    assert parse_message(json.dumps(newer)).ticker == "AAPL"


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_message_of_every_version_so_far_is_accepted_and_read(version: int) -> None:
    """Samples as they were published then: one is added with a version, and none is changed."""
    text = sample(version)
    older = json.loads(text)
    assert older["schema_version"] == version
    VALID.validate(older)
    read = parse_message(text)
    assert (read.id, read.price, read.rank) == ("simulated/2026-11-23T14:30:00Z/AAPL", 129.58, 61)
    assert read.expected_obtainable_return == (-0.00002 if version > 1 else None)
    assert (read.version, read.supersedes, read.data_version) == (1, None, 12 if version > 2 else None)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_message_of_today_has_every_field_that_a_reader_of_an_earlier_version_needs(version: int) -> None:
    needed = json.loads(sample(version))
    made = message(abstain="no edge after cost")
    assert needed.keys() <= made.keys()
    assert all(type(made[name]) is type(value) for name, value in needed.items() if value is not None)
    corrected = json.loads(correction(json.dumps(made), 2))
    VALID.validate(corrected)
    assert needed.keys() <= corrected.keys()


def test_a_message_says_when_and_of_which_data_it_was_made() -> None:
    read = parse_message(table([pick(minute(7), "AAPL", 2)], made_at=minute(8))["message"][0].as_py())
    assert (read.version, read.supersedes, read.data_version, read.produced_at) == (1, None, 3, minute(8))


def test_the_sample_of_the_page_is_a_message_of_today() -> None:
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
    sample = page.partition("```json\n")[2].partition("```")[0]
    VALID.validate(json.loads(sample))
    assert json.loads(sample).keys() == message().keys()
    assert parse_message(sample).rank == 61


def test_a_pick_that_abstains_keeps_its_numbers_in_the_message() -> None:
    made = message(abstain="no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp")
    VALID.validate(made)
    assert {name: value for name, value in made.items() if name != "abstain"} == {
        name: value for name, value in message().items() if name != "abstain"
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        json.dumps(message() | {"minute": "yesterday"}),
        json.dumps(message() | {"p_profit": "0.5"}),
        json.dumps(message() | {"p_profit": True}),
        json.dumps(message() | {"p_profit": math.nan}),
        json.dumps(message() | {"price": 10**400}),
        json.dumps(message() | {"version": math.inf}),
        json.dumps(message() | {"ticker": 7}),
        json.dumps(message() | {"minute": "\x1b" + "x" * 10_000}),
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused_with_its_beginning_shown(text: str | bytes) -> None:
    with pytest.raises(MessageError, match="no stockpick message") as refused:
        parse_message(text)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=16))
def test_a_topic_name_is_legal_and_leads_back_to_its_ticker(ticker: str) -> None:
    topic = topic_name("yahoo", ticker)
    assert re.fullmatch(r"stockpick\.yahoo\.[A-Za-z0-9._-]{1,200}", topic)
    assert ticker_of("yahoo", topic) == ticker


@pytest.mark.parametrize(
    ("ticker", "name"), [("AAPL", "AAPL"), ("BRK-B", "BRK-B"), ("^NDX", "_5eNDX"), ("EURUSD=X", "EURUSD_3dX")]
)
def test_only_what_kafka_does_not_take_is_written_otherwise(ticker: str, name: str) -> None:
    assert topic_name("yahoo", ticker) == f"stockpick.yahoo.{name}"


def test_the_topics_of_the_universe_are_its_tickers() -> None:
    assert [topic_name("yahoo", ticker).removeprefix("stockpick.yahoo.") for ticker in NASDAQ_100] == list(NASDAQ_100)


@given(st.text(), st.integers(2, 50))
def test_one_line_is_printable_and_as_short_as_asked(text: str, longest: int) -> None:
    assert one_line(text, longest).isprintable()
    assert len(one_line(text, longest)) <= longest


def test_an_id_is_in_utc_whatever_the_zone_of_the_minute() -> None:
    shifted = minute(0).astimezone(tz=None)
    assert shifted - minute(0) == timedelta(0)
    assert message_id("yahoo", shifted, "AAPL") == "yahoo/2026-11-20T14:30:00Z/AAPL"
