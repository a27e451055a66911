"""Dagster's ledger of materialized partitions, compared with the tables and restored from them.

The tables are the truth: Dagster's home can be lost or made anew, and then knows of no partition though every row is
there. What does not belong here: the comparison itself (core/ledger.py), and how an event log keeps ranges.
"""

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.partitions.utils.multi import get_tags_from_multi_partition_key
from dagster._core.instance.utils import RUNLESS_RUN_ID

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.due import DAILY
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.ledger import DELIMITER, Block, Comparison, compare
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.schemas import UNIVERSE
from stockpick_assets.fine_partitions.emission import RangeEventLog
from stockpick_assets.jobs import FLOW
from stockpick_assets.partitions import MINUTE_DIMENSION, TICKER
from stockpick_assets.store import Store, TableMissing

ASSETS = (*FLOW, UNIVERSE.name, *DAILY)


@dataclass(frozen=True)
class Ledger:
    """What an instance of Dagster knows of the partitions of one source's window, beside what the tables hold."""

    flow: Flow
    store: Store
    instance: dg.DagsterInstance

    def compare(self, asset: str) -> Comparison:
        """Compare the two accounts of an asset; partitions outside the window are in neither. Raises StoreError."""
        rows = self._partitions_of_rows(asset).get_partition_keys()
        tickers = set(self.flow.window.tickers) if asset in FLOW else {""}
        within = set(rows)

        def in_window(key: str) -> bool:
            row, _, ticker = key.partition(DELIMITER)
            return row in within and ticker in tickers

        known = self.instance.get_materialized_partitions(self.flow.key(asset))
        return compare(set(filter(in_window, self._held(asset))), set(filter(in_window, known)), rows)

    def restore(self, asset: str, block: Block) -> None:
        """Tell Dagster that the block's partitions are materialized: one event, without a run, for all of them.

        Raises StockpickError when Dagster keeps its events in a log that takes no ranges, and StoreError.
        """
        event_log = self.instance.event_log_storage
        if not isinstance(event_log, RangeEventLog):
            raise StockpickError(
                f"Dagster's event log is {type(event_log).__name__}, which takes 20 ms for each partition; name "
                "stockpick_assets.fine_partitions in dagster.yaml, as docs/fine-partitions.md says"
            )
        key, partitions = self.flow.key(asset), block.keys
        last, tags = partitions[-1], None
        if block.tickers:
            last = dg.MultiPartitionKey({MINUTE_DIMENSION: block.rows[-1], TICKER: block.tickers[-1]})
            tags = get_tags_from_multi_partition_key(last)
        restored = dg.AssetMaterialization(
            key,
            description=f"Restored from {self.store.uri(asset)}, which holds these partitions.",
            metadata={"table": self.store.uri(asset), "table version": self.store.version(asset)},
            partition=last,
            tags=tags,
        )
        with event_log.materializing(RUNLESS_RUN_ID, key, last, partitions):
            self.instance.report_runless_asset_event(restored)

    def _partitions_of_rows(self, asset: str) -> dg.PartitionsDefinition:
        return self.flow.window.minutes if asset in FLOW else self.flow.window.session_partitions

    def _held(self, asset: str) -> set[str]:
        window = self.flow.window
        try:
            if asset not in FLOW:
                return {session.isoformat() for session in self.store.contents(asset).files}
            rows = self.store.read(
                asset,
                from_session=window.sessions[0].date,
                to_session=window.sessions[-1].date,
                columns=["minute", "ticker"],
            )
        except TableMissing:
            return set()
        held: set[str] = set()
        for minute in rows.group_by("minute").aggregate([("ticker", "list")]).to_pylist():
            label = minute_label(minute["minute"])
            held.update(f"{label}{DELIMITER}{ticker}" for ticker in minute["ticker_list"])
        return held
