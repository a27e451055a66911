"""Overrides are put in place only over the Dagster they were written for, and can be switched off."""

import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster_graphql.implementation import fetch_assets

from stockpick_assets.fine_partitions import FinePartitionsSqliteStorage, UnsupportedDagster, install, remove
from stockpick_assets.fine_partitions.loading import LOADING_METHODS, decided_at_load
from stockpick_assets.fine_partitions.overrides import (
    CALLED_METHODS,
    GRAPHQL_ASSETS,
    OVERRIDES,
    SQL_METHODS,
    StockMethod,
    check,
    of_webserver,
)
from stockpick_assets.fine_partitions.postgres_storage import POSTGRES_METHODS
from stockpick_assets.fine_partitions.sqlite_storage import SQLITE_METHODS
from stockpick_assets.fine_partitions.storage import FinePartitionsStorage
from stockpick_assets_tests.fine_partitions.conftest import OURS, instance_on
from stockpick_assets_tests.fine_partitions.flows import PARTITIONS, UPSTREAM, keys, run


class Changed:
    """A class one of whose methods is not as the table says."""

    def method(self, added: int) -> None:
        """Take an argument that was not there."""


def in_place() -> list[bool]:
    """For each override, whether Dagster's method is replaced."""
    return [hasattr(getattr(each.stock.owner, each.stock.name), "__wrapped__") for each in OVERRIDES]


def test_overrides_replace_every_method_of_the_table_and_are_taken_out_whole() -> None:
    remove()
    before = [getattr(each.stock.owner, each.stock.name) for each in OVERRIDES]
    install()
    install()
    assert all(in_place())

    remove()

    assert [getattr(each.stock.owner, each.stock.name) for each in OVERRIDES] == before
    assert "filter_valid_partition_keys" not in vars(dg.TimeWindowPartitionsDefinition)


def test_the_installed_dagster_is_the_one_the_table_was_written_for() -> None:
    overridden = (*OVERRIDES, *of_webserver())
    called = CALLED_METHODS + LOADING_METHODS
    check(tuple(each.stock for each in overridden) + called + SQL_METHODS + SQLITE_METHODS + POSTGRES_METHODS)


def test_in_a_process_with_dagsters_graphql_its_method_is_replaced_too() -> None:
    remove()
    (graphql,) = of_webserver()
    install()
    assert graphql.stock.owner is fetch_assets
    assert hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")

    remove()

    assert not hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")


def test_graphql_that_is_imported_later_is_overridden_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    remove()
    (graphql,) = of_webserver()
    with monkeypatch.context() as before:
        before.delitem(sys.modules, GRAPHQL_ASSETS)
        install()
        assert not hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")

    install()

    assert hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")
    remove()
    assert not hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")


def test_only_what_a_caller_names_is_replaced() -> None:
    remove()

    install(OVERRIDES[:1])

    assert in_place() == [True] + [False] * (len(OVERRIDES) - 1)
    (graphql,) = of_webserver()
    assert not hasattr(getattr(fetch_assets, graphql.stock.name), "__wrapped__")


def test_dagsters_graphql_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, GRAPHQL_ASSETS)

    install()

    assert all(in_place())
    assert GRAPHQL_ASSETS not in sys.modules


def test_a_changed_signature_is_refused_by_name_and_nothing_is_replaced() -> None:
    changed = replace(OVERRIDES[0], stock=StockMethod(Changed, "method", "(self)"))
    gone = replace(OVERRIDES[0], stock=StockMethod(Changed, "removed", "(self)"))

    with pytest.raises(UnsupportedDagster) as refused:
        install((*OVERRIDES, changed, gone))

    assert "Changed.method(self) is now method(self, added)" in str(refused.value)
    assert "Changed.removed is gone" in str(refused.value)
    assert not any(in_place())


def test_another_version_of_dagster_is_refused() -> None:
    other = replace(OVERRIDES[0], stock=replace(OVERRIDES[0].stock, dagster_version="1.12.0"))

    with pytest.raises(UnsupportedDagster, match=r"written for dagster 1\.12\.0.*Install dagster 1\.13\.27"):
        install((other,))


def test_the_storage_refuses_a_dagster_it_was_not_written_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg, "__version__", "1.14.0")

    with pytest.raises(UnsupportedDagster, match=r"dagster 1\.14\.0"):
        FinePartitionsSqliteStorage(str(tmp_path))


def test_what_is_decided_at_load_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg, "__version__", "1.14.0")

    with pytest.raises(UnsupportedDagster, match=r"dagster 1\.14\.0"):
        decided_at_load("loaded at", lambda: "now")


def test_switched_off_in_the_configuration_dagsters_methods_run_and_answer(tmp_path: Path) -> None:
    install()
    with instance_on(tmp_path / "off", {**OURS, "config": {"overrides": False}}) as instance:
        assert not any(in_place())

        finished = run(instance)

        assert len(finished.asset_materializations_for_node("upstream")) == len(keys())
        assert instance.get_materialized_partitions(UPSTREAM) == set(keys())


def test_making_the_storage_puts_the_overrides_in_place(ours: dg.DagsterInstance) -> None:
    assert all(in_place())
    assert isinstance(ours.event_log_storage, FinePartitionsStorage)


def test_a_run_on_another_event_log_is_stocks_with_the_overrides_in_place() -> None:
    install()
    with dg.DagsterInstance.ephemeral() as instance:
        finished = run(instance)

        events = finished.asset_materializations_for_node("upstream")
        assert {event.partition for event in events} == set(keys())
        assert instance.get_materialized_partitions(UPSTREAM) <= set(PARTITIONS.get_partition_keys())
