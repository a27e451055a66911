"""Versions: which answer becomes a new version of a minute, what a new version touches, and which pick stays.

Bars are revised for days, and minutes are answered that were not. Nothing that is stored is rewritten for it. What does
not belong here: reading or committing the versions, and when a source is asked again (due.py).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stockpick_assets.core.corrections import corrects, horizon_end
from stockpick_assets.core.due import DueMinutes
from stockpick_assets.core.messages import FIRST_VERSION, correction
from stockpick_assets.core.quality import FINAL
from stockpick_assets.core.reasons import Reason
from stockpick_assets.core.schemas import BARS_FETCHED_AT, OF_MESSAGE, PICKS, RAW_PRICES, TIMESTAMP
from stockpick_assets.core.splits import in_stored_shares

Integers = NDArray[np.int64]

# An answer that is the same in all of these is no new version of the bar.
BAR = ("open", "high", "low", "close", "volume", "split", "reason")
# Two picks of a minute that are alike in these are the same pick.
_PICK = tuple(name for name in PICKS.columns.names if name not in OF_MESSAGE)


def known(versions: pa.Table, as_of: datetime) -> pa.Table:
    """The newest version of each bar that was known at market time `as_of`, in key order.

    versions: RAW_PRICES, every version.
    """
    return _newest_until(versions, "known_at", as_of)


def fetched_until(versions: pa.Table, until: datetime | None) -> pa.Table:
    """The same of those that had been fetched at the wall time `until`; none where that is None."""
    return _newest_until(versions, "fetched_at", until)


def _newest_until(versions: pa.Table, column: str, until: datetime | None) -> pa.Table:
    in_time: Any = pc.less_equal(versions[column], pa.scalar(until, TIMESTAMP))  # pyright: ignore[reportUnknownMemberType]
    by_age: Any = [(name, "ascending") for name in (*RAW_PRICES.key, "fetched_at")]
    return last_of_each(versions.filter(in_time).sort_by(by_age), RAW_PRICES.key)  # pyright: ignore[reportUnknownMemberType]


def last_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """The last row of each run of equal keys, in a table sorted by them."""
    if not rows.num_rows:
        return rows
    end = rows.num_rows - 1
    earlier, later = rows.slice(0, end), rows.slice(1)
    changes: Any = reduce(pc.or_, (pc.not_equal(earlier[column], later[column]) for column in key))  # pyright: ignore[reportUnknownMemberType]
    return pa.concat_tables([earlier.filter(changes), rows.slice(end)])


def new_versions(answered: pa.Table, stored: pa.Table, market: datetime, wall: datetime) -> pa.Table:
    """The rows of an answer that are to be kept beside the newest ones stored; both RAW_PRICES.

    A bar that differs is a new version. A row without a bar never replaces one with a bar: a source that leaves out or
    spoils what it has shown tells nothing about that minute. A reason that is not final never replaces one that is.
    The same bar in shares of after a split is the same bar.

    A volume that was withheld stays so while the answer repeats it: of an older session a source may not say any more
    how much was traded in all.

    market, wall: market and wall time at which it is kept. They date a version that replaces another, so that the
    newest is the one that was committed last.
    """
    answered = in_stored_shares(answered, stored)
    newest = dict(zip(_rows(stored, RAW_PRICES.key), _rows(stored, (*BAR, "detail")), strict=True))
    answers = zip(_rows(answered, RAW_PRICES.key), _rows(answered, BAR), strict=True)
    kept = [_replaces(bar, newest.get(key)) for key, bar in answers]
    rows = answered.filter(pa.array(kept, pa.bool_()))
    replacing = [key in newest for key in _rows(rows, RAW_PRICES.key)]
    for column, now in (("known_at", market), ("fetched_at", wall)):
        first = rows[column].to_pylist()
        rows = _with(rows, column, [now if later else at for later, at in zip(replacing, first, strict=True)])
    return rows


def _replaces(bar: tuple[Any, ...], stored: tuple[Any, ...] | None) -> bool:
    if stored is None:
        return True
    *before, detail = stored
    if before[-1] == Reason.PRESENT:
        return bar[-1] == Reason.PRESENT and list(bar) != before and not _only_repeats(bar, before, detail)
    return list(bar) != before and (bar[-1] in FINAL or before[-1] not in FINAL)


def _only_repeats(bar: tuple[Any, ...], before: list[Any], detail: str | None) -> bool:
    """Whether the bar differs from the stored one in nothing but the volume that was withheld of that."""
    place, volume = BAR.index("volume"), bar[BAR.index("volume")]
    told = volume is not None and (detail or "").endswith(f": volume {volume:g}")  # as answers.py has it
    return told and [*bar[:place], None, *bar[place + 1 :]] == before


def stamped(rows: pa.Table, bars: pa.Table) -> pa.Table:
    """`rows` with the column `bars_fetched_at` at their end: when the newest of the bars behind each was fetched.

    rows: of one or more sessions, with columns session and minute. bars: the newest RAW_PRICES (session, minute,
    reason, fetched_at) of these sessions up to the rows' last minute. Behind a row are the session's bars of every
    ticker up to its minute: features compare all tickers and look back to the open. A minute without a bar is behind
    none.
    """
    bars = bars.filter(pa.array([reason == Reason.PRESENT for reason in bars["reason"].to_pylist()], pa.bool_()))
    minutes, fetched = _fetched(bars)
    place = np.searchsorted(minutes, _integers(rows, "minute"), side="right") - 1
    column: Any = pa.array(np.append(fetched, 0)[place], mask=place < 0).cast(TIMESTAMP)
    return rows.append_column(BARS_FETCHED_AT, column)


def affected_minutes(bars: pa.Table, made: pa.Table) -> DueMinutes | None:
    """The minutes of a session that were made from bars that have a newer version since; None where there are none.

    bars: the newest RAW_PRICES (session, minute, reason, fetched_at). made: rows made from them (session, minute,
    bars_fetched_at). What a revision touches goes from its minute to the last one made: features look back to the open.
    """
    used = made.group_by(["session", "minute"]).aggregate([(BARS_FETCHED_AT, "min")])
    now = stamped(used, bars)
    stamps = list(_rows(now, ("minute", f"{BARS_FETCHED_AT}_min", BARS_FETCHED_AT)))
    touched = [minute for minute, before, newest in stamps if newest and (before is None or newest > before)]
    return DueMinutes(min(touched), max(minute for minute, *_ in stamps)) if touched else None


def _fetched(bars: pa.Table) -> tuple[Integers, Integers]:
    """The minutes that have bars, ascending, and when the newest of its session's bars up to each was fetched."""
    minutes, rows, places = np.unique(_integers(bars, "minute"), return_index=True, return_inverse=True)
    fetched = np.zeros(len(minutes), np.int64)
    np.maximum.at(fetched, places, _integers(bars, "fetched_at"))
    sessions = bars["session"].to_numpy()[rows]
    for session in np.unique(sessions):
        of_session = sessions == session
        fetched[of_session] = np.maximum.accumulate(fetched[of_session])
    return minutes, fetched


