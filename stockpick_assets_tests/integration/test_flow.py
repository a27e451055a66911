"""The whole graph on a real object store and a real Spark, from bars to scores, live and backfilled."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stockpick_assets.assets.flow import Flow
from stockpick_assets.backfill import BackfillFailed, Step, plan, run
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.due import DueMinutes
from stockpick_assets.core.market_hours import MINUTE, sessions_until
from stockpick_assets.core.messages import parse_message
from stockpick_assets.core.schemas import DEFAULT_KINDS, RAW_PRICES
from stockpick_assets.definitions import build_definitions, build_flow
from stockpick_assets.jobs import FLOW, LIVE, RECOMPUTE
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.resources.simulated_troubles import NO_TROUBLES
from stockpick_assets.sensors.recompute import out_of_date
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.sensors.flows import fine_instance

TICKERS = ("AAPL", "AMD", "CSCO", "INTC", "MSFT", "NVDA")
HISTORY, NEXT, LIVE_SESSION = sessions_until(date(2026, 11, 20), 3)
# Half an hour into the live session: a ticker without history would have features since its 21st bar.
NOON = LIVE_SESSION.open + 31 * MINUTE


class Market:
    """The definitions on the services of the tests, at a time that a test sets, and what their tables hold."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.wall = NOON
        exchange = SimulatedExchange(settings.seed, TICKERS, NO_TROUBLES)
        self.flow: Flow = build_flow(settings, exchange, NOON)
        self.definitions = build_definitions(
            settings, NOON, market_data=exchange, now=Now(MarketClock(), lambda: self.wall)
        )

    @property
    def store(self) -> Store:
        return Store.from_settings(self.settings)

    def run(self, step: Step) -> list[str]:
        done: list[str] = []
        run(self.definitions, self.instance, step, done.append)
        return done

    def answer(self, first: datetime, last: datetime, tickers: tuple[str, ...] = ()) -> list[str]:
        selection = self.flow.window.select(first, last, tickers)
        return self.run(Step(LIVE, "live", FLOW, selection=selection))

    def table(self, name: str, first: datetime | None = None, last: datetime | None = None) -> pa.Table:
        return self.store.read(name, first=first, last=last).replace_schema_metadata(None)


