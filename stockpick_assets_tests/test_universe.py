"""The universe in the graph: its table, and a run over history that asks for the members of each day."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import minute_from_label
from stockpick_assets.core.schemas import UNIVERSE
from stockpick_assets.core.universe import data_as_of, members
from stockpick_assets.definitions import build_definitions
from stockpick_assets.jobs import UNIVERSE as JOB
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.sources import market_data
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.sensors.flows import fine_instance
from stockpick_assets_tests.simulated_market import QUIET, RAW_PRICES, SimulatedMarket

# On the 20th Sandisk came and Atlassian left; the exchange closed early on the 17th, say the settings.
BEFORE, DAY = date(2026, 4, 17), date(2026, 4, 20)
WALL = minute_from_label("2026-04-20 16:30")


@pytest.fixture
def market(tmp_path: Path) -> Iterator[SimulatedMarket]:
    """The two sessions with the members of the index."""
    settings = Settings(
        home=tmp_path,
        store_root=str(tmp_path / "tables"),
        last_session=DAY,
        sessions=2,
        closings="2026-04-17 12:00-16:00",  # pyright: ignore[reportArgumentType] - parsed as from the environment
    )
    with pytest.MonkeyPatch.context() as patch, fine_instance(tmp_path / "dagster") as instance:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        source = market_data(settings)
        definitions = build_definitions(settings, WALL, market_data=source, now=Now(MarketClock(), lambda: WALL))
        yield SimulatedMarket(definitions, instance, Store.from_settings(settings))


def made(market: SimulatedMarket, session: date) -> dg.ExecuteInProcessResult:
    job = market.definitions.resolve_job_def(JOB)
    return job.execute_in_process(instance=market.instance, run_config=QUIET, partition_key=session.isoformat())


def test_a_session_has_a_row_for_each_member_and_for_each_that_left(market: SimulatedMarket) -> None:
    assert made(market, DAY).success
    rows = market.store.read("universe").to_pylist()
    assert [row["ticker"] for row in rows if row["member"]] == list(members(DAY))
    changed = {row["ticker"]: (row["member"], row["change"], row["name"]) for row in rows if row["change"]}
    assert changed == {
        "SNDK": (True, "added", "Sandisk Corporation"),
        "TEAM": (False, "removed", "Atlassian"),
    }
    assert {(row["source"], row["session"], row["data_as_of"]) for row in rows} == {("simulated", DAY, data_as_of())}
    assert set(rows[0]) == set(UNIVERSE.columns.names)


def test_its_materialization_says_what_changed_and_how_old_the_record_is(market: SimulatedMarket) -> None:
    (event,) = made(market, DAY).get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["changes"] == "SNDK added, TEAM removed"
    assert metadata["members"] == len(members(DAY)) == metadata["dagster/row_count"] - 1
    assert metadata["data as of"] == data_as_of().isoformat()


def test_a_run_over_history_asks_for_the_members_of_each_day(market: SimulatedMarket) -> None:
    first, last = members(BEFORE)[0], members(BEFORE)[-1]
    assert market.run(f"2026-04-17 11:59|{first}", f"2026-04-20 09:30|{last}").success
    rows = market.store.read("raw_prices").to_pylist()
    everyone = sorted({*members(BEFORE), *members(DAY)})
    assert len(rows) == 242 * len(everyone)
    for day, stranger in ((BEFORE, "SNDK"), (DAY, "TEAM")):
        unlisted = {row["ticker"] for row in rows if row["session"] == day and row["reason"] == "not_listed"}
        assert unlisted == {stranger}
    closed = {row["minute"] for row in rows if row["reason"] == "closed"}
    assert (min(closed), len(closed)) == (minute_from_label("2026-04-17 12:00"), 240)
    assert {row["detail"] for row in rows if row["minute"] in closed} == {
        "unscheduled closing: 2026-04-17 12:00-16:00",
        "not in the universe of 2026-04-17",
    }
    key = dg.AssetCheckKey(RAW_PRICES, "every_minute_is_answered")
    record = market.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.status.value == "SUCCEEDED"
