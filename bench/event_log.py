"""What a run over a range of partitions costs on Dagster's own event log and on this one, measured side by side.

Both are measured in this process, one after the other, on assets of minutes x tickers that compute nothing: stock with
few partitions, as it takes 13 to 20 ms each. With `--flow` they have the names, inputs and metadata of the real ones.
Postgres is a server of the benchmark's own. The last line printed is one JSON object.

    .venv/bin/python bench/event_log.py --assets 5 --storage postgres
    .venv/bin/python bench/event_log.py --flow
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from common import event_log, report
from sqlalchemy import create_engine, text

from stockpick_assets.assets.flow import Flow
from stockpick_assets.backfill import QUIET
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import session_on
from stockpick_assets.fine_partitions import install, remove
from stockpick_assets.partitions import Window
from stockpick_assets_tests.fine_partitions.postgres import cluster, new_database

MINUTES = dg.TimeWindowPartitionsDefinition(
    start="2024-06-03 09:30",
    end="2024-06-08 00:00",
    fmt="%Y-%m-%d %H:%M",
    cron_schedule="* 9-16 * * 1-5",
    timezone="America/New_York",
    exclusions=["0-29 9 * * 1-5", "* 16 * * 1-5"],
)

Config = dict[str, Any]


@dataclass(frozen=True)
class Asset:
    """An asset that computes nothing: its key, the keys of its inputs, and what a run of so many rows says of it."""

    key: dg.AssetKey
    inputs: Sequence[dg.AssetKey]
    metadata: Callable[[int], Mapping[str, Any]]


def trivial(number: int) -> list[Asset]:
    """That many assets in a chain, with one figure of metadata."""
    keys = [dg.AssetKey(f"asset_{each}") for each in range(number)]
    return [Asset(key, keys[max(0, each - 1) : each], lambda rows: {"rows": rows}) for each, key in enumerate(keys)]


# Of each asset of the flow: inputs, columns of the preview, and metadata of its own.
FLOW: dict[str, tuple[Sequence[str], Sequence[str], Mapping[str, Any]]] = {
    "raw_prices": ((), ("close", "volume", "reason"), {"reason present": 39_000, "new versions": 39_000}),
    "features": (("raw_prices",), ("e1", "n_cmid"), {}),
    "predictions": (
        ("features",),
        ("score", "p_profit", "abstain"),
        {"models": "2026-11-18-eeac515f", "forecasts": 39_000},
    ),
    "picks": (("predictions", "raw_prices"), ("rank", "p_profit", "abstain"), {}),
    "scores": (("picks", "raw_prices"), ("obtainable_return", "profitable", "ungraded"), {"graded": 39_000}),
}


def flow() -> list[Asset]:
    """The partitioned assets of stockpick's flow, with what `Flow.output` and the IO manager say of a run's rows."""
    session = session_on(date(2024, 6, 3))
    shared = Flow(
        source="simulated",
        window=Window((session,), ("T000",)),
        links=Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated"),
        bar_delay=timedelta(seconds=2),
        cost_bp=2.0,
        seed=7,
    )

    def asset(name: str) -> Asset:
        inputs, figures, own = FLOW[name]

        def metadata(rows: int) -> Mapping[str, Any]:
            minute = pa.scalar(session.last_minute, pa.timestamp("us", "UTC"))
            table = pa.table(
                {"ticker": pa.repeat("T000", rows), "minute": pa.repeat(minute, rows)}
                | {figure: pa.repeat(-0.0321456, rows) for figure in figures}
            )
            said = shared.output(table, ("ticker", "minute", *figures), own).metadata
            return {**said, "table": f"s3://stockpick/simulated/{name}", "table version": 12}

        return Asset(shared.key(name), [shared.key(each) for each in inputs], metadata)

    return [asset(name) for name in FLOW]


@dataclass(frozen=True)
class Measured:
    """One run: partitions over all its assets, wall seconds, seconds of those in the event log, bytes it added."""

    partitions: int
    seconds: float
    storage_seconds: float
    disk_bytes: int

    def of_each(self) -> dict[str, float]:
        """The figures per partition."""
        return {
            "total_ms_per_partition": round(1e3 * self.seconds / self.partitions, 4),
            "storage_ms_per_partition": round(1e3 * self.storage_seconds / self.partitions, 4),
            "disk_kb_per_partition": round(self.disk_bytes / 1e3 / self.partitions, 3),
        }


@dataclass(frozen=True)
class Databases:
    """Where the event logs of one kind of database are: what `dagster.yaml` says of each, and how large it is now."""

    ours: Config
    stock: Config
    bytes_of: Callable[[Config], int]


@contextmanager
def sqlite_below(folder: Path) -> Iterator[Databases]:
    """SQLite files in folders of `folder`."""

    def bytes_of(config: Config) -> int:
        return sum(path.stat().st_size for path in Path(config["config"]["base_dir"]).glob("*"))

    yield Databases(
        ours=event_log(folder / "ours"),
        stock={
            "module": "dagster._core.storage.event_log",
            "class": "SqliteEventLogStorage",
            "config": {"base_dir": str(folder / "stock")},
        },
        bytes_of=bytes_of,
    )


@contextmanager
def postgres_below(_folder: Path) -> Iterator[Databases]:
    """Two databases of a server that synchronises its writes, as one that is in use does."""

    def bytes_of(config: Config) -> int:
        engine = create_engine(config["config"]["postgres_url"])
        with engine.connect() as connection:
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        engine.dispose()
        return size

    with cluster(synchronised=True) as address:
        yield Databases(
            ours={
                "module": "stockpick_assets.fine_partitions.postgres_storage",
                "class": "FinePartitionsPostgresStorage",
                "config": {"postgres_url": new_database(address)},
            },
            stock={
                "module": "dagster_postgres.event_log",
                "class": "PostgresEventLogStorage",
                "config": {"postgres_url": new_database(address)},
            },
            bytes_of=bytes_of,
        )


def definitions(tickers: Sequence[str], assets: Sequence[Asset]) -> dg.JobDefinition:
    """A job of the assets, each with a partition per minute and ticker."""
    partitions = dg.MultiPartitionsDefinition({"ticker": dg.StaticPartitionsDefinition(tickers), "minute": MINUTES})

    def definition(asset: Asset) -> dg.AssetsDefinition:
        @dg.asset(
            key=asset.key,
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            deps=asset.inputs,
            code_version="0.1.0",
        )
        def computes_nothing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult(metadata=asset.metadata(len(context.partition_keys)))

        return computes_nothing

    job = dg.define_asset_job("job", [asset.key for asset in assets])
    defined = dg.Definitions(
        assets=[definition(asset) for asset in assets], jobs=[job], executor=dg.in_process_executor
    )
    return defined.resolve_job_def("job")


def measure(
    databases: Databases, config: Config, tickers: Sequence[str], minutes: int, assets: Sequence[Asset]
) -> Measured:
    """Run the first `minutes` of the window for all `tickers` on the event log of that configuration."""
    keys = MINUTES.get_partition_keys()[:minutes]
    job = definitions(tickers, assets)
    with (
        tempfile.TemporaryDirectory() as home,
        dg.DagsterInstance.local_temp(home, overrides={"event_log_storage": config}) as instance,
    ):
        storage = instance.event_log_storage
        spent = 0.0

        def timed(method: Callable[[Any], None]) -> Callable[[Any], None]:
            def call(stored: Any) -> None:
                nonlocal spent
                start = time.perf_counter()
                method(stored)
                spent += time.perf_counter() - start

            return call

        storage.store_event = timed(storage.store_event)  # pyright: ignore[reportAttributeAccessIssue]
        before = databases.bytes_of(config)
        start = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            run_config=QUIET,
            tags={
                "dagster/asset_partition_range_start": f"{keys[0]}|{tickers[0]}",
                "dagster/asset_partition_range_end": f"{keys[-1]}|{tickers[-1]}",
            },
        )
        seconds = time.perf_counter() - start
        for asset in assets:
            materialized = instance.get_materialized_partitions(asset.key)
            if len(materialized) != minutes * len(tickers):
                name = asset.key.to_user_string()
                raise SystemExit(f"{name} has {len(materialized)} materialized partitions, not all: {result}")
        storage.dispose()
        grown = databases.bytes_of(config) - before
    return Measured(minutes * len(tickers) * len(assets), seconds, spent, grown)


STORAGES = {"sqlite": sqlite_below, "postgres": postgres_below}


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite", help="the database (sqlite)")
    parser.add_argument("--assets", type=int, default=3, help="assets in the run (3)")
    parser.add_argument("--flow", action="store_true", help="the five assets of stockpick's flow, with their metadata")
    parser.add_argument("--tickers", type=int, default=100, help="tickers (100)")
    parser.add_argument("--minutes", type=int, default=390, help="minutes of the range, at most 1950 (390: a session)")
    parser.add_argument("--stock-minutes", type=int, default=3, help="minutes of stock's range, of one asset (3)")
    arguments = parser.parse_args()
    tickers = [f"T{number:03d}" for number in range(arguments.tickers)]
    assets = flow() if arguments.flow else trivial(arguments.assets)
    with tempfile.TemporaryDirectory() as folder, STORAGES[arguments.storage](Path(folder)) as databases:
        install()
        ours = measure(databases, databases.ours, tickers, arguments.minutes, assets)
        remove()
        stock = measure(databases, databases.stock, tickers, arguments.stock_minutes, assets[:1])
    figures: dict[str, Any] = {
        "storage": arguments.storage,
        "partitions_per_asset": arguments.minutes * arguments.tickers,
        "assets": len(assets),
        "metadata": "of the flow" if arguments.flow else "one figure",
        "run_s": round(ours.seconds, 2),
    }
    for name, measured in (("ours", ours), ("stock", stock)):
        figures |= {f"{name}_{figure}": value for figure, value in measured.of_each().items()}
    figures["stock_partitions"] = stock.partitions
    figures["times_faster"] = round(stock.seconds / stock.partitions / (ours.seconds / ours.partitions))
    report(figures, digits=4)


if __name__ == "__main__":
    main()