def picks_kept(made: pa.Table, stored: pa.Table) -> pa.Table:
    """What picks holds of the partitions of `made` once it is committed; both PICKS.

    stored: every version there is of these partitions. A pick that was made while its forecast's horizon was open is
    what went out: it stays the published one, and what is made later stands beside it where it differs from the newest.
    Any other is replaced. What is made later has a message, of the next version, where the horizon is still open and
    it corrects what was said last (corrections.py).
    """
    keys = list(_rows(stored, PICKS.key))
    went_out = {
        key
        for key, published, made_at in zip(keys, *_columns(stored, "published", "made_at"), strict=True)
        if published and made_at < horizon_end(key[0])
    }
    if not went_out:
        return made
    newest = _last_of_each_pick(stored, "made_at", _PICK)
    said = _last_of_each_pick(stored, "message_version", ("message_version", "price", "rank"))

    def message_version(key: tuple[Any, ...], made_at: datetime, price: float | None, rank: int | None) -> int | None:
        if key not in went_out:
            return FIRST_VERSION
        version, *what = said[key]
        return version + 1 if made_at < horizon_end(key[0]) and corrects(price, rank, *what) else None

    made_keys = list(_rows(made, PICKS.key))
    differs = [
        key not in went_out or pick != newest[key] for key, pick in zip(made_keys, _rows(made, _PICK), strict=True)
    ]
    versions = list(map(message_version, made_keys, *_columns(made, "made_at", "price", "rank")))
    new = _with(made, "published", [key not in went_out for key in made_keys])
    new = _with(new, "message_version", versions)
    new = _with(new, "message", list(map(_as_version, *_columns(made, "message"), versions)))
    new = new.filter(pa.array(differs, pa.bool_()))
    old = stored.filter(pa.array([key in went_out for key in keys], pa.bool_()))
    return pa.concat_tables([old.replace_schema_metadata(None), new.replace_schema_metadata(None)])


def _last_of_each_pick(picks: pa.Table, by: str, columns: Sequence[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The columns of the row of each key that is the last by a column; a row without that column is none."""
    has: Any = pc.is_valid(picks[by])  # pyright: ignore[reportUnknownMemberType]
    rows = picks.filter(has).sort_by([(by, "ascending")])  # pyright: ignore[reportUnknownMemberType]
    return dict(zip(_rows(rows, PICKS.key), _rows(rows, columns), strict=True))


def _as_version(message: str, version: int | None) -> str | None:
    if version is None:
        return None
    return message if version == FIRST_VERSION else correction(message, version)


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*_columns(table, *columns), strict=True)


def _columns(table: pa.Table, *columns: str) -> list[list[Any]]:
    return [table[column].to_pylist() for column in columns]


def _with(rows: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    """The rows with other values in a column."""
    columns: list[Any] = [pa.array(values) if other == name else rows[other] for other in rows.column_names]
    return pa.table(columns, names=rows.column_names).cast(rows.schema)


def _integers(table: pa.Table, column: str) -> Integers:
    """An instant as microseconds of the epoch."""
    return np.array(table[column].cast(pa.int64()).to_numpy())
