"""The store on a local folder; integration/test_store_on_s3.py asks the same of real object stores."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.store import COMMITS_BETWEEN_COMPACTIONS, Store, StoreError, TableMissing
from stockpick_assets_tests.rows import SESSION, bars

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def test_a_table_that_was_never_written_is_missing_and_not_empty(store: Store) -> None:
    assert not store.exists("picks")
    with pytest.raises(TableMissing, match="materialize simulated/picks first"):
        store.read("picks")


def test_a_store_that_cannot_be_reached_is_an_error_and_not_an_empty_table() -> None:
    nowhere = Store("s3://bucket", "simulated", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true",
                    "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
                    "max_retries": "0", "retry_timeout": "1s"})  # fmt: skip
    with pytest.raises(StoreError, match="Is the object store up") as caught:
        nowhere.read("picks")
    assert not isinstance(caught.value, TableMissing)


def test_a_damaged_log_is_an_error_and_not_an_empty_table(store: Store) -> None:
    store.append("raw_prices", bars(2), {})
    (Path(store.uri("raw_prices")) / "_delta_log" / f"{0:020}.json").write_text("{")
    with pytest.raises(StoreError, match="could not"):
        store.read("raw_prices")


def test_rows_come_back_in_key_order_as_they_were_written(store: Store) -> None:
    rows = bars(5, tickers=("AAPL", "MSFT"))
    store.append("raw_prices", rows.take(list(range(rows.num_rows))[::-1]), {})
    assert store.read("raw_prices").replace_schema_metadata(None).equals(rows)


def test_a_read_says_which_version_of_which_table_it_read(store: Store) -> None:
    store.append("raw_prices", bars(2), {})
    version = store.append("raw_prices", bars(2, close=3.0, fetched_at=datetime(2026, 11, 21, tzinfo=UTC)), {})
    assert store.read("raw_prices").schema.metadata == {b"table": b"raw_prices", b"version": str(version).encode()}


def test_of_several_versions_of_a_bar_the_newest_is_read_and_all_are_kept(store: Store) -> None:
    first = bars(3, close=1.0)
    revised = bars(1, close=2.0, fetched_at=datetime(2026, 11, 21, tzinfo=UTC))
    store.append("raw_prices", revised, {})
    store.append("raw_prices", first, {})
    assert store.read("raw_prices")["close"].to_pylist() == [2.0, 1.0, 1.0]
    assert store.read("raw_prices", every_version=True)["close"].to_pylist() == [1.0, 2.0, 1.0, 1.0]


def test_the_ends_of_a_read_are_included_and_before_is_not(store: Store) -> None:
    rows = bars(4, tickers=("AAPL", "AMD", "MSFT"))
    store.append("raw_prices", rows, {})
    first, last = SESSION.open + MINUTE, SESSION.open + 2 * MINUTE
    read = store.read("raw_prices", first=first, last=last, from_ticker="AMD", to_ticker="MSFT")
    assert set(zip(read["minute"].to_pylist(), read["ticker"].to_pylist(), strict=True)) == {
        (minute, ticker) for minute in (first, last) for ticker in ("AMD", "MSFT")
    }
    assert store.read("raw_prices", before=SESSION.date).num_rows == 0
    assert store.read("raw_prices", from_session=SESSION.date, to_session=SESSION.date).num_rows == 12


def test_a_commit_carries_what_it_was_given(store: Store) -> None:
    store.append("raw_prices", bars(1), {"run_id": "abc"})
    assert store.open("raw_prices").history(1)[0]["run_id"] == "abc"


def test_many_small_commits_are_compacted_without_a_change_to_the_rows(store: Store) -> None:
    for index in range(COMMITS_BETWEEN_COMPACTIONS + 1):
        store.append("raw_prices", bars(1, start=index), {})
    table = store.open("raw_prices")
    assert len(table.files() if hasattr(table, "files") else table.file_uris()) <= 2
    assert store.read("raw_prices")["minute"].to_pylist() == [
        SESSION.open + index * MINUTE for index in range(COMMITS_BETWEEN_COMPACTIONS + 1)
    ]


def test_rows_of_another_schema_are_refused(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    with pytest.raises(StoreError, match="could not write table raw_prices"):
        store.append("raw_prices", pa.table({"session": [SESSION.date], "price": [1.0]}), {})


def test_the_schema_of_an_empty_answer_is_the_declared_one(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    assert store.read("raw_prices", first=SESSION.close).schema.equals(RAW_PRICES.columns)
