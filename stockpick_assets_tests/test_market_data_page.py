"""docs/market-data.md says what the code does: its reasons, rules and checks, and which sessions it can have."""

import re
from pathlib import Path

import pytest

from stockpick_assets.checks import CHECKS
from stockpick_assets.core.quality import COVERAGE_FLOOR, EXCUSED, SILENCE_LIMIT, VOLUME_LIMIT
from stockpick_assets.core.quarantine import RULES
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.universe import KNOWN_FROM

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "market-data.md"


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_reason_is_explained_and_its_finality_told() -> None:
    told = {row[0].strip("`"): row[-1] for row in table("One row, one reason")}
    assert told == {reason.value: "yes" if reason.final else "no" for reason in Reason}


def test_every_check_is_told_with_its_severity() -> None:
    words = {"ERROR": "error", "WARN": "warning"}
    told = [(row[0].strip("`"), row[-1]) for row in table("Checks")]
    assert told == [(check.name, words[check.severity.value]) for check in CHECKS]


@pytest.mark.parametrize(
    ("check", "limit"),
    [
        ("minutes_are_covered", f"{COVERAGE_FLOOR * 100:.0f} %"),
        ("volumes_are_believable", f"{VOLUME_LIMIT * 100:.0f} %"),
        ("bars_are_fresh", f"{SILENCE_LIMIT} ticker-minutes"),
    ],
)
def test_a_check_is_told_with_its_limit(check: str, limit: str) -> None:
    (fails,) = [row[1] for row in table("Checks") if row[0] == f"`{check}`"]
    assert limit in fails


def test_the_reasons_that_are_held_against_nobody_are_told() -> None:
    (sentence,) = re.findall(r"Minutes that are ([^.]*?)\s+are held against nobody", PAGE.read_text(encoding="utf-8"))
    assert set(re.findall(r"`(\w+)`", sentence)) == EXCUSED


def test_every_rule_is_told_in_the_order_in_which_it_is_applied() -> None:
    assert table("Quarantine") == [[rule.name, rule.scope.value, rule.description] for rule in RULES]


@pytest.mark.parametrize("page", ["market-data.md", "simulated.md"])
def test_sessions_that_need_named_tickers_are_told(page: str) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    assert f"before {KNOWN_FROM.year} need `STOCKPICK_TICKERS`" in text
