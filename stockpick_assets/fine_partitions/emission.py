"""The materializations of a range as one event: what a step tells the log when its output covers many partitions.

What does not belong here: how a storage keeps them (`sqlite_storage`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from dagster import AssetKey, DagsterEvent, DynamicOutput, MetadataValue, Output, OutputContext
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.definitions.output import OutputDefinition
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle
from dagster._core.execution.context.system import StepExecutionContext

LogAssetEvents = Callable[..., Iterable[DagsterEvent]]


class RangeEventLog(ABC):
    """An event log that can keep one materialization for many partitions."""

    @abstractmethod
    def materializing(
        self, run_id: str, asset_key: AssetKey, partition_key: str, partition_keys: Sequence[str]
    ) -> AbstractContextManager[None]:
        """While entered, a stored materialization of `partition_key` by that run stands for all of `partition_keys`.

        They are equal but for partition key and dimension tags. `partition_key` is the last of `partition_keys`.
        """


class _PartOfOutput:
    """An output context that answers for some of its partitions only."""

    def __init__(self, output_context: OutputContext, partition_keys: Sequence[str]) -> None:
        self._output_context = output_context
        self.asset_partition_keys = partition_keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output_context, name)


def emit_range(stock: LogAssetEvents) -> LogAssetEvents:
    """Stands for `execute_step._log_materialization_or_observation_events_for_asset`.

    Stock makes and stores an event per partition: 0.16 ms of Python and, on stock SQLite, 20 ms of writing each. Here
    stock makes the event of the range's last partition and of those with metadata of their own, and the event log
    writes the others beside it. So a step's event stream has one materialization for all partitions that are alike.
    """

    @wraps(stock)
    def log_events(
        step_context: StepExecutionContext,
        output_context: OutputContext,
        output: Output[Any] | DynamicOutput[Any],
        output_def: OutputDefinition,
        manager_metadata: Mapping[str, MetadataValue],
    ) -> Iterable[DagsterEvent]:
        event_log = step_context.instance.event_log_storage
        if (
            not isinstance(event_log, RangeEventLog)
            or not output_context.has_asset_key
            or not output_context.has_asset_partitions
            or not _materializes(step_context)
        ):
            yield from stock(step_context, output_context, output, output_def, manager_metadata)
            return
        apart = _partitions_with_own_metadata(step_context, output_context.asset_key)
        alike = sorted(key for key in output_context.asset_partition_keys if key not in apart)
        if len(alike) < 2:
            yield from stock(step_context, output_context, output, output_def, manager_metadata)
            return
        kept_apart = sorted(key for key in output_context.asset_partition_keys if key in apart)
        part = _PartOfOutput(output_context, [*kept_apart, alike[-1]])
        with event_log.materializing(step_context.run_id, output_context.asset_key, alike[-1], alike):
            yield from stock(step_context, part, output, output_def, manager_metadata)

    return log_events


def _materializes(step_context: StepExecutionContext) -> bool:
    assets = step_context.job_def.asset_layer.get_assets_def_for_node(step_context.node_handle)
    return assets is not None and assets.execution_type == AssetExecutionType.MATERIALIZATION


def _partitions_with_own_metadata(step_context: StepExecutionContext, asset_key: AssetKey) -> set[str]:
    return {
        handle.partition_key
        for handle in step_context._metadata_accumulator.per_output_metadata
        if isinstance(handle, AssetMetadataHandle) and handle.asset_key == asset_key and handle.partition_key
    }
