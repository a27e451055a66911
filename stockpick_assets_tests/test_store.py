"""The store on a local folder; integration/test_store_on_s3.py asks the same of real object stores."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.store import OBJECT, Store, StoreError, TableMissing, VersionGone, s3_options
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "simulated", {})


def test_a_table_that_was_never_written_is_missing_and_not_empty(store: Store) -> None:
    assert not store.exists("picks")
    with pytest.raises(TableMissing, match="materialize simulated/picks first"):
        store.read("picks")


def test_a_store_that_refuses_is_an_error_of_one_line_within_ten_seconds_and_not_an_empty_table() -> None:
    nowhere = Store("s3://bucket", "simulated", s3_options("http://127.0.0.1:1", "a", "b", "us-east-1"))
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        nowhere.read("picks")
    assert time.monotonic() - began < 10
    assert not isinstance(caught.value, TableMissing)
    assert str(caught.value) == (
        "could not open table picks at s3://bucket/simulated/picks: Generic S3 error: Connection refused (os error 111)"
        ". Is the object store up (`stockpick status`), and are its address and keys right?"
    )
    assert "retries" in str(caught.value.__cause__)


def test_a_store_that_does_not_answer_is_given_up_after_ten_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(StoreError, match="operation timed out"):
            Store("s3://bucket", "simulated", s3_options(address, "a", "b", "us-east-1")).version("picks")
    assert time.monotonic() - began < 13


def test_a_damaged_log_is_an_error_and_not_an_empty_table(store: Store) -> None:
    store.append("raw_prices", bars(2), {})
    (Path(store.uri("raw_prices")) / "_delta_log" / f"{0:020}.json").write_text("{")
    with pytest.raises(StoreError, match=r"could not open table raw_prices .*: Kernel error: Json error") as caught:
        store.read("raw_prices")
    assert len(str(caught.value).splitlines()) == 1


def test_rows_come_back_in_key_order_as_they_were_written(store: Store) -> None:
    rows = bars(5, tickers=("AAPL", "MSFT"))
    store.append("raw_prices", rows.take(list(range(rows.num_rows))[::-1]), {})
    assert store.read("raw_prices").replace_schema_metadata(None).equals(rows)


def test_a_read_says_which_version_of_which_table_it_read(store: Store) -> None:
    store.append("raw_prices", bars(2), {})
    version = store.append("raw_prices", bars(2, close=3.0, fetched_at=datetime(2026, 11, 21, tzinfo=UTC)), {})
    assert store.read("raw_prices").schema.metadata == {b"table": b"raw_prices", b"version": str(version).encode()}


def test_a_located_row_says_which_file_it_stands_in(store: Store) -> None:
    for at in range(2):
        store.append("raw_prices", bars(1, start=at, tickers=("AAPL", "MSFT")), {})
    rows = store.read("raw_prices", columns=("minute",), located=True)
    assert rows.column_names == ["minute", OBJECT]
    first, again, *later = rows[OBJECT].to_pylist()
    assert first == again
    assert first not in later
    assert Path(store.uri(first)).is_file()
    assert store.read("raw_prices", first=SESSION.close, located=True).column_names[-1] == OBJECT


def test_a_version_that_is_not_kept_is_told_from_a_store_that_fails(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    version = store.replace("raw_prices", bars(2), f"session = '{SESSION.date}'", {})
    assert store.vacuum("raw_prices", timedelta(0)) == 1
    with pytest.raises(VersionGone, match=r"version 1 of table raw_prices at .* is not kept any more"):
        store.read("raw_prices", version=1)
    with pytest.raises(VersionGone):
        store.read("raw_prices", version=99)
    assert store.read("raw_prices", version=version).num_rows == 2
    Path(store.uri(store.read("raw_prices", located=True)[OBJECT][0].as_py())).unlink()
    with pytest.raises(StoreError) as caught:
        store.read("raw_prices")
    assert not isinstance(caught.value, VersionGone)


def test_a_version_that_the_log_does_not_reach_back_to_is_gone(store: Store) -> None:
    for at in range(3):
        store.append("raw_prices", bars(1, start=at), {"number": str(at)})
    store.open("raw_prices").create_checkpoint()
    for version in range(3):
        (Path(store.uri("raw_prices")) / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(VersionGone):
        store.read("raw_prices", version=1)
    assert list(store.commits("raw_prices", 1)) == []
    assert [(commit.version, commit.metadata.get("number")) for commit in store.commits("raw_prices")] == [(3, "2")]


def test_commits_are_told_from_a_version_on_backwards(store: Store) -> None:
    for at in range(30):
        store.append("raw_prices", bars(1), {"number": str(at)})
    told = list(store.commits("raw_prices", 28))
    assert [commit.version for commit in told] == list(range(28, -1, -1))
    assert [commit.metadata.get("number") for commit in told] == [*map(str, range(27, -1, -1)), None]
    assert sorted(told, key=lambda commit: commit.at, reverse=True) == told


def test_the_keys_below_a_folder_are_relative_to_the_store(store: Store) -> None:
    for name in ("b", "a/c"):
        file = Path(store.uri("models")) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    assert store.keys("models") == ["models/a/c", "models/b"]
    assert store.keys("nothing") == []


def test_of_several_versions_of_a_bar_the_newest_is_read_and_all_are_kept(store: Store) -> None:
    first = bars(3, close=1.0)
    revised = bars(1, close=2.0, fetched_at=datetime(2026, 11, 21, tzinfo=UTC))
    store.append("raw_prices", revised, {})
    store.append("raw_prices", first, {})
    assert store.read("raw_prices")["close"].to_pylist() == [2.0, 1.0, 1.0]
    assert store.read("raw_prices", every_version=True)["close"].to_pylist() == [1.0, 2.0, 1.0, 1.0]


def test_as_of_a_moment_the_bars_are_what_was_known_then(store: Store) -> None:
    revised_at = FETCHED_AT + timedelta(days=3)
    store.append("raw_prices", bars(2, close=1.0), {})
    store.append("raw_prices", bars(1, close=2.0, fetched_at=revised_at), {})
    moments = (FETCHED_AT - MINUTE, FETCHED_AT, revised_at - MINUTE, revised_at)
    known = [store.read("raw_prices", as_of=moment)["close"].to_pylist() for moment in moments]
    assert known == [[], [1.0, 1.0], [1.0, 1.0], [2.0, 1.0]]


def test_of_several_versions_of_a_pick_the_published_one_is_read(store: Store) -> None:
    first = table([pick(minute(0), "AAPL", 1)])
    second = table([pick(minute(0), "AAPL", 2)])
    unpublished = second.set_column(
        second.schema.get_field_index("published"), "published", pa.array([False], pa.bool_())
    )
    store.append("picks", pa.concat_tables([first, unpublished]), {})
    assert store.read("picks")["rank"].to_pylist() == [1]
    assert sorted(store.read("picks", every_version=True)["rank"].to_pylist()) == [1, 2]


@pytest.mark.parametrize(
    "work", [lambda store: store.read("raw_prices"), lambda store: store.append("raw_prices", bars(1), {})]
)
def test_a_table_of_an_earlier_stockpick_is_refused_with_what_to_do(
    store: Store, work: Callable[[Store], object]
) -> None:
    earlier = bars(1).drop_columns(["split"])
    write_deltalake(store.uri("raw_prices"), earlier, partition_by=["session"])
    with pytest.raises(StoreError, match=r"lacks the column split; .* begin anew"):
        work(store)


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


def test_rows_of_another_schema_are_refused(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    with pytest.raises(StoreError, match="could not write table raw_prices"):
        store.append("raw_prices", pa.table({"session": [SESSION.date], "price": [1.0]}), {})


def test_the_schema_of_an_empty_answer_is_the_declared_one(store: Store) -> None:
    store.append("raw_prices", bars(1), {})
    assert store.read("raw_prices", first=SESSION.close).schema.equals(RAW_PRICES.columns)


def test_what_a_table_holds_is_told_by_its_log(store: Store) -> None:
    with pytest.raises(TableMissing):
        store.newest("raw_prices")
    version = store.append("raw_prices", bars(3, tickers=("AAPL", "MSFT")), {})
    held = store.contents("raw_prices")
    assert (held.version, held.rows, held.newest) == (version, 6, SESSION.open + 2 * MINUTE)
    assert {session: len(files) for session, files in held.files.items()} == {SESSION.date: 1}
    assert store.newest("raw_prices") == SESSION.open + 2 * MINUTE


def test_a_table_without_rows_has_no_newest_minute(store: Store) -> None:
    store.append("raw_prices", bars(0), {})
    assert store.newest("raw_prices") is None


def test_a_replacement_of_a_table_that_is_not_there_is_its_first_rows(store: Store) -> None:
    store.replace("raw_prices", bars(2), f"session = '{SESSION.date}'", {})
    assert store.read("raw_prices").num_rows == 2
