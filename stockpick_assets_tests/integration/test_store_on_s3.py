"""The store on real object stores: the one that `stockpick up` starts, and MinIO."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pyarrow.fs import S3FileSystem

from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store, StoreError, TableMissing
from stockpick_assets_tests.rows import SESSION, bars
from stockpick_assets_tests.writers import race

WRITERS, COMMITS = 4, 5


@pytest.fixture(params=["services", "minio"])
def store(request: pytest.FixtureRequest) -> Store:
    settings: Settings = request.getfixturevalue(request.param)
    # A bucket a test: S3 allows no underscore in its name.
    bucket = f"store-{uuid4().hex}"
    S3FileSystem(
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        endpoint_override=settings.s3_endpoint,
        region=settings.s3_region,
        allow_bucket_creation=True,
    ).create_dir(bucket)
    return Store.from_settings(settings.model_copy(update={"s3_bucket": bucket}))


def test_what_was_written_is_read_and_what_was_not_is_missing(store: Store) -> None:
    with pytest.raises(TableMissing):
        store.read("raw_prices")
    rows = bars(3, tickers=("AAPL", "MSFT"))
    store.append("raw_prices", rows, {"run_id": "one"})
    assert store.read("raw_prices").replace_schema_metadata(None).equals(rows)


def test_several_writers_at_one_time_lose_nothing(store: Store) -> None:
    store.append("raw_prices", bars(1), {})

    def write(writer: int) -> None:
        for commit in range(COMMITS):
            store.append("raw_prices", bars(1, start=1 + writer * COMMITS + commit), {})

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    minutes = store.read("raw_prices")["minute"].to_pylist()
    assert minutes == [SESSION.open + index * MINUTE for index in range(1 + WRITERS * COMMITS)]


def test_first_writers_at_one_time_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda writer: store.append("raw_prices", bars(1, start=writer), {}), range(WRITERS)))
    assert store.read("raw_prices").num_rows == WRITERS


def test_writers_compactions_and_vacuums_at_one_time_lose_and_double_nothing(store: Store) -> None:
    assert race(store, commits=12) == []


def test_a_compaction_leaves_one_file_and_every_row(store: Store) -> None:
    for minute in range(5):
        store.append("raw_prices", bars(1, start=minute), {})
    assert store.compact("raw_prices", SESSION.date) == 5
    assert store.vacuum("raw_prices", timedelta(0)) == 5
    assert store.read("raw_prices").replace_schema_metadata(None).equals(bars(5))


def test_a_wrong_key_is_told_in_one_line_with_the_words_of_the_store(store: Store) -> None:
    wrong = replace(store, options={**store.options, "AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(StoreError, match="SignatureDoesNotMatch") as caught:
        wrong.version("raw_prices")
    assert len(str(caught.value).splitlines()) == 1


def test_replacing_one_minute_leaves_the_others(store: Store) -> None:
    store.append("raw_prices", bars(3), {})
    later: dict[str, Any] = {"close": 2.0, "fetched_at": datetime(2026, 11, 21, tzinfo=UTC)}
    middle = (SESSION.open + MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
    stamp = f"arrow_cast('{middle}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    store.replace("raw_prices", bars(1, start=1, **later), f"session = '{SESSION.date}' AND minute = {stamp}", {})
    assert store.read("raw_prices", every_version=True)["close"].to_pylist() == [100.0, 2.0, 100.0]
