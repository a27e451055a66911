"""What Dagster needs to carry runs of tens of thousands of partitions per asset; knows nothing of what is in them.

Named in `dagster.yaml` as the event log storage, so that the webserver, the daemon, the code server and every run
have it:

    event_log_storage:
      module: stockpick_assets.fine_partitions
      class: FinePartitionsSqliteStorage
      config: {base_dir: {env: EVENT_LOG_DIR}, overrides: true}

`sqlite_storage` is the storage, and `postgres_storage`, imported by itself as it needs dagster-postgres, the one for
Postgres. `overrides` has the methods of Dagster that are replaced beside it and is the one place that installs them;
`retention` forgets partitions and runs. `docs/fine-partitions.md` says what each is for. What does not belong here:
assets, partitions definitions, anything of the product.
"""

from stockpick_assets.fine_partitions.overrides import UnsupportedDagster, install, remove
from stockpick_assets.fine_partitions.sqlite_storage import FinePartitionsSqliteStorage

__all__ = ["FinePartitionsSqliteStorage", "UnsupportedDagster", "install", "remove"]
