"""The asset `performance` in Dagster: what it reads of earlier sessions, what it writes, and what its metadata plot."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from dagster_aws.s3 import S3Resource

from stockpick_assets.assets.performance import performance
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.feature_set import FEATURES
from stockpick_assets.core.market_hours import MINUTE, Session, session_after, sessions_until
from stockpick_assets.core.schemas import PREDICTIONS, RETURN_MODEL, TRAINING_SET
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.partitions import Window
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store
from stockpick_assets_tests.null_flow import NULL_FLOW

SESSIONS = tuple(sessions_until(date(2026, 11, 20), 6))
FLOW = replace(NULL_FLOW, window=Window(SESSIONS, ("T00",)))
FIRST, SECOND = SESSIONS[-2:]
READ = [
    dg.AssetSpec(FLOW.key(TRAINING_SET.name), partitions_def=FLOW.window.session_partitions),
    dg.AssetSpec(FLOW.key(PREDICTIONS.name), partitions_def=FLOW.window.ticker_minutes),
]
TICKERS = tuple(f"T{number:02d}" for number in range(12))
MINUTES = 60


class Platform:
    """The asset, its IO manager and the tables in a folder."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.store = Store(str(root), FLOW.source, {})
        self.tables = Tables(s3=S3Resource(), bucket="none", source=FLOW.source, root=str(root))
        self.instance = instance

    def over(self, session: Session, *, forecasts: bool = True) -> None:
        """Append what a session leaves: forecasts of which a third of the variance comes true, and their outcomes."""
        random = np.random.default_rng(session.date.toordinal())
        score = random.normal(size=(MINUTES, len(TICKERS)))
        outcome = 1e-3 * (0.7 * score + random.normal(size=score.shape))
        features = {feature.name: random.normal(size=score.shape) for feature in FEATURES}
        happened = {"obtainable_return": outcome, "close_return": outcome, "sig": np.abs(outcome) + 1e-4, **features}
        happened["return_1"] = random.normal(size=score.shape)
        said: dict[str, np.ndarray] = {}
        if forecasts:
            said = {"score": score, "score_linear": score, "p_profit": 1 / (1 + np.exp(-score))}
        for schema, columns in ((TRAINING_SET, happened), (PREDICTIONS, said)):
            rows: list[dict[str, Any]] = [
                {
                    "session": session.date,
                    "minute": session.open + minute * MINUTE,
                    "ticker": ticker,
                    "source": FLOW.source,
                    "model_version": "m1",
                    **{name: float(values[minute, number]) for name, values in columns.items()},
                }
                for minute in range(MINUTES)
                for number, ticker in enumerate(TICKERS)
            ]
            self.store.append(schema.name, pa.Table.from_pylist(rows, schema=schema.columns), {})

    def materialize(self, session: Session) -> dict[str, Any]:
        """Run the asset; returns its metadata."""
        now = Now(MarketClock())
        result = dg.materialize(
            [*READ, performance(FLOW)],
            instance=self.instance,
            partition_key=session.label(),
            resources={
                "tables": self.tables,
                "io_manager": TableIOManager(tables=self.tables, now=now, live_job="live"),
            },
        )
        (event,) = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    def rows(self, session: Session) -> dict[str, dict[str, Any]]:
        """The rows of PERFORMANCE of a session by kind."""
        made = self.store.read("performance", from_session=session.date, to_session=session.date)
        return {row["kind"]: row for row in made.to_pylist()}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """Tables of no session."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Platform(tmp_path, instance)


def test_a_session_is_measured_and_compared_with_those_before_it(platform: Platform) -> None:
    platform.over(FIRST)
    platform.over(SECOND)
    platform.materialize(FIRST)
    platform.materialize(SECOND)
    first, second = platform.rows(FIRST), platform.rows(SECOND)
    assert set(first) == set(second) == {"linear", "naive"}
    assert second["linear"]["champion"]
    assert second["linear"]["ic_obtainable"] > 0.4
    assert [first["linear"][name] for name in ("brier_base_rate", "stability_index")] == [None, None]
    assert None not in [second["linear"][name] for name in ("brier_base_rate", "brier_volatility", "stability_index")]


def test_a_session_measured_again_replaces_its_rows(platform: Platform) -> None:
    platform.over(FIRST)
    platform.materialize(FIRST)
    before = platform.rows(FIRST)
    platform.materialize(FIRST)
    assert platform.store.read("performance").num_rows == 2
    assert platform.rows(FIRST) == before


def test_later_sessions_and_those_long_over_are_not_compared_with(platform: Platform) -> None:
    platform.over(SECOND)
    platform.over(session_after(SECOND))
    platform.over(sessions_until(SECOND.date, 14)[0])
    platform.materialize(SECOND)
    assert platform.rows(SECOND)["linear"]["brier_base_rate"] is None


def test_its_metadata_are_plain_numbers_that_plot_under_the_same_names_each_session(platform: Platform) -> None:
    platform.over(FIRST)
    platform.over(SECOND)
    platform.materialize(FIRST)
    told, row = platform.materialize(SECOND), platform.rows(SECOND)["linear"]
    assert {name: value for name, value in told.items() if isinstance(value, float) and name != "seconds"} == {
        "IC obtainable": row["ic_obtainable"],
        "IC close (not tradable)": row["ic_close"],
        "hit rate": row["hit_rate"],
        "turnover": row["turnover"],
        "top pick before cost, bp": pytest.approx(row["top_return"] * 1e4),
        "top pick after cost, bp": pytest.approx(row["top_return"] * 1e4 - FLOW.cost_bp),
        "Brier score": row["brier"],
        "Brier score of the base rate": row["brier_base_rate"],
        "Brier score of volatility alone": row["brier_volatility"],
        "calibration slope": row["calibration_slope"],
        "stability index": row["stability_index"],
    }
    assert (told["champion"], told["kinds"], told["feature that moved most"]) == (
        "linear",
        "linear, naive",
        row["stability_feature"],
    )
    table = told["reliability"].splitlines()
    assert table[0] == "| said | paid | forecasts |"
    assert len(table) == 2 + 10
    assert sum(int(line.split("|")[3]) for line in table[2:]) == MINUTES * len(TICKERS)


def test_the_icir_is_of_the_champions_of_twenty_sessions(platform: Platform) -> None:
    for session in SESSIONS:
        platform.over(session)
    told = [platform.materialize(session) for session in SESSIONS]
    ics = [platform.rows(session)["linear"]["ic_obtainable"] for session in SESSIONS]
    icir = "ICIR obtainable, 20 sessions"
    assert [icir in metadata for metadata in told] == [False] * 4 + [True] * 2
    assert told[-1][icir] == pytest.approx(np.mean(ics) / np.std(ics, ddof=1))


def test_the_kind_of_a_pinned_version_is_looked_up_among_the_models(platform: Platform) -> None:
    platform.over(FIRST)
    models = [{"session": SESSIONS[0].date, "source": FLOW.source, "version": "m1", "kind": "average"}]
    platform.store.append(RETURN_MODEL.name, pa.Table.from_pylist(models, schema=RETURN_MODEL.columns), {})
    assert platform.materialize(FIRST)["champion"] == "average"
    rows = platform.rows(FIRST)
    assert (rows["average"]["champion"], rows["average"]["version"]) == (True, "m1")
    assert rows["average"]["ic_obtainable"] == rows["linear"]["ic_obtainable"]


def test_a_session_without_forecasts_says_so_and_measures_the_naive_score(platform: Platform) -> None:
    platform.over(FIRST, forecasts=False)
    told = platform.materialize(FIRST)
    assert told["champion"] == "none"
    assert set(platform.rows(FIRST)) == {"naive"}
