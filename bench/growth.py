"""How time grows from 10 to 100 tickers and from 39 to 390 minutes: runs of nine sizes.

What is measured is Dagster's part: a run of the flow's five assets that compute nothing, on this event log in SQLite,
and the counts of an asset's page with nothing cached; each is the median of three, on an empty instance each. With
`--flow` it is the flow itself, one run a size, from simulated bars to scores, on the Spark of the home that the
settings name and with tables in a folder; the session before was answered and a model trained, which is not counted.

An exponent is the slope of the logarithm of time over that of partitions: 1 is linear. What a run takes whatever its
size lowers that over all sizes, so that of the largest step is beside it: to 100 tickers of 390 minutes from 30 tickers
or from 130 minutes, whichever is more. A table is printed, then one JSON object as last line.

    .venv/bin/python bench/growth.py --picture docs/images/growth.svg
    STOCKPICK_HOME=.stockpick .venv/bin/python bench/growth.py --flow
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from common import event_log, report
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from trivial_flow import flow_of, materialize, simulated, trivial_flow

from stockpick_assets.backfill import Step, plan, run
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.definitions import build_definitions
from stockpick_assets.jobs import BACKFILL, FLOW
from stockpick_assets.partitions import Selection, Window
from stockpick_assets.resources.now import wall_clock

TICKERS = (10, 30, 100)
MINUTES = (39, 130, 390)
REPETITIONS = 3


@dataclass(frozen=True)
class Size:
    """Runs of one size: seconds one took, and where they were asked for, seconds of the counts of one of its assets."""

    tickers: int
    minutes: int
    run_s: float
    counts_s: float | None = None

    @property
    def partitions(self) -> int:
        """Of one asset."""
        return self.tickers * self.minutes


@contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    """An empty instance on this event log."""
    with tempfile.TemporaryDirectory() as folder:
        storage = event_log(Path(folder) / "events")
        with dg.DagsterInstance.local_temp(folder, overrides={"event_log_storage": storage}) as fresh:
            yield fresh


def seconds(work: Callable[[], object]) -> float:
    """Wall time of `work`."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def of_session(window: Window, minutes: int) -> Selection:
    """The first minutes of the window's last session, for all its tickers."""
    first = window.sessions[-1].open
    return window.select(first, first + (minutes - 1) * MINUTE)


def recording(tickers: int) -> Iterator[Size]:
    """Runs that compute nothing, each on an empty instance, and the counts of an asset."""
    settings = simulated(tickers, 1)
    flow = flow_of(settings)
    definitions, key = trivial_flow(settings), flow.key(FLOW[0])
    for minutes in MINUTES:
        selection = of_session(flow.window, minutes)
        runs, counts = [], []
        for _ in range(REPETITIONS):
            with instance() as fresh:
                runs.append(
                    seconds(lambda fresh=fresh, selection=selection: materialize(definitions, fresh, selection))
                )
                counts.append(
                    seconds(
                        lambda fresh=fresh: get_and_update_asset_status_cache_value(
                            fresh, key, flow.window.ticker_minutes
                        )
                    )
                )
        yield Size(tickers, minutes, statistics.median(runs), statistics.median(counts))


def flow_itself(tickers: int) -> Iterator[Size]:
    """Runs of the product's flow over the last session, after the session before was answered and learnt from."""
    with tempfile.TemporaryDirectory() as tables, instance() as fresh:
        settings = simulated(tickers, 2).model_copy(update={"store_root": tables})
        os.environ.update(settings.environment())
        flow, definitions = flow_of(settings), build_definitions(settings, wall_clock())
        window = flow.window
        for step in plan(window, window.sessions[:1], (), wall_clock(), flow.bar_delay):
            run(definitions, fresh, step, lambda _: None)
        for minutes in MINUTES:
            step = Step(BACKFILL, f"{minutes} minutes", FLOW, selection=of_session(window, minutes))
            yield Size(tickers, minutes, seconds(lambda step=step: run(definitions, fresh, step, lambda _: None)))


def exponent(sizes: Sequence[Size], figure: Callable[[Size], float]) -> float:
    """The slope of log time over log partitions."""
    logs = [(math.log(size.partitions), math.log(figure(size))) for size in sizes]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def exponent_of_largest_step(sizes: Sequence[Size], figure: Callable[[Size], float]) -> float:
    """The slope from the next smaller in tickers, or in minutes, to the largest size, whichever is more."""
    of_size = {(size.tickers, size.minutes): size for size in sizes}
    largest = of_size[TICKERS[-1], MINUTES[-1]]
    smaller = (of_size[TICKERS[-2], MINUTES[-1]], of_size[TICKERS[-1], MINUTES[-2]])
    return max(exponent([size, largest], figure) for size in smaller)


