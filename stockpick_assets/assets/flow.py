"""What the assets of the flow declare alike: key, partitions, group, kinds, inputs and metadata.

What does not belong here: what any one of them computes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets import __version__
from stockpick_assets.core.closings import Closing
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.schemas import DEFAULT_KINDS
from stockpick_assets.core.universe import Universe
from stockpick_assets.io_managers import EXTENT, Extent
from stockpick_assets.partitions import Selection, SelectionError, Window

PREVIEW_ROWS = 3
# A run holds all its rows: it takes 801 MB with one session of 100 tickers and 1,587 MB with five.
SESSIONS_A_RUN = 5


class Declared(TypedDict):
    """Arguments of `dg.asset` that every asset declares."""

    key: dg.AssetKey
    description: str | None
    partitions_def: dg.PartitionsDefinition
    group_name: str
    kinds: set[str]
    backfill_policy: dg.BackfillPolicy
    code_version: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Flow:
    """One source's assets: the window they are partitioned by, and the links to where they are shown.

    bar_delay: how long after its close a bar is asked for. cost_bp: stated cost of a round trip. universe: the tickers
    of each session. closings: of the exchange, beside those that its calendar knows. kinds: of models, those to fit.
    """

    source: str
    window: Window
    links: Links
    bar_delay: timedelta
    cost_bp: float
    seed: int
    universe: Universe = field(default_factory=Universe)
    closings: tuple[Closing, ...] = ()
    kinds: tuple[str, ...] = DEFAULT_KINDS

    def key(self, name: str) -> dg.AssetKey:
        """The asset's key: the source comes first, because its tables do."""
        return dg.AssetKey([self.source, name])

    def minutely(self, name: str, *, description: str | None, kinds: set[str]) -> Declared:
        """Arguments of `dg.asset` for an asset partitioned by ticker × minute; one run answers a whole range."""
        return self._declared(name, self.window.ticker_minutes, dg.BackfillPolicy.single_run(), description, kinds)

    def daily(self, name: str, *, description: str | None, kinds: set[str]) -> Declared:
        """Arguments of `dg.asset` for an asset partitioned by session; a run makes one session."""
        policy = dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
        return self._declared(name, self.window.session_partitions, policy, description, kinds)

    def _declared(
        self,
        name: str,
        partitions: dg.PartitionsDefinition,
        policy: dg.BackfillPolicy,
        description: str | None,
        kinds: set[str],
    ) -> Declared:
        return {
            "key": self.key(name),
            "description": description,
            "partitions_def": partitions,
            "group_name": self.source,
            "kinds": kinds | {"deltalake"},
            "backfill_policy": policy,
            "code_version": __version__,
            "tags": {"source": self.source},
        }

    def reads(
        self,
        name: str,
        extent: Extent = Extent.PARTITIONS,
        *,
        may_be_missing: bool = False,
        mapping: dg.PartitionMapping | None = None,
    ) -> dg.AssetIn:
        """An input: the upstream asset, and how far it is read.

        A mapping is declared where the two assets are partitioned differently; which sessions are really read is the
        extent's business, because a true session-to-minute mapping costs 8 to 45 s a run.
        """
        metadata = {EXTENT: extent.value, "may_be_missing": may_be_missing}
        return dg.AssetIn(key=self.key(name), metadata=metadata, partition_mapping=mapping)

    def selection(self, context: dg.AssetExecutionContext) -> Selection:
        """The minutes and tickers that the run answers. Raises SelectionError, of more than SESSIONS_A_RUN too."""
        asset = context.asset_key.to_user_string()
        selection = self.window.selection(context.partition_key_range, asset)
        sessions = selection.sessions
        if len(sessions) > SESSIONS_A_RUN:
            raise SelectionError(
                f"{asset} {selection}: {len(sessions)} sessions are more than the {SESSIONS_A_RUN} that a run may hold "
                f"in memory; ask for fewer, or let `stockpick backfill {sessions[0].label()} {sessions[-1].label()}` "
                "make a run of each"
            )
        return selection

    def output(
        self, rows: pa.Table, preview: Sequence[str], metadata: Mapping[str, Any] | None = None
    ) -> dg.Output[pa.Table]:
        """The rows with what a person wants to see of them: counts, the newest minute and a few rows of `preview`."""
        shown: dict[str, Any] = {"dagster/row_count": rows.num_rows, "source": self.source}
        if "ticker" in rows.column_names and rows.num_rows:
            if "minute" in rows.column_names:
                shown["newest minute"] = f"{minute_label(pc.max(rows['minute']).as_py())} New York"
            shown |= {
                "tickers": pc.count_distinct(rows["ticker"]).as_py(),
                "preview": dg.MetadataValue.md(_markdown(rows, preview)),
                "app": dg.MetadataValue.url(self.links.ticker(rows["ticker"][0].as_py())),
            }
        return dg.Output(rows, metadata={**shown, **(metadata or {})})


def _markdown(rows: pa.Table, columns: Sequence[str]) -> str:
    last = rows.select(list(columns)).slice(max(0, rows.num_rows - PREVIEW_ROWS)).to_pylist()
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(column, row[column]) for column in columns) for row in last]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column.endswith("minute"):
        return minute_label(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
