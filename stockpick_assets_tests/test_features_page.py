"""docs/features.md says what the tables of features and indicators say today."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from stockpick_assets.core import feature_page
from stockpick_assets.core.feature_set import CONDITIONERS, FEATURES, MEASURES
from stockpick_assets.core.indicators import INDICATORS

PAGE = Path(__file__).parent.parent / "docs" / "features.md"


def test_the_page_is_what_the_tables_make_of_it() -> None:
    written, made = PAGE.read_text(encoding="utf-8"), feature_page.feature_page()
    assert written == made, "docs/features.md is out of date; write it again with `make docs`"


def test_each_of_them_is_told_once_with_its_definition_and_all_else_that_is_known_of_it() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {row.split("`")[1]: row for row in rows}
    everything = (*FEATURES, *CONDITIONERS, *MEASURES, *INDICATORS)
    assert len(rows) == len(told) == len(everything)
    for item in everything:
        for field in fields(item):
            value = getattr(item, field.name)
            if field.name != "expression" and value is not None:
                assert f" {value} |" in told[item.name] or field.name == "name", (item.name, field.name)


@dataclass(frozen=True)
class Made:
    name: str
    expression: str
    definition: str
    look_back: int | None
    mean: float


def test_a_field_that_a_table_gains_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_page, "CONDITIONERS", (Made("q_new", "a + b", "either | or", None, 0.25),))
    section = feature_page.feature_page().partition("## Conditioners")[2].partition("##")[0]
    assert section.splitlines()[-4:-1] == [
        "| name | definition | look-back | mean |",
        "| --- | --- | --- | --- |",
        "| `q_new` | either \\| or | session | 0.25 |",
    ]
