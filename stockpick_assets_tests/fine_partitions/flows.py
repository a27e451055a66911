"""Assets of minutes x tickers, runs over a range of them, and what an instance answers about them afterwards."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

MINUTES = dg.TimeWindowPartitionsDefinition(
    start="2024-06-03 09:30",
    end="2024-06-03 09:33",
    fmt="%Y-%m-%d %H:%M",
    cron_schedule="* * * * *",
    timezone="America/New_York",
)
TICKERS = ["AAA", "BBB"]
PARTITIONS = dg.MultiPartitionsDefinition({"ticker": dg.StaticPartitionsDefinition(TICKERS), "minute": MINUTES})
UPSTREAM, DOWNSTREAM = dg.AssetKey("upstream"), dg.AssetKey("downstream")
FIRST, MIDDLE, LAST = "2024-06-03 09:30|AAA", "2024-06-03 09:31|AAA", "2024-06-03 09:31|BBB"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Body = Callable[[dg.AssetExecutionContext], Any]


def materialized(_context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """A body that materializes everything alike."""
    return dg.MaterializeResult(metadata={"rows": 12}, tags={"grade": "good"})


def failing(_context: dg.AssetExecutionContext) -> None:
    """A body that fails."""
    raise dg.Failure("the source did not answer")


def fails_at_first(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """A body that fails but in a run that retries another."""
    if context.run.parent_run_id is None:
        raise dg.Failure("the source did not answer")
    return materialized(context)


@cache
def definitions(upstream: Body = materialized, downstream: Body = materialized) -> dg.Definitions:
    """A job of two assets, the second after the first, one run for any range."""

    single_run = dg.BackfillPolicy.single_run()

    @dg.asset(name="upstream", partitions_def=PARTITIONS, backfill_policy=single_run, code_version="1")
    def first(context: dg.AssetExecutionContext) -> Any:
        return upstream(context)

    @dg.asset(name="downstream", partitions_def=PARTITIONS, backfill_policy=single_run, deps=[first], code_version="1")
    def second(context: dg.AssetExecutionContext) -> Any:
        return downstream(context)

    both = dg.define_asset_job("both", [first.key, second.key])
    return dg.Definitions(assets=[first, second], jobs=[both], executor=dg.in_process_executor)


@cache
def job(upstream: Body = materialized, downstream: Body = materialized) -> dg.JobDefinition:
    """The job of the `definitions`."""
    return definitions(upstream, downstream).resolve_job_def("both")


def run(
    instance: dg.DagsterInstance,
    first: str = FIRST,
    last: str = LAST,
    upstream: Body = materialized,
    downstream: Body = materialized,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """One run over the range from `first` to `last`."""
    of_range = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return job(upstream, downstream).execute_in_process(
        instance=instance, tags=dict(tags) if tags else of_range, run_config=QUIET, raise_on_error=False
    )


def job_that_fails_at_first() -> dg.JobDefinition:
    """The job of a run whose downstream `fails_at_first`, by a name that a retry can find."""
    return job(downstream=fails_at_first)


def retry(instance: dg.DagsterInstance, run_id: str) -> dg.JobExecutionResult:
    """A run of `job_that_fails_at_first` again, from its failure, over the same range."""
    return dg.execute_job(
        dg.reconstructable(job_that_fails_at_first),
        instance,
        run_config=QUIET,
        reexecution_options=dg.ReexecutionOptions.from_failure(run_id, instance),
    )


def keys(first: str = FIRST, last: str = LAST) -> list[str]:
    """The partitions of a range."""
    return [str(key) for key in PARTITIONS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))]


def statuses(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, list[str]]:
    """The partitions of an asset by status, as the asset's page shows them."""
    value = get_and_update_asset_status_cache_value(instance, asset_key, PARTITIONS)
    if value is None:
        return {}
    subsets = {
        "materialized": value.deserialize_materialized_partition_subsets(PARTITIONS),
        "failed": value.deserialize_failed_partition_subsets(PARTITIONS),
        "in progress": value.deserialize_in_progress_partition_subsets(PARTITIONS),
    }
    return {status: sorted(subset.get_partition_keys()) for status, subset in subsets.items()}


def materializations(instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition_key: str) -> list[dict[str, Any]]:
    """The materializations of one partition, newest first, without event ids: what the partition's page shows."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[partition_key]), limit=10
    )
    return [
        {
            "partition": record.partition_key,
            "run": record.run_id,
            "step": record.event_log_entry.step_key,
            "job": record.event_log_entry.job_name,
            "level": record.event_log_entry.level,
            "message": record.event_log_entry.message,
            "node": str(record.event_log_entry.get_dagster_event().node_handle),
            "metadata": record.asset_materialization.metadata,
            "tags": without_event_ids(record.asset_materialization.tags),
        }
        for record in found.records
        if record.asset_materialization is not None
    ]


def without_event_ids(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Tags of a materialization but those that name an event by its id, which two event logs number apart."""
    return {key: value for key, value in (tags or {}).items() if "input_event_pointer" not in key}


def about(instance: dg.DagsterInstance, runs: Sequence[str]) -> dict[str, Any]:
    """Everything asked of both event logs, with runs by their position in `runs`."""
    position = {run_id: number for number, run_id in enumerate(runs)}
    event_log = instance.event_log_storage
    answers: dict[str, Any] = {}
    for asset_key in (UPSTREAM, DOWNSTREAM):
        attempts = event_log.get_latest_asset_partition_materialization_attempts_without_materializations(asset_key)
        record = next(iter(instance.get_asset_records([asset_key])), None)
        details = {key: materializations(instance, asset_key, key) for key in (FIRST, MIDDLE, LAST)}
        for partition in details.values():
            for materialization in partition:
                materialization["run"] = position[materialization["run"]]
        plans = {key: instance.get_latest_planned_materialization_info(asset_key, key) for key in details}
        answers[asset_key.to_user_string()] = {
            "statuses": statuses(instance, asset_key),
            "materialized": instance.get_materialized_partitions(asset_key),
            "attempts": {key: position[run_id] for key, (run_id, _) in attempts.items()},
            "plans": {key: position[plan.run_id] for key, plan in plans.items() if plan},
            "details": details,
            "last run": position.get(record.asset_entry.last_run_id or "") if record else None,
            "has materialization": bool(record and record.asset_entry.last_materialization_record),
            "data versions": event_log.get_latest_tags_by_partition(
                asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
            ),
        }
    answers["runs"] = [
        {
            of_type.value: (
                event_log.get_asset_partitions_for_run(run_id, of_type),
                set(event_log.get_asset_keys_for_run(run_id, of_type)),
            )
            for of_type in (
                dg.DagsterEventType.ASSET_MATERIALIZATION,
                dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            )
        }
        for run_id in runs
    ]
    return answers
