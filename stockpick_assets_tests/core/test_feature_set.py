"""The feature table as data."""

import re

from stockpick_assets.core.feature_set import CONDITIONERS, FEATURES

KNOWN = (
    "open high low close volume m sig carried_before market_excess volatility_15 mean_log_volume_30 zero_share_60 "
    "previous_4"
).split()
WORDS = "CASE WHEN THEN ELSE END IF OVER sum ln sqrt greatest least coalesce try_divide".split()


def test_a_features_expression_names_only_what_it_may() -> None:
    bar_shape = {feature.name for feature in FEATURES if not feature.combined}
    for item in (*FEATURES, *CONDITIONERS):
        names = set(re.findall(r"[A-Za-z_]\w*", item.expression)) - set(WORDS)
        combined = item in FEATURES and item.combined
        allowed = bar_shape | {q.name for q in CONDITIONERS} | {"m", "previous_4"} if combined else set(KNOWN)
        assert names <= allowed, item.name


def test_every_feature_is_described_and_has_a_name_of_its_own() -> None:
    assert len({item.name for item in (*FEATURES, *CONDITIONERS)}) == len(FEATURES) + len(CONDITIONERS)
    for feature in FEATURES:
        assert feature.definition and feature.unit and feature.source
        assert 1 <= feature.look_back <= 390
