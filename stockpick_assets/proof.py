"""The proof against look-ahead: what came after a minute is changed, and nothing at or before it may differ.

Of a session some minutes are chosen. For each, what came after it is changed, the session is made again through the
same steps, and every value at or before the minute is compared. Then models are fitted to labels that were shuffled
among the tickers of each minute, and must find nothing. What belongs here: what is changed and compared. What does not:
the steps (walk_forward.py), or how it is shown (cli/prove.py).

Of a bar that was answered live it is known when. One that was backfilled is dated BACKFILL_LAG after its close, and of
its revisions before that nothing is known: of those the proof says only that nothing dated later was used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.bars import PRICES
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.evaluation import mean, minute_ics
from stockpick_assets.core.feature_set import FEATURES, MEASURES
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.market_hours import MINUTE, Session, minute_label
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS, PREDICTIONS, TIMESTAMP
from stockpick_assets.spark.features import READ
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import FITTED
from stockpick_assets.walk_forward import Completed, Market, Walk, Walked

TOLERANCE = 1e-12
REMOVED, PERTURBED, REVISED = "bars after it removed", "bars after it perturbed", "every bar revised later"
KEPT, SHUFFLED, TRUE = "training set", "shuffled label", "true label"
OUTCOMES = ("neutral_forward", "label", "obtainable_return", "close_return")
SHUFFLES = 5
# Standard errors of the mean rank IC with a shuffled label, whose minutes are independent: 1 in 16,000 is further away.
MOST_ERRORS = 4.0
# The same of the rank IC with the true label, by Student's t with SHUFFLES - 1 degrees of freedom: 1 in 1,000. What a
# model learnt from noise is some mixture of the features, and these do forecast: one mixture by itself may well be
# several errors of a session away from 0, to either side.
MOST_T = 8.61


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    tried: what was changed. minute: after which; None where it was no minute's. compared: how many values. leak:
    whether something later was used; None where it could not be tried. found: in words.
    """

    tried: str
    minute: datetime | None
    compared: int
    leak: bool | None
    found: str


def checks(walk: Walk, session: Session, past: Sequence[Completed], minutes: int, seed: int) -> Iterator[Check]:
    """Each check of the session, as it is done.

    past: what the sessions before it left, ascending (`history`). minutes: how many are chosen. seed: of their choice,
    the changes and the shuffles. Raises StockpickError where the session has too few minutes with bars.
    """
    random = np.random.default_rng(seed)
    walk = replace(walk, steps=replace(walk.steps, fit=_once(walk.steps.fit)))
    made_of = _once(walk.made_of)

    def forecast(versions: pa.Table, as_of: datetime = session.close + BACKFILL_LAG) -> Walked:
        return made_of(walk.steps.bars_known(versions, as_of), session, past)

    def flow(*given: Any) -> dict[str, pa.Table]:
        return _tables(walk, past, forecast(*given))

    versions = walk.market.versions(session)
    chosen = chosen_minutes(versions, minutes, random)
    made = forecast(versions)
    yield _same_features(made)
    tables = _tables(walk, past, made)
    for minute in chosen:
        yield _unchanged(REMOVED, minute, tables, flow(removed(versions, minute)))
        # By then the minute's bars are known, should all of them have been backfilled.
        as_of = minute + MINUTE + BACKFILL_LAG
        before, after = (flow(bars, as_of) for bars in (versions, revised(versions, as_of, random)))
        yield _unchanged(REVISED, minute, before, after)
        yield _unchanged(PERTURBED, minute, tables, flow(perturbed(versions, minute, random)))
    yield from _shuffled(walk, made, past, random)


