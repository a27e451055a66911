"""The methods of Dagster this package stands for: a table, its check against the installed Dagster, and the switch.

`install` puts the overrides in place for the whole process and `remove` takes them out again; the storage calls one
of them when it is made, as its `overrides` setting says. What does not belong here: what an override does.
"""

import inspect
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster
from dagster import MultiPartitionsDefinition, TimeWindowPartitionsDefinition
from dagster._core.definitions import automation_tick_evaluation_context
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset
from dagster._core.execution.plan import execute_step
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from stockpick_assets.fine_partitions.emission import emit_range
from stockpick_assets.fine_partitions.key_parts import matrix_by_parts, valid_parts
from stockpick_assets.fine_partitions.keys import expand_once, last_of_each, list_between, list_once
from stockpick_assets.fine_partitions.rectangles import ranges_as_rectangles
from stockpick_assets.fine_partitions.stretches import runs_of_stretches

DAGSTER_VERSION = "1.13.27"


class UnsupportedDagster(Exception):
    """The installed Dagster is not the one the overrides were written for."""


@dataclass(frozen=True)
class StockMethod:
    """A method of Dagster as the overrides were written for it; `signature` has no annotations."""

    owner: Any
    name: str
    signature: str
    dagster_version: str = DAGSTER_VERSION

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    def mismatch(self) -> str | None:
        """What differs in the installed Dagster, or None."""
        method = getattr(self.owner, self.name, None)
        if method is None:
            return f"{self} is gone"
        found = signature_of(method)
        return None if found == self.signature else f"{self}{self.signature} is now {self.name}{found}"


@dataclass(frozen=True)
class Override:
    """A stock method and what makes its replacement from it."""

    stock: StockMethod
    replacement: Callable[[Callable[..., Any]], Callable[..., Any]]


OVERRIDES: tuple[Override, ...] = (
    Override(
        StockMethod(DefaultPartitionsSubset, "get_partition_key_ranges", "(self, partitions_def)"),
        ranges_as_rectangles,
    ),
    Override(
        StockMethod(
            MultiPartitionsDefinition,
            "get_partition_keys_in_range",
            "(self, partition_key_range, dynamic_partitions_store=None)",
        ),
        expand_once,
    ),
    Override(
        StockMethod(
            MultiPartitionsDefinition, "get_partition_keys", "(self, current_time=None, dynamic_partitions_store=None)"
        ),
        list_once,
    ),
    Override(StockMethod(MultiPartitionsDefinition, "get_last_partition_key", "(self)"), last_of_each),
    Override(
        StockMethod(MultiPartitionsDefinition, "filter_valid_partition_keys", "(self, partition_keys)"),
        valid_parts,
    ),
    Override(
        StockMethod(TimeWindowPartitionsDefinition, "filter_valid_partition_keys", "(self, partition_keys)"),
        list_between,
    ),
    Override(
        StockMethod(
            automation_tick_evaluation_context,
            "_build_run_requests_with_backfill_policy",
            "(asset_keys, asset_check_keys, backfill_policy, partition_keys, partitions_def, tags,"
            " dynamic_partitions_store)",
        ),
        runs_of_stretches,
    ),
    Override(
        StockMethod(
            execute_step,
            "_log_materialization_or_observation_events_for_asset",
            "(step_context, output_context, output, output_def, manager_metadata)",
        ),
        emit_range,
    ),
)

# What they call that is Dagster's own.
CALLED_METHODS: tuple[StockMethod, ...] = (
    StockMethod(
        TimeWindowPartitionsDefinition, "_iterate_time_windows", "(self, start_timestamp, ignore_exclusions=False)"
    ),
)

GRAPHQL_ASSETS = "dagster_graphql.implementation.fetch_assets"


def of_webserver() -> tuple[Override, ...]:
    """Those of Dagster's GraphQL, in a process that has imported it: a run does not, and need not have it installed."""
    fetch_assets = sys.modules.get(GRAPHQL_ASSETS)
    if fetch_assets is None:
        return ()
    signature = "(subsets, partitions_def, dynamic_partitions_store, build_secondary_dim)"
    return (Override(StockMethod(fetch_assets, "build_multi_partition_ranges_generic", signature), matrix_by_parts),)


