"""The feature table as data."""

import re
from dataclasses import replace
from typing import Any

import pytest

from stockpick_assets.core.feature_set import (
    BOUND,
    COMBINED,
    CONDITIONERS,
    DIGEST,
    E1,
    ES5,
    FEATURES,
    MINIMUM_RETURNS,
    SHAPE_BOUND,
    SHAPES,
    SIGMA_FLOOR,
    digest_of,
)

OF_MINUTE = (
    "open high low close log_volume m sig carried_before excess volatility_15 highest_15 lowest_15 mean_log_volume_30 "
    "zero_share_60 missing_share_60 dispersion dollar_volume"
).split()
OF_FACTORS = "slope_e1 slope_cmid slope_es5 drift".split()
WORDS = "IF D ln sqrt greatest least coalesce try_divide".split()


def test_a_features_expression_names_only_what_it_may() -> None:
    made = [item.name for item in (*SHAPES, E1, ES5, *CONDITIONERS)]
    for item in (*FEATURES, *CONDITIONERS):
        names = set(re.findall(r"[A-Za-z_]\w*", item.expression)) - set(WORDS)
        if item is ES5:
            assert names == {"e1", "e1_before"}
        else:
            assert names <= set([*made, *OF_FACTORS] if item in COMBINED else OF_MINUTE), item.name


def test_every_feature_is_described_and_has_a_name_of_its_own() -> None:
    assert len({item.name for item in (*FEATURES, *CONDITIONERS)}) == len(FEATURES) + len(CONDITIONERS) == 39 + 12
    for feature in FEATURES:
        assert feature.definition and feature.unit and feature.source
        assert 1 <= feature.look_back <= 390
    for conditioner in CONDITIONERS:
        assert conditioner.definition and conditioner.spread > 0


CONSTANTS = (MINIMUM_RETURNS, SIGMA_FLOOR, SHAPE_BOUND, BOUND)


def changed(items: tuple[Any, ...], **fields: Any) -> tuple[Any, ...]:
    """The items, the last of them with other fields."""
    return (*items[:-1], replace(items[-1], **fields))


@pytest.mark.parametrize(
    ("features", "conditioners", "constants"),
    [
        (changed(FEATURES, expression="e1 * q_first"), CONDITIONERS, CONSTANTS),
        (changed(FEATURES, name="other"), CONDITIONERS, CONSTANTS),
        (FEATURES[::-1], CONDITIONERS, CONSTANTS),
        (FEATURES, changed(CONDITIONERS, expression="0D"), CONSTANTS),
        (FEATURES, changed(CONDITIONERS, mean=0.0975), CONSTANTS),
        (FEATURES, changed(CONDITIONERS, spread=0.298), CONSTANTS),
        *((FEATURES, CONDITIONERS, (*CONSTANTS[:at], CONSTANTS[at] * 2, *CONSTANTS[at + 1 :])) for at in range(4)),
    ],
)
def test_whatever_decides_a_number_changes_the_digest(
    features: tuple[Any, ...], conditioners: tuple[Any, ...], constants: tuple[float, ...]
) -> None:
    assert digest_of(FEATURES, CONDITIONERS, *CONSTANTS) == DIGEST
    assert digest_of(features, conditioners, *constants) != DIGEST


def test_words_about_a_feature_do_not_change_the_digest() -> None:
    told = changed(FEATURES, definition="told otherwise", source="another")
    assert digest_of(told, changed(CONDITIONERS, definition="told otherwise"), *CONSTANTS) == DIGEST