def table(sizes: Sequence[Size]) -> str:
    """The figures as lines of text."""
    lines = ["tickers minutes partitions   run s  ms a partition  counts s"]
    for size in sizes:
        a_partition = 1e3 * size.run_s / size.partitions / len(FLOW)
        counts = "" if size.counts_s is None else f"{size.counts_s:9.2f}"
        partitions = len(FLOW) * size.partitions
        lines.append(
            f"{size.tickers:7} {size.minutes:7} {partitions:10} {size.run_s:7.2f} {a_partition:15.3f} {counts}"
        )
    return "\n".join(lines) + "\n"


def picture(sizes: Sequence[Size]) -> str:
    """An SVG of the seconds over the partitions, both logarithmic, beside a line of linear growth from the largest."""
    width, height, left, bottom, margin = 640, 400, 64, 56, 36
    partitions = [len(FLOW) * size.partitions for size in sizes]
    x0, x1 = math.floor(math.log10(min(partitions))), math.ceil(math.log10(max(partitions)))
    times = [size.run_s for size in sizes]
    y0, y1 = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def x(value: float) -> float:
        return left + (math.log10(value) - x0) / (x1 - x0) * (width - left - margin)

    def y(value: float) -> float:
        return height - bottom - (math.log10(value) - y0) / (y1 - y0) * (height - bottom - margin)

    def text(value: str, across: float, down: float, anchor: str, colour: str = "black") -> str:
        return f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}">{value}</text>'

    most, longest = max(zip(partitions, times, strict=True))
    fewest = max(min(partitions), 10**y0 * most / longest)
    shapes = [
        f'<line x1="{x(fewest):.1f}" y1="{y(longest * fewest / most):.1f}" x2="{x(most):.1f}" y2="{y(longest):.1f}" '
        'stroke="#888" stroke-dasharray="4 4"/>'
    ]
    shapes += [text(f"{10**power:,}", x(10**power), height - bottom + 18, "middle") for power in range(x0, x1 + 1)]
    for second in (10.0**power for power in range(y0, y1 + 1)):
        shapes.append(f'<path d="M{left} {y(second):.1f}H{width - margin}" stroke="#ddd"/>')
        shapes.append(text(f"{second:g} s", left - 8, y(second) + 4, "end"))
    for number, (tickers, colour) in enumerate(zip(TICKERS, ("#4f43dd", "#d97706", "#0f9d58"), strict=True)):
        points = [(x(len(FLOW) * size.partitions), y(size.run_s)) for size in sizes if size.tickers == tickers]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{colour}"/>' for across, down in points]
        shapes.append(text(f"{tickers} tickers", left + 12, margin + 18 + 16 * number, "start", colour))
    shapes.append(text("partitions of five assets: 39, 130 and 390 minutes", (left + width) / 2, height - 14, "middle"))
    shapes.append(text("dashed: linear", width - margin, height - bottom - 10, "end", "#888"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>{"".join(shapes)}</svg>\n'
    )


def main() -> None:
    """Measure every size; print the table and the exponents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", action="store_true", help="the flow itself, on the services of the settings' home")
    parser.add_argument("--picture", type=Path, metavar="SVG", help="where to draw the seconds over the partitions")
    arguments = parser.parse_args()
    measure = flow_itself if arguments.flow else recording
    sizes = [size for tickers in TICKERS for size in measure(tickers)]
    sys.stdout.write(table(sizes))
    most_minutes = [size for size in sizes if size.minutes == max(MINUTES)]
    most_tickers = [size for size in sizes if size.tickers == max(TICKERS)]
    figures: dict[str, float] = {
        "run_exponent": exponent(sizes, lambda size: size.run_s),
        "run_exponent_of_largest_step": exponent_of_largest_step(sizes, lambda size: size.run_s),
        f"run_exponent_over_tickers_of_{max(MINUTES)}_minutes": exponent(most_minutes, lambda size: size.run_s),
        f"run_exponent_over_minutes_of_{max(TICKERS)}_tickers": exponent(most_tickers, lambda size: size.run_s),
    }
    if not arguments.flow:
        figures["counts_exponent"] = exponent(sizes, lambda size: size.counts_s or math.nan)
        figures["counts_exponent_of_largest_step"] = exponent_of_largest_step(
            sizes, lambda size: size.counts_s or math.nan
        )
    for size in sizes:
        figures[f"run_of_{size.tickers}_tickers_{size.minutes}_minutes_s"] = size.run_s
        if size.counts_s is not None:
            figures[f"counts_of_{size.tickers}_tickers_{size.minutes}_minutes_s"] = size.counts_s
    if arguments.picture:
        arguments.picture.write_text(picture(sizes), encoding="utf-8")
    report(figures)


if __name__ == "__main__":
    main()
