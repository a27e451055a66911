"""Dagster's partitions restored from the tables, on a real instance with the event log of fine_partitions."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import minute_label, session_after
from stockpick_assets.core.schemas import RETURN_MODEL
from stockpick_assets.ledger import ASSETS, Ledger
from stockpick_assets.store import Store, StoreError
from stockpick_assets_tests.picks import TICKERS
from stockpick_assets_tests.rows import SESSION, bars, scores
from stockpick_assets_tests.sensors.flows import FLOW, fine_instance, tables

MODEL = session_after(SESSION).label()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with fine_instance(tmp_path / "dagster") as instance:
        yield instance


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path / "tables").store()


@pytest.fixture
def ledger(store: Store, instance: dg.DagsterInstance) -> Ledger:
    return Ledger(FLOW, store, instance)


def fill(store: Store) -> None:
    """Three minutes of bars, two of scores, and a model of the following session."""
    store.append("raw_prices", bars(3, tickers=TICKERS), {})
    store.append("scores", scores(2, tickers=TICKERS), {})
    row = {"session": session_after(SESSION).date, "source": "simulated", "version": "one"}
    store.append("return_model", RETURN_MODEL.empty().from_pylist([row], schema=RETURN_MODEL.columns), {})


def restore_all(ledger: Ledger) -> None:
    for asset in ASSETS:
        for block in ledger.compare(asset).unknown:
            ledger.restore(asset, block)


def key(minute: int, ticker: str) -> str:
    return f"{minute_label(SESSION.minutes()[minute].to_pydatetime())}|{ticker}"


def test_a_new_dagster_home_knows_after_it_what_the_tables_hold(ledger: Ledger, store: Store) -> None:
    fill(store)
    assert [ledger.compare(asset).known for asset in ASSETS] == [0] * len(ASSETS)
    restore_all(ledger)
    counts = {asset: ledger.compare(asset) for asset in ASSETS}
    assert all(found.agrees for found in counts.values())
    assert [found.known for found in counts.values()] == [9, 0, 0, 0, 6, 0, 0, 0, 0, 1]
    assert ledger.instance.get_materialized_partitions(FLOW.key("return_model")) == {MODEL}
    assert ledger.instance.get_materialized_partitions(FLOW.key("scores")) == {
        key(minute, ticker) for minute in range(2) for ticker in TICKERS
    }


def test_the_pages_of_dagster_show_what_was_restored(ledger: Ledger, store: Store) -> None:
    fill(store)
    restore_all(ledger)
    partitions = FLOW.window.ticker_minutes
    value = get_and_update_asset_status_cache_value(ledger.instance, FLOW.key("raw_prices"), partitions)
    assert value is not None
    assert len(value.deserialize_materialized_partition_subsets(partitions)) == 9
    found = ledger.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=FLOW.key("raw_prices"), asset_partitions=[key(1, TICKERS[0])]), limit=5
    )
    (materialization,) = [record.asset_materialization for record in found.records]
    assert materialization is not None
    assert materialization.partition == key(1, TICKERS[0])
    assert materialization.metadata["table version"].value == store.version("raw_prices")
    assert (materialization.tags or {})["dagster/partition/minute"] == key(1, TICKERS[0]).split("|")[0]


def test_only_what_is_not_known_is_restored(ledger: Ledger, store: Store) -> None:
    store.append("raw_prices", bars(1, tickers=TICKERS), {})
    restore_all(ledger)
    store.append("raw_prices", bars(2, start=2, tickers=TICKERS[:2]), {})
    (block,) = ledger.compare("raw_prices").unknown
    assert block.keys == [key(minute, ticker) for minute in (2, 3) for ticker in TICKERS[:2]]


def test_what_dagster_knows_and_the_table_does_not_hold_is_told_and_kept(ledger: Ledger, store: Store) -> None:
    lost = dg.MultiPartitionKey({"minute": key(7, TICKERS[0]).split("|")[0], "ticker": TICKERS[0]})
    ledger.instance.report_runless_asset_event(dg.AssetMaterialization(FLOW.key("raw_prices"), partition=lost))
    fill(store)
    restore_all(ledger)
    found = ledger.compare("raw_prices")
    assert not found.agrees
    assert [block.keys for block in found.unheld] == [[str(lost)]]
    assert found.known == 10


def test_partitions_outside_the_window_are_nobodys(ledger: Ledger, store: Store) -> None:
    store.append("raw_prices", bars(1, tickers=("ZZZZ",)), {})
    old = dg.MultiPartitionKey({"minute": "2024-06-03 09:30", "ticker": TICKERS[0]})
    ledger.instance.report_runless_asset_event(dg.AssetMaterialization(FLOW.key("raw_prices"), partition=old))
    found = ledger.compare("raw_prices")
    assert found.agrees and (found.held, found.known) == (0, 0)


def test_a_table_that_cannot_be_read_is_an_error_and_not_a_table_without_rows(ledger: Ledger, store: Store) -> None:
    fill(store)
    (Path(store.uri("raw_prices")) / "_delta_log" / f"{0:020}.json").write_text("{")
    with pytest.raises(StoreError):
        ledger.compare("raw_prices")


def test_an_event_log_that_takes_no_ranges_is_refused_with_what_to_do(store: Store) -> None:
    fill(store)
    with dg.DagsterInstance.ephemeral() as instance:
        ledger = Ledger(FLOW, store, instance)
        (block,) = ledger.compare("raw_prices").unknown
        with pytest.raises(StockpickError, match=r"name stockpick_assets.fine_partitions in dagster.yaml"):
            ledger.restore("raw_prices", block)
