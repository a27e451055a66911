"""`stockpick evaluate`: how forecasts would have done, session by session, on the bars of a file or of the tables."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stockpick_assets.walk_forward import Walked

DRAWN = (".svg", ".png", ".html")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--sessions", type=click.IntRange(1), help="The newest so many sessions alone.")
@click.option(
    "--fit-after", type=click.IntRange(1), default=1, show_default=True, help="Sessions that the first fit learns from."
)
@click.option("--picture", "drawing", type=click.Path(path_type=Path), help="Draw the figures: .svg, .png or .html.")
@click.option("--forecasts", type=click.Path(path_type=Path), help="Write every forecast as Parquet.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def evaluate(
    file: Path | None,
    sessions: int | None,
    fit_after: int,
    drawing: Path | None,
    forecasts: Path | None,
    as_json: bool,
) -> None:
    """Measure forecasts of each session of FILE, or of the tables, by models of the sessions before it.

    FILE is Parquet with the columns ticker, timestamp, open, high, low, close and volume. All is computed by the
    functions that the assets use, and nothing is written to the tables. --forecasts has the columns ticker, timestamp
    (start of the forecast minute), score and p_profit.
    """
    from stockpick_assets.cli.connected import connected
    from stockpick_assets.cli.evaluation import Evaluation
    from stockpick_assets.cli.market import market, newest, terms
    from stockpick_assets.cli.picture import picture
    from stockpick_assets.cli.progress import progress_bar
    from stockpick_assets.core.errors import StockpickError
    from stockpick_assets.settings import Settings
    from stockpick_assets.walk_forward import Walk

    if drawing is not None and drawing.suffix not in DRAWN:
        raise StockpickError(f"{drawing}: name a picture that ends with one of {', '.join(DRAWN)}")
    for written in (drawing, forecasts):
        if written is not None and not written.absolute().parent.is_dir():
            raise StockpickError(f"{written}: there is no folder {written.absolute().parent} to write it into")
    settings = Settings.load()
    found = newest(market(settings, file), sessions)
    evaluation = Evaluation(found, settings.cost_bp)
    with (
        connected(settings, lambda line: click.echo(line, err=True)) as spark,
        progress_bar(err=True) as progress,
        _written(forecasts) as write,
    ):
        bar = progress.add_task("", total=len(found.sessions))
        for walked in Walk(spark, found, terms(settings, fit_after)).sessions():
            evaluation.add(walked)
            write(walked)
            progress.console.print(evaluation.progress(walked))
            progress.update(bar, description=walked.session.label(), advance=1)
    click.echo(json.dumps(evaluation.as_json(), indent=2, default=str) if as_json else evaluation.as_text())
    if drawing is not None:
        picture(evaluation.title, **evaluation.figures()).save(str(drawing))


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[["Walked"], None]]:
    """What appends a session's forecasts to the Parquet file; nothing where none is asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from stockpick_assets.core.schemas import PREDICTIONS

    if path is None:
        yield lambda walked: None
        return
    names = {"ticker": "ticker", "minute": "timestamp", "score": "score", "p_profit": "p_profit"}
    schema = pa.schema([PREDICTIONS.columns.field(name).with_name(told) for name, told in names.items()])
    with pq.ParquetWriter(path, schema) as writer:

        def write(walked: "Walked") -> None:
            made = walked.predictions.filter(pc.is_valid(walked.predictions["score"]))
            writer.write_table(made.select(list(names)).rename_columns(list(names.values())).cast(schema))

        yield write
