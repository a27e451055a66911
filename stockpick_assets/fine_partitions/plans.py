"""What runs planned to materialize: one event per run and asset, its partition keys packed in a table beside it.

For any SQL event log that has the `planned_partitions` table. What does not belong here: how a plan is written, and one
database's own ways.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from dagster import AssetKey, DagsterEventType
from dagster._check import not_none
from dagster._core.storage.event_log.base import PlannedMaterializationInfo
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, select
from sqlalchemy.dialects import sqlite

from stockpick_assets.fine_partitions.key_blocks import holds, unpack

PlannedPartitions = Table(
    "planned_partitions",
    MetaData(),
    Column("event_id", BigInteger().with_variant(sqlite.INTEGER(), "sqlite"), primary_key=True, autoincrement=False),
    Column("partition_keys", Text, nullable=False),
)

events = SqlEventLogStorageTable
planned = PlannedPartitions
MATERIALIZATION = DagsterEventType.ASSET_MATERIALIZATION
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class Plan(NamedTuple):
    """A run's planned event of an asset; `keys` are packed."""

    event_id: int
    run_id: str
    keys: str


class PackedPlans(SqlEventLogStorage):
    """The readers of an event log that has to know about packed plans."""

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        """A run's planned partitions come as one event per asset."""
        return True

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """Run id and event id of the latest plan of each partition that has no later materialization."""
        plans = self._plans(asset_key, after_storage_id or 0)
        latest: dict[str, tuple[str, int]] = {}
        if self._has_plans_of_one_partition(asset_key):
            latest.update(
                super().get_latest_asset_partition_materialization_attempts_without_materializations(
                    asset_key, after_storage_id
                )
            )
        if not plans:
            return latest
        for plan in plans:
            for key in unpack(plan.keys):
                if key not in latest or latest[key][1] < plan.event_id:
                    latest[key] = (plan.run_id, plan.event_id)
        materialized = self.get_latest_storage_id_by_partition(
            asset_key, MATERIALIZATION, after_cursor=plans[0].event_id
        )
        return {key: attempt for key, attempt in latest.items() if materialized.get(key, 0) < attempt[1]}

    def get_latest_planned_materialization_info(
        self, asset_key: AssetKey, partition: str | None = None
    ) -> PlannedMaterializationInfo | None:
        """Event id and run id of the latest plan of an asset, or of one of its partitions."""
        latest = super().get_latest_planned_materialization_info(asset_key, partition)
        if partition is None:
            return latest
        for plan in reversed(self._plans(asset_key, latest.storage_id if latest else 0)):
            if holds(plan.keys, partition):
                return PlannedMaterializationInfo(storage_id=plan.event_id, run_id=plan.run_id)
        return latest

    def get_asset_partitions_for_run(
        self, run_id: str, of_type: DagsterEventType | set[DagsterEventType] | None = None
    ) -> Mapping[AssetKey, AbstractSet[str | None]]:
        """The partitions a run planned or materialized, by asset; the run's own log has only one for many."""
        types = {of_type} if isinstance(of_type, DagsterEventType) else of_type
        partitions = {key: set(keys) for key, keys in super().get_asset_partitions_for_run(run_id, of_type).items()}
        with self.index_connection() as connection:
            if not types or MATERIALIZATION in types:
                materialized = (
                    select(events.c.asset_key, events.c.partition)
                    .where(events.c.run_id == run_id, events.c.dagster_event_type == MATERIALIZATION.value)
                    .where(events.c.asset_key.is_not(None))
                    .distinct()
                )
                for asset_key, partition in connection.execute(materialized):
                    partitions.setdefault(not_none(AssetKey.from_db_string(asset_key)), set()).add(partition)
            if not types or PLANNED in types:
                plans = select(events.c.asset_key, planned.c.partition_keys).join(
                    planned, planned.c.event_id == events.c.id
                )
                for asset_key, keys in connection.execute(plans.where(events.c.run_id == run_id)):
                    of_asset = partitions.setdefault(not_none(AssetKey.from_db_string(asset_key)), set())
                    of_asset.discard(None)
                    of_asset.update(unpack(keys))
        return partitions

    def _plans(self, asset_key: AssetKey, after_event_id: int) -> list[Plan]:
        """An asset's plans, oldest first."""
        query = (
            select(events.c.id, events.c.run_id, planned.c.partition_keys)
            .join(planned, planned.c.event_id == events.c.id)
            .where(events.c.asset_key == asset_key.to_string(), events.c.dagster_event_type == PLANNED.value)
            .where(events.c.id > after_event_id)
            .order_by(events.c.id)
        )
        query = self._add_assets_wipe_filter_to_query(query, self._get_assets_details([asset_key]), [asset_key])
        with self.index_connection() as connection:
            return [Plan(*row) for row in connection.execute(query)]

    def _has_plans_of_one_partition(self, asset_key: AssetKey) -> bool:
        """Whether a run was planned partition by partition, as stock storage does and this one never."""
        query = select(events.c.id).where(
            events.c.asset_key == asset_key.to_string(),
            events.c.dagster_event_type == PLANNED.value,
            events.c.partition.is_not(None),
        )
        with self.index_connection() as connection:
            return connection.execute(query.limit(1)).first() is not None