@pytest.fixture(scope="module")
def market(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Two sessions backfilled, and the live one answered up to its 30th minute, minute by minute at the end."""
    home: Path = tmp_path_factory.mktemp("dagster")
    settings = services.model_copy(
        update={"last_session": LIVE_SESSION.date, "sessions": 3, "tickers": TICKERS, "s3_bucket": services.s3_bucket}
    )
    with pytest.MonkeyPatch.context() as patch, fine_instance(home / "instance") as instance:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        market = Market(settings, instance)
        for step in plan(market.flow.window, (HISTORY, NEXT), (), market.wall, market.flow.bar_delay):
            market.run(step)
        market.answer(LIVE_SESSION.open, LIVE_SESSION.open + 27 * MINUTE)
        for minute in (28, 29):
            market.answer(LIVE_SESSION.open + minute * MINUTE, LIVE_SESSION.open + minute * MINUTE)
        yield market


def test_every_table_has_a_row_for_every_ticker_and_minute(market: Market) -> None:
    for name in ("raw_prices", "features", "predictions", "picks", "scores"):
        assert market.table(name).num_rows == (390 + 390 + 30) * len(TICKERS), name


def test_the_first_session_abstains_because_it_has_no_model_and_the_next_ones_do_not(market: Market) -> None:
    first = market.table("predictions", last=HISTORY.last_minute)
    assert set(first["abstain"].to_pylist()) == {f"session {HISTORY.date} has no model"}
    later = market.table("predictions", first=NEXT.open)
    assert later["score"].null_count < later.num_rows / 10


def test_a_model_learnt_from_earlier_sessions_only(market: Market) -> None:
    models = market.table("return_model").to_pylist()
    assert [(row["session"], row["kind"], row["training_sessions"], row["ic_sessions"]) for row in models] == [
        *((NEXT.date, kind, [HISTORY.date], [HISTORY.date]) for kind in sorted(DEFAULT_KINDS)),
        *((LIVE_SESSION.date, kind, [HISTORY.date, NEXT.date], [NEXT.date]) for kind in sorted(DEFAULT_KINDS)),
    ]


def test_every_minute_is_ranked_without_a_gap_and_says_what_is_simulated(market: Market) -> None:
    picks = market.table("picks", first=LIVE_SESSION.open + 20 * MINUTE).to_pylist()
    for minute in {row["minute"] for row in picks}:
        ranks = sorted(row["rank"] for row in picks if row["minute"] == minute and row["rank"] is not None)
        assert ranks == list(range(1, len(ranks) + 1))
    assert {parse_message(row["message"]).source for row in picks} == {"simulated"}
    assert all(0 < row["p_profit"] < 1 for row in picks if row["p_profit"] is not None)


def test_a_forecast_is_graded_five_minutes_later_by_what_could_be_had(market: Market) -> None:
    bars = {(row["ticker"], row["minute"]): row for row in market.table("raw_prices", first=NEXT.open).to_pylist()}
    graded = [row for row in market.table("scores", first=NEXT.open).to_pylist() if row["ungraded"] is None]
    assert len(graded) > 1000
    for row in graded[:: len(graded) // 50]:
        bought = bars[row["ticker"], row["forecast_minute"] + MINUTE]["open"]
        assert row["obtainable_return"] == pytest.approx(bars[row["ticker"], row["minute"]]["close"] / bought - 1)
        assert row["profitable"] == (row["obtainable_return"] > market.flow.cost_bp / 10_000)


def test_a_minute_comes_out_the_same_live_and_backfilled(market: Market) -> None:
    first = LIVE_SESSION.open
    live = {name: market.table(name, first=first) for name in ("features", "predictions")}
    market.answer(first, first + 29 * MINUTE)
    for name, before in live.items():
        after = market.table(name, first=first)
        for column in before.schema:
            then, now = before[column.name].to_pylist(), after[column.name].to_pylist()
            assert now == (pytest.approx(then, abs=1e-12) if column.type == pa.float64() else then), (name, column)


def test_one_ticker_of_one_minute_is_ranked_among_all(market: Market) -> None:
    minute = LIVE_SESSION.open + 25 * MINUTE
    before = market.table("picks", first=minute, last=minute)
    market.answer(minute, minute, ("CSCO",))
    after = market.table("picks", first=minute, last=minute)
    assert after.num_rows == before.num_rows
    assert after["rank"].to_pylist() == before["rank"].to_pylist()


def test_asking_for_the_same_minutes_again_adds_no_version_of_a_bar(market: Market) -> None:
    count = market.store.read("raw_prices", every_version=True).num_rows
    market.answer(LIVE_SESSION.open, LIVE_SESSION.open + 3 * MINUTE)
    assert market.store.read("raw_prices", every_version=True).num_rows == count


def test_the_check_on_answers_ran_with_every_run_and_passed(market: Market) -> None:
    key = market.flow.key("raw_prices")
    record = market.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, "every_minute_is_answered")]
    )
    assert [str(found.status) for found in record.values()] == ["AssetCheckExecutionRecordStatus.SUCCEEDED"]


def test_a_materialization_shows_counts_a_preview_and_links(market: Market) -> None:
    event = market.instance.get_latest_materialization_event(market.flow.key("picks"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert {"dagster/row_count", "tickers", "newest minute", "preview", "app", "table version"} <= set(metadata)
    assert metadata["source"].value == "simulated"


def test_a_minute_that_has_not_closed_is_refused_with_what_to_do(market: Market) -> None:
    with pytest.raises(BackfillFailed, match="has not closed"):
        market.answer(LIVE_SESSION.open + 31 * MINUTE, LIVE_SESSION.open + 31 * MINUTE)


def test_features_are_refused_where_some_tickers_have_no_row_to_compare_with(market: Market) -> None:
    minute = LIVE_SESSION.open + 33 * MINUTE
    market.wall = minute + 5 * MINUTE
    with pytest.raises(BackfillFailed, match="materialize raw_prices of these minutes for all tickers first"):
        market.answer(minute, minute, ("CSCO",))


def test_what_a_revision_touches_is_made_again_and_what_went_out_stays(market: Market) -> None:
    store, revised = market.store, LIVE_SESSION.open + 27 * MINUTE
    assert out_of_date(store, LIVE_SESSION, TICKERS) is None
    names = ("features", "predictions", "picks", "scores")
    before = {name: market.table(name, first=LIVE_SESSION.open) for name in names}
    (bar,) = store.read("raw_prices", first=revised, last=revised, from_ticker="AMD", to_ticker="AMD").to_pylist()
    bar |= {"close": bar["close"] * 1.02, "high": bar["high"] * 1.02, "fetched_at": market.wall}
    store.append("raw_prices", pa.Table.from_pylist([bar], schema=RAW_PRICES.columns), {})

    affected = out_of_date(store, LIVE_SESSION, TICKERS)
    assert affected == DueMinutes(revised, LIVE_SESSION.open + 29 * MINUTE)
    selection = market.flow.window.select(affected.first, affected.last)
    market.run(Step(RECOMPUTE, "what a revision touched", FLOW[1:], selection=selection))
    assert out_of_date(store, LIVE_SESSION, TICKERS) is None

    after = {name: market.table(name, first=LIVE_SESSION.open) for name in names}
    for name in ("features", "predictions"):
        untouched = pc.less(before[name]["minute"], revised)
        assert after[name].filter(untouched).equals(before[name].filter(untouched)), name
        assert not after[name].equals(before[name])
    assert after["picks"].equals(before["picks"])
    assert after["scores"]["rank"].equals(before["scores"]["rank"])
    versions = store.read("picks", first=revised, every_version=True)
    assert set(versions["published"].to_pylist()) == {True, False}