# What a storage overrides by being a subclass, and the private methods it calls: checked, whatever the switch says.
# Those of one database are beside its storage.
SQL_METHODS: tuple[StockMethod, ...] = (
    StockMethod(SqlEventLogStorage, "store_event_batch", "(self, events)"),
    StockMethod(SqlEventLogStorage, "delete_events", "(self, run_id)"),
    StockMethod(SqlEventLogStorage, "wipe", "(self)"),
    StockMethod(SqlEventLogStorage, "wipe_asset_partitions", "(self, asset_key, partition_keys)"),
    StockMethod(SqlEventLogStorage, "get_asset_partitions_for_run", "(self, run_id, of_type=None)"),
    StockMethod(SqlEventLogStorage, "get_latest_planned_materialization_info", "(self, asset_key, partition=None)"),
    StockMethod(
        SqlEventLogStorage,
        "get_latest_asset_partition_materialization_attempts_without_materializations",
        "(self, asset_key, after_storage_id=None)",
    ),
    StockMethod(SqlEventLogStorage, "get_asset_tags_to_index", "(self, tag_keys)"),
    StockMethod(SqlEventLogStorage, "free_concurrency_slots_for_run", "(self, run_id)"),
    StockMethod(SqlEventLogStorage, "_get_event_records", "(self, event_records_filter, limit=None, ascending=False)"),
    StockMethod(SqlEventLogStorage, "_event_to_row", "(self, event)"),
    StockMethod(SqlEventLogStorage, "_store_asset_event", "(self, conn, event, event_id)"),
    StockMethod(SqlEventLogStorage, "_store_asset_event_tags", "(self, conn, events, event_ids)"),
    StockMethod(SqlEventLogStorage, "_tags_for_asset_event", "(self, event)"),
    StockMethod(SqlEventLogStorage, "_get_assets_details", "(self, asset_keys)"),
    StockMethod(SqlEventLogStorage, "_add_assets_wipe_filter_to_query", "(self, query, assets_details, asset_keys)"),
)

_lock = threading.Lock()
_replaced: dict[StockMethod, Callable[..., Any] | None] = {}


def signature_of(method: Callable[..., Any]) -> str:
    """Parameter names, kinds and defaults of `method`, without annotations."""
    signature = inspect.signature(method)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def check(methods: tuple[StockMethod, ...]) -> None:
    """Raise `UnsupportedDagster` naming every one of `methods` that is not as it was in its Dagster version."""
    mismatches = [
        f"{method} was written for dagster {method.dagster_version}"
        for method in methods
        if method.dagster_version != dagster.__version__
    ][:1] + [mismatch for method in methods if (mismatch := method.mismatch()) is not None]
    if mismatches:
        raise UnsupportedDagster(
            f"fine_partitions cannot stand for methods of dagster {dagster.__version__}: {'; '.join(mismatches)}."
            f" Install dagster {DAGSTER_VERSION}, or use Dagster's own event log storage in dagster.yaml."
        )


def install(overrides: tuple[Override, ...] | None = None) -> None:
    """Put overrides in place for this process: those of them that are not yet.

    Args:
        overrides: by default `OVERRIDES`, and `of_webserver()` of what has been imported by now.

    Raises:
        UnsupportedDagster: the installed Dagster's version or one of the methods differs. Nothing is replaced then.
    """
    with _lock:
        wanted = (*OVERRIDES, *of_webserver()) if overrides is None else overrides
        missing = [override for override in wanted if override.stock not in _replaced]
        check(tuple(override.stock for override in missing) + CALLED_METHODS)
        for override in missing:
            owner, name = override.stock.owner, override.stock.name
            _replaced[override.stock] = vars(owner).get(name)
            setattr(owner, name, override.replacement(getattr(owner, name)))


def remove() -> None:
    """Put Dagster's own methods back in this process; does nothing if they are."""
    with _lock:
        while _replaced:
            stock, own = _replaced.popitem()
            if own is None:
                delattr(stock.owner, stock.name)
            else:
                setattr(stock.owner, stock.name, own)
