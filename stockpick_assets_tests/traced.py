"""Tables made by hand in which a message can be traced, as two runs would have written them: RUN, which made the
message of AAPL at MINUTE, and FIT, which fitted its model before the session.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.schemas import ALERTS, FACTORS, FEATURE_ROWS, PICKS, PREDICTIONS, TRAINING_SET, TableSchema
from stockpick_assets.lineage import Step
from stockpick_assets.store import Store
from stockpick_assets_tests.models import models
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import FETCHED_AT, SESSION, bars

RUN = "5f0c2c5e-9d0b-4b0e-8a35-0a3f6f6c1b1e"
FIT = "f17f17f1-0000-4000-8000-000000000001"
MINUTES = 6
MINUTE = minute(MINUTES - 1)
MESSAGE = "simulated/2026-11-20T14:35:00Z/AAPL"
PRODUCED_AT = FETCHED_AT + timedelta(seconds=3)
REVISED_AT = FETCHED_AT + timedelta(hours=1)
MODEL = f"2026-11-20-linear-{FIT[:8]}"
FOLDER = f"models/2026-11-20/{MODEL}/linear"
TRAINED_ON = [date(2026, 11, 18), date(2026, 11, 19)]


def fill(store: Store, ticker: str = "AAPL", **said: Any) -> None:
    """The tables up to picks, and then a revised bar of the ticker. said: columns of its pick."""
    tickers = (ticker, *TICKERS[1:])
    daily = {"run_id": FIT, "partition_start": "2026-11-20", "partition_end": "2026-11-20"}
    store.append("raw_prices", bars(MINUTES, tickers=tickers), metadata(RUN))
    store.append("training_set", _rows(TRAINING_SET, [{"session": day} for day in TRAINED_ON]), {})
    fitted = {"version": MODEL, "training_sessions": TRAINED_ON, "seed": 7, "rows": 2, "path": FOLDER}
    read = {"tables": json.dumps({"training_set": 1, "predictions": 0}), "fitted_at": FETCHED_AT}
    model = pa.Table.from_pylist(
        [{**models([SESSION.date], ("linear",)).to_pylist()[0], **fitted, **read}], schema=models([]).schema
    )
    store.append("return_model", model, daily)
    for name in ("metadata/part-0", "stages/part-1"):
        file = Path(store.uri(FOLDER)) / name
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    factors = [{"session": SESSION.date, "ticker": one, "sessions": 2, "drift": 0.5} for one in tickers]
    store.append("factors", _rows(FACTORS, factors), daily)
    store.append("features", features(1.0, tickers), metadata(RUN, raw_prices=1, factors=1))
    store.append("predictions", predictions(0.25, tickers), metadata(RUN, features=1))
    store.append("picks", sent(1, ticker, **said), metadata(RUN, predictions=1, raw_prices=1))
    store.append("raw_prices", revised(ticker), metadata("sweep"))


def metadata(run_id: str, **read: int) -> dict[str, str]:
    """Of a commit of all the minutes and tickers by that run, which read these versions."""
    start, end = (f"{minute_label(at)}|{name}" for at, name in ((minute(0), ""), (MINUTE, "~")))
    return {"run_id": run_id, "partition_start": start, "partition_end": end, "tables": json.dumps(read)}


def revised(ticker: str = "AAPL") -> pa.Table:
    """The bar of minute 3 as it was fetched when the message had gone out."""
    return bars(1, start=3, tickers=(ticker,), close=200.0, fetched_at=REVISED_AT)


def features(e1: float, tickers: Sequence[str] = TICKERS) -> pa.Table:
    """Rows of MINUTE with the feature e1, made from bars fetched at FETCHED_AT."""
    rows = [{**_key(ticker), "e1": e1, "bars_fetched_at": FETCHED_AT} for ticker in tickers]
    return _rows(FEATURE_ROWS, rows)


def predictions(score: float, tickers: Sequence[str] = TICKERS) -> pa.Table:
    """Rows of MINUTE with the score, by MODEL."""
    return _rows(PREDICTIONS, [{**_key(ticker), "score": score, "model_version": MODEL} for ticker in tickers])


def sent(
    version: int,
    ticker: str = "AAPL",
    *,
    run_id: str = RUN,
    produced_at: datetime = PRODUCED_AT,
    tables: Mapping[str, int] | None = None,
    **said: Any,
) -> pa.Table:
    """A pick of MINUTE that goes out, with that version of its message. said: its columns."""
    (row,) = table([pick(MINUTE, ticker, 1, model_version=MODEL, **said)]).to_pylist()
    message = {
        **json.loads(row["message"]),
        "version": version,
        "supersedes": version - 1 or None,
        "produced_at": produced_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "tables": tables or {"raw_prices": 1, "predictions": 1},
        "run_id": run_id,
    }
    return _rows(PICKS, [{**row, "message_version": version, "message": json.dumps(message)}])


def unsent(ticker: str = "AAPL", **said: Any) -> pa.Table:
    """A pick of MINUTE that was made again and does not go out."""
    (row,) = table([pick(MINUTE, ticker, 2, **said)]).to_pylist()
    return _rows(PICKS, [{**row, "published": False, "message_version": None, "message": None}])


def alerted(**values: Any) -> pa.Table:
    """An alert of the message, raised a second after that. values: of its columns, in place of others."""
    alert = {
        **_key("AAPL"),
        "id": f"{MESSAGE}/new_best",
        "rule": "new_best",
        "text": "SIMULATED: AAPL is the new best pick",
        "status": "sent",
        "created_at": PRODUCED_AT + timedelta(seconds=1),
    }
    return _rows(ALERTS, [{**alert, **values}])


def steps(step: Step) -> Iterator[Step]:
    """The step and all that it came from, as they are printed."""
    yield step
    for before in step.came_from:
        yield from steps(before)


def _key(ticker: str) -> dict[str, Any]:
    return {"session": SESSION.date, "minute": MINUTE, "ticker": ticker, "source": "simulated"}


def _rows(schema: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"source": "simulated", **row} for row in rows], schema=schema.columns)
