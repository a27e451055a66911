"""What Dagster's pages take with 195,000 materialized partitions an asset, and what the browser shows of them.

A webserver of the bench's own serves the product's definitions of a simulated market, on an instance whose partitions
are filled by runs that compute nothing. A browser opens the pages; what it asks of GraphQL is asked again, one question
at a time: with nothing cached (cold), after a session more, and as it is (warm, the median of five). Each figure is
given in seconds and in seconds of the webserver's processor (`_cpu_s`), which change less on a busy machine. The same
questions are put to a webserver that differs by `overrides: false`. The last line printed is one JSON object.

    .venv/bin/python bench/ui_pages.py --screenshot docs/images/dagster-partitions.png
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import psutil
from common import SECONDS_TO_ANSWER, ask, event_log, report
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from playwright.sync_api import Request as Asked
from trivial_flow import flow_of, materialize, simulated, trivial_flow

from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.jobs import FLOW
from stockpick_assets.services.dagster import answer
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings

COUNTS, MATRIX, DETAIL = "AssetGraphLiveQuery", "PartitionHealthQuery", "AssetPartitionDetailQuery"
RUN_ASSETS, BACKFILL = "RunAssetsQuery", "BackfillDetailsQuery"
SHOWN = "picks"
WARM = 5
VIEWPORT: ViewportSize = {"width": 1400, "height": 900}
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
LAUNCH = """mutation($backfill: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $backfill) {
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""

Question = dict[str, Any]


def configure(home: Path, overrides: bool) -> None:
    """Write the `dagster.yaml` of a home."""
    storage = event_log(home / "events", overrides=overrides)
    instance = {"event_log_storage": storage, "telemetry": {"enabled": False}, "nux": {"enabled": False}}
    (home / "dagster.yaml").write_text(json.dumps(instance), encoding="utf-8")


@dataclass(frozen=True)
class Webserver:
    """A webserver that is up."""

    address: str
    process: psutil.Process

    def answering(self, name: str, questions: Sequence[Question], times: int = 1) -> dict[str, float]:
        """Seconds, and seconds of the webserver's processor, until all are answered; the median of `times`."""
        walls, processors = [], []
        for _ in range(times):
            start, spent = time.perf_counter(), self._processor_seconds()
            for question in questions:
                ask(self.address, question)
            walls.append(time.perf_counter() - start)
            processors.append(self._processor_seconds() - spent)
        return {f"{name}_s": statistics.median(walls), f"{name}_cpu_s": statistics.median(processors)}

    def _processor_seconds(self) -> float:
        spent = self.process.cpu_times()
        return spent.user + spent.system


@contextmanager
def webserver(home: Path, settings: Settings) -> Iterator[Webserver]:
    """A webserver of the home's instance and the product's definitions, with a code server below it."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-W", "ignore", "-m", "dagster_webserver", "-m", "stockpick_assets.definitions"]
    environment = os.environ | settings.environment() | {"DAGSTER_HOME": str(home)}
    with (home / "webserver.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        while answer(f"{address}/server_info") is None:
            if process.poll() is not None:
                raise SystemExit(f"the webserver ended: {(home / 'webserver.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield Webserver(address, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(60)


def operation(asked: Asked) -> str | None:
    """The name of the GraphQL operation of a browser's request."""
    body = asked.post_data_json if asked.method == "POST" and "/graphql" in asked.url else None
    return body.get("operationName") if isinstance(body, dict) else None


class Visitor:
    """Opens pages of a webserver, each in a fresh profile of the browser."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.address = address

    @contextmanager
    def page(self, path: str, last: str) -> Iterator[tuple[Page, dict[str, Question]]]:
        """The page when its `last` operation is answered, and what it asked by then, by operation."""
        context = self.browser.new_context(viewport=VIEWPORT)
        page = context.new_page()
        page.set_default_timeout(1e3 * SECONDS_TO_ANSWER)
        asked: dict[str, Question] = {}

        def note(request: Asked) -> None:
            if name := operation(request):
                asked[name] = request.post_data_json or {}

        page.on("request", note)
        with page.expect_request_finished(lambda request: operation(request) == last):
            page.goto(self.address + path)
        yield page, asked
        context.close()

    def questions(self, path: str, last: str) -> dict[str, Question]:
        """What a page asks until its `last` operation is answered, by operation."""
        with self.page(path, last) as (_, asked):
            return dict(asked)

    def seconds_to_counts(self, path: str, partitions: int, picture: Path | None = None) -> float:
        """From navigation until the counts of the partitions page are shown, of which a picture is taken."""
        start = time.perf_counter()
        with self.page(path, MATRIX) as (page, _):
            expect(page.get_by_text(f"Materialized ({partitions})")).to_be_visible(timeout=1e3 * SECONDS_TO_ANSWER)
            shown = time.perf_counter() - start
            if picture is not None:
                expect(page.get_by_text("View all historical events (1)")).to_be_visible()
                page.wait_for_load_state("networkidle")
                page.screenshot(path=picture)
        return shown


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, else the one that playwright installed."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=next(filter(None, found), None), args=list(QUIET))
        yield browser
        browser.close()


def measure(home: Path, settings: Settings, picture: Path | None) -> dict[str, float]:
    """Every figure, of a home that is filled here."""
    flow = flow_of(settings)
    definitions, window, shown = trivial_flow(settings), flow.window, flow.key(SHOWN)
    *earlier, newest = (window.select(session.open, session.last_minute) for session in window.sessions)
    partitions = sum(selection.size for selection in (*earlier, newest))
    figures: dict[str, float] = {"assets": len(FLOW), "partitions_per_asset": partitions}
    configure(home, overrides=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:

        def forget_statuses() -> None:
            for name in FLOW:
                instance.wipe_asset_cached_status([flow.key(name)])

        for selection in earlier:
            materialize(definitions, instance, selection)
        of_asset = f"/assets/{'/'.join(shown.path)}?view=partitions"
        shown_key = f"{minute_label(newest.last)}|{window.tickers[0]}"
        of_partition = f"{of_asset}&partition={quote(shown_key, safe='')}"
        with webserver(home, settings) as ours, chromium() as browser:
            visitor = Visitor(browser, ours.address)
            asset = visitor.questions(of_asset, MATRIX)
            counts, matrix = [asset[COUNTS]], [asset[MATRIX]]
            ours.answering("counts", counts)
            start = time.perf_counter()
            run_id = materialize(definitions, instance, newest)
            figures["run_of_newest_session_s"] = time.perf_counter() - start
            figures |= ours.answering("counts_after_session", counts)
            figures |= ours.answering("counts_warm", counts, WARM)
            figures |= ours.answering("matrix_warm", matrix, WARM)
            forget_statuses()
            figures |= ours.answering("counts_cold", counts)
            forget_statuses()
            figures |= ours.answering("matrix_cold", matrix)
            forget_statuses()
            figures["browser_to_counts_cold_s"] = visitor.seconds_to_counts(of_partition, partitions)
            figures["browser_to_counts_warm_s"] = visitor.seconds_to_counts(of_partition, partitions, picture)
            detail = visitor.questions(of_partition, DETAIL)
            figures |= ours.answering("partition_detail", [detail[DETAIL]], WARM)
            graph = visitor.questions("/asset-groups", COUNTS)
            figures |= ours.answering("asset_graph_warm", [graph[COUNTS]], WARM)
            forget_statuses()
            figures |= ours.answering("asset_graph_cold", [graph[COUNTS]])
            of_run = visitor.questions(f"/runs/{run_id}", RUN_ASSETS)
            figures |= ours.answering("run_page", list(of_run.values()), WARM)
            names = window.ticker_minutes.get_partition_keys_in_range(newest.keys)
            selected = {"assetSelection": [{"path": flow.key(name).path} for name in FLOW], "partitionNames": names}
            start = time.perf_counter()
            asked = ask(ours.address, {"query": LAUNCH, "variables": {"backfill": selected}})
            figures["backfill_mutation_s"] = time.perf_counter() - start
            backfill = asked["launchPartitionBackfill"]["backfillId"]
            of_backfill = visitor.questions(f"/runs/b/{backfill}", BACKFILL)
            figures |= ours.answering("backfill_page", list(of_backfill.values()), WARM)
        configure(home, overrides=False)
        with webserver(home, settings) as without:
            for name, questions in (("counts", counts), ("matrix", matrix)):
                forget_statuses()
                figures |= without.answering(f"without_overrides_{name}_cold", questions)
                figures |= without.answering(f"without_overrides_{name}_warm", questions, WARM)
    for name in ("counts_cold", "matrix_cold", "matrix_warm"):
        figures[f"{name}_times_faster"] = figures[f"without_overrides_{name}_cpu_s"] / figures[f"{name}_cpu_s"]
    return figures


def main() -> None:
    """Measure, and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=100, help="tickers (100)")
    parser.add_argument("--sessions", type=int, default=5, help="sessions, at least 2 (5)")
    parser.add_argument("--screenshot", type=Path, metavar="PNG", help="where to keep a picture of the partitions page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(measure(Path(folder), simulated(arguments.tickers, arguments.sessions), arguments.screenshot))


if __name__ == "__main__":
    main()