def history(walk: Walk, session: Session) -> Iterator[Completed]:
    """What the market's sessions before this one leave to it, each as it is done."""
    past: list[Completed] = []
    for one in walk.market.sessions:
        if one < session:
            past.append(walk.graded(walk.forecast(one, walk.market.versions(one), past), past).completed())
            yield past[-1]


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, which for the tables that it was last given answers as it did then: what it makes follows from them."""
    last: tuple[tuple[Any, ...], Any] | None = None

    def made(*given: Any) -> Any:
        nonlocal last
        if last is None or last[0] != given:
            last = given, make(*given)
        return last[1]

    return made


def chosen_minutes(versions: pa.Table, count: int, random: np.random.Generator) -> list[datetime]:
    """Different minutes that have bars, ascending: none of their first quarter or of the last ten.

    Raises StockpickError where there are fewer.
    """
    minutes, among = _minutes(versions)
    if len(among) < count:
        raise StockpickError(
            f"{len(minutes)} minutes of this session have a bar: too few to choose {count} with enough before and "
            "after; prove another session"
        )
    return sorted(random.choice(np.array(among, object), count, replace=False))


def newest_provable(market: Market, count: int) -> Session:
    """The newest session of the market of which so many minutes can be chosen; its newest where there is none."""
    long_enough = (one for one in reversed(market.sessions) if len(_minutes(market.versions(one))[1]) >= count)
    return next(long_enough, market.sessions[-1])


def _minutes(versions: pa.Table) -> tuple[list[Any], list[Any]]:
    """The minutes that have bars, and those of them with enough before and after."""
    minutes = sorted(set[Any](versions.filter(pc.is_valid(versions["close"]))["minute"].to_pylist()))
    return minutes, minutes[len(minutes) // 4 : -10]


def removed(versions: pa.Table, minute: datetime) -> pa.Table:
    """The rows without those later than the minute."""
    return versions.filter(pc.less_equal(versions["minute"], pa.scalar(minute, TIMESTAMP)))


def perturbed(versions: pa.Table, minute: datetime, random: np.random.Generator) -> pa.Table:
    """The rows with other prices, by 1 % or so, and other volumes in those later than the minute."""
    later = pc.greater(versions["minute"], pa.scalar(minute, TIMESTAMP)).to_numpy()
    return _scaled(versions, random, later)


def revised(versions: pa.Table, as_of: datetime, random: np.random.Generator) -> pa.Table:
    """The rows with another version of each, fetched later than all of them and known later than `as_of`."""
    fetched = max(as_of, pc.max(versions["fetched_at"]).as_py()) + MINUTE
    newer = _scaled(versions, random, np.ones(versions.num_rows, bool))
    for column, at in (("fetched_at", fetched), ("known_at", as_of + MINUTE)):
        newer = _with(newer, column, pa.array([at] * newer.num_rows, TIMESTAMP))
    return pa.concat_tables([versions, newer])


def _scaled(bars: pa.Table, random: np.random.Generator, chosen: NDArray[np.bool_]) -> pa.Table:
    price, volume = (np.where(chosen, np.exp(random.normal(0, size, bars.num_rows)), 1.0) for size in (0.01, 1.0))
    for name in PRICES:
        bars = _with(bars, name, pc.multiply(bars[name], pa.array(price)))
    return _with(bars, "volume", pc.multiply(bars["volume"], pa.array(volume)))


def _with(rows: pa.Table, name: str, values: Any) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)


def _unchanged(tried: str, minute: datetime, before: dict[str, pa.Table], after: dict[str, pa.Table]) -> Check:
    """Whether all that was made at or before the minute is the same in both; the first that is not is named."""
    compared = 0
    for name in before:
        count, difference = _compared(name, *(_until(made[name], minute) for made in (before, after)))
        compared += count
        if difference:
            return Check(tried, minute, compared, True, difference)
    return Check(tried, minute, compared, False, f"equal to {TOLERANCE:g}")


def _until(table: pa.Table, minute: datetime) -> pa.Table:
    return removed(table, minute) if "minute" in table.column_names else table


def _tables(walk: Walk, past: Sequence[Completed], walked: Walked) -> dict[str, pa.Table]:
    """What was made of the session, in the order of the flow.

    Of the whole of it, and never of the bars up to a minute: what looks ahead would find nothing there.
    """
    session, tickers, cost_bp, steps = walked.session, walk.market.tickers, walk.terms.cost_bp, walk.steps
    bars = pa.concat_tables([*(one.bars for one in past[-1:]), walked.bars])
    span = (session, session.open, session.last_minute)
    return {
        "factors": walked.factors,
        "features": walked.features,
        "indicators": steps.indicators(frame(walk.spark, walked.bars.select(READ)), session.open).toArrow(),
        "predictions": walked.predictions,
        "picks": steps.picks(walked.predictions, bars, *span, tickers, tickers, cost_bp),
    }


def _same_features(made: Walked) -> Check:
    """Whether what a model is fitted to has the features that forecasts are made of, and no others."""
    names = [*FEATURE_ROWS.key, *(column.name for column in (*MEASURES, *FEATURES))]
    kept = made.training.select(names)
    keys = list(FEATURE_ROWS.key)
    of_them = kept.select(keys).join(made.features.select(names), keys, join_type="left outer")
    compared, difference = _compared("training_set", of_them, kept)
    return Check(KEPT, None, compared, difference is not None, difference or "its features are those of the forecasts")


def _compared(name: str, before: pa.Table, after: pa.Table) -> tuple[int, str | None]:
    """How many values were compared, and the first difference by minute, ticker and column, if there is one."""
    key = [column for column in ("session", "minute", "ticker") if column in before.column_names]
    order: Any = [(column, "ascending") for column in key]
    before, after = before.sort_by(order), after.sort_by(order)
    if before.select(key).to_pydict() != after.select(key).to_pydict():
        return 0, f"{name}: {before.num_rows:,} rows became {after.num_rows:,}, of other minutes or tickers"
    columns = [column for column in before.column_names if column not in (*key, BARS_FETCHED_AT)]
    differs = {column: _differs(before[column], after[column]) for column in columns}
    count = before.num_rows * len(columns)
    changed = sum(int(column.sum()) for column in differs.values())
    if not changed:
        return count, None
    row = min(int(np.argmax(where)) for where in differs.values() if where.any())
    column = next(name for name in columns if differs[name][row])
    place = before.slice(row, 1).to_pylist()[0]
    when = minute_label(place["minute"]) if "minute" in place else str(place["session"])
    values = " became ".join(_text(table[column][row].as_py()) for table in (before, after))
    return count, f"{name} {when} {place['ticker']} {column}: {values}; {changed:,} of {count:,} values differ"


def _text(value: Any) -> str:
    return "other numbers" if isinstance(value, list) else str(value)


def _differs(before: Any, after: Any) -> NDArray[np.bool_]:
    """By row, whether the values differ: numbers by more than TOLERANCE, or one is null and the other is not."""
    if pa.types.is_floating(before.type):
        first, second = before.to_numpy(), after.to_numpy()
        return ~((np.isnan(first) & np.isnan(second)) | (np.abs(first - second) <= TOLERANCE))
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    if pa.types.is_list(before.type):
        return np.array([_lists_differ(*pair) for pair in pairs], bool)
    return np.array([first != second for first, second in pairs], bool)


def _lists_differ(first: list[float] | None, second: list[float] | None) -> bool:
    if first is None or second is None or len(first) != len(second):
        return first is not second
    both = (np.array(values, float) for values in (first, second))
    return not np.allclose(*both, rtol=0, atol=TOLERANCE, equal_nan=True)


def _shuffled(walk: Walk, made: Walked, past: Sequence[Completed], random: np.random.Generator) -> Iterator[Check]:
    """Whether models that had only noise to learn from know anything of the session that they had not seen."""
    grid = Grid(made.session, walk.market.tickers)
    truth = grid.matrix(made.training, "label")
    with_noise: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in FITTED}
    with_truth: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in FITTED}
    for _ in range(SHUFFLES):
        own = replace(made.completed(), training=shuffled(made.training, random))
        others = [replace(one, training=shuffled(one.training, random)) for one in past]
        models = walk.models(made.session, [*others, own])
        if models is None:
            yield Check(SHUFFLED, None, 0, None, "there is no earlier session to fit a model to")
            return
        # Of the training set's rows, label and all: a model that kept the label among its features shows it here.
        scores = rows(walk.steps.predict(models, frame(walk.spark, own.training)), PREDICTIONS)
        noise = grid.matrix(own.training, "label")
        for kind in FITTED:
            score = grid.matrix(scores, f"score_{kind}")
            if not np.isnan(score).all():
                with_noise[kind].append(minute_ics(score, noise))
                with_truth[kind].append(minute_ics(score, truth))
    values = made.training.num_rows * SHUFFLES
    for kind in FITTED:
        if with_noise[kind]:
            yield _noise(f"{SHUFFLED}, {kind}", np.concatenate(with_noise[kind]), MOST_ERRORS, values)
            by_shuffle = np.array([mean(ics) for ics in with_truth[kind]], float)
            yield _noise(f"{TRUE}, {kind}", by_shuffle, MOST_T, values)


def shuffled(training: pa.Table, random: np.random.Generator) -> pa.Table:
    """TRAINING_SET rows, with what they turned out to be worth dealt out anew among the tickers of each minute."""
    _, minute = np.unique(training["minute"].to_numpy(), return_inverse=True)
    order, dealt = np.argsort(minute, kind="stable"), np.lexsort((random.random(len(minute)), minute))
    source = np.empty(len(minute), np.int64)
    source[order] = dealt
    for name in OUTCOMES:
        training = _with(training, name, training[name].take(pa.array(source, pa.int64())))
    return training


def _noise(tried: str, ics: NDArray[np.float64], most: float, values: int) -> Check:
    """Whether the mean of rank ICs, NaN where there was nothing to compare, is within `most` standard errors of 0."""
    ics = ics[~np.isnan(ics)]
    if len(ics) < 2:
        return Check(tried, None, values, None, "no two minutes have different outcomes to compare")
    middle, error = float(ics.mean()), float(ics.std(ddof=1) / np.sqrt(len(ics)))
    return Check(
        tried,
        None,
        values,
        abs(middle) > most * error,
        f"rank IC {middle:+.4f}, standard error {error:.4f} (at most {most:g})",
    )
