"""The feature table as data."""

import re

from stockpick_assets.core.feature_set import COMBINED, CONDITIONERS, E1, ES5, FEATURES, SHAPES

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
