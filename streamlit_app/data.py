"""The only reader of the app: settings, market clock and tables. A failed read is never an empty one.

Rows are cached under the files a session stands in, so that a minute that did not change costs no read, and neither
does a session that is over; the look-up of what is newest is kept for two seconds. What does not belong here: what
rows mean (core, rows.py) or how they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from hashlib import blake2b
from threading import Lock
from typing import Any

import pyarrow as pa
import streamlit as st

from stockpick_assets.core.links import Links
from stockpick_assets.core.messages import NUMBERS
from stockpick_assets.core.state import FLOW, State, Tables, state_of
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store, StoreError, TableMissing
from streamlit_app.rows import Tally, at_minute, tally

LOOK_UP_SECONDS = 2
SLOWEST_REFRESH_SECONDS = 5.0
FASTEST_REFRESH_SECONDS = 1.0
# What waits for a store that is down is a page: one repetition, and not the 2 to 6 s that a run gives it.
PATIENCE = {"max_retries": "1"}
SESSIONS_OF_TRUST = 20

PICKS_COLUMNS = (
    "minute",
    "ticker",
    "rank",
    *NUMBERS,
    "model_version",
    "abstain",
)
RAW_COLUMNS = ("minute", "ticker", "close", "reason", "detail")
SCORES_COLUMNS = ("minute", "ticker", "forecast_minute", "p_profit", "obtainable_return", "profitable", "ungraded")
MODEL_COLUMNS = ("session", "version", "cost_bp")


@dataclass(frozen=True)
class Rows:
    """Rows of one session, in key order, with the table's version they were read at."""

    table: pa.Table
    version: int


@dataclass(frozen=True)
class Missing:
    """There are no rows to show, and why; `failed` where they could not be read."""

    reason: str
    failed: bool


@dataclass(frozen=True)
class Held:
    """What a table's log says it holds at `version`.

    minute: start of its newest bar; None where the table has no minutes. files: session to a digest of the names of
    the files its rows stand in, which changes when its rows do.
    """

    version: int
    minute: datetime | None
    files: Mapping[date, str]

    @property
    def session(self) -> date:
        """The newest session."""
        return max(self.files)


@dataclass(frozen=True)
class Look:
    """What the tables hold at one look. `held` has no entry for a table without rows."""

    now: datetime
    state: State
    held: Mapping[str, Held]
    picks: Rows | Missing
    raw_prices: Rows | Missing

    @property
    def session(self) -> date:
        """The session of the newest picks. Raises KeyError while there are none."""
        return self.held["picks"].session


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """The settings of this process."""
    return Settings.load()


@st.cache_resource(show_spinner=False)
def _store() -> Store:
    store = Store.from_settings(settings())
    return replace(store, options={**store.options, **PATIENCE}) if store.options else store


@st.cache_resource(show_spinner=False)
def _last_held() -> tuple[dict[str, Held], Lock]:
    """What each table held when it was last reached: shown, and marked, while the store does not answer."""
    return {}, Lock()


def market_now() -> datetime:
    """Market time, UTC."""
    return settings().clock.at(datetime.now(UTC))


def links() -> Links:
    """Links into this app and its Dagster."""
    return Links(settings().app_url, settings().dagster_url, settings().source)


def refresh_seconds() -> float:
    """Wall seconds between two refreshes of a live part: 5, or half a minute of a market clock that runs faster."""
    return max(FASTEST_REFRESH_SECONDS, min(SLOWEST_REFRESH_SECONDS, 30 / settings().speed))


def look() -> Look:
    """Find what is newest, and judge it. Where the store fails, this is what was found last, and the state says so."""
    now = market_now()
    held: dict[str, Held] = {}
    failure = None
    for name in (*FLOW, "scores", "return_model"):
        try:
            held[name] = _look_up(settings().source, name)
        except TableMissing:
            continue
        except StoreError as error:
            failure = str(error)
            break
    kept, lock = _last_held()
    with lock:
        kept.update(held)
        if failure is not None:
            held = dict(kept)
    held = {name: found for name, found in held.items() if found.files}

    picks = rows(held, "picks", held["picks"].session if "picks" in held else None)
    raw = rows(held, "raw_prices", held["picks"].session if "picks" in held else None)
    for answer in (picks, raw):
        if failure is None and isinstance(answer, Missing) and answer.failed:
            failure = answer.reason
    return Look(now, state_of(now, settings().speed, _tables(held, picks, raw, failure)), held, picks, raw)


def rows(held: Mapping[str, Held], name: str, session: date | None) -> Rows | Missing:
    """The rows of one session, in the columns that the app shows."""
    if name not in held:
        return Missing(f"{settings().source}/{name} has no row yet", failed=False)
    if session is None or session not in held[name].files:
        return Missing(f"{settings().source}/{name} has no row of the session {session}", failed=False)
    columns = {
        "picks": PICKS_COLUMNS,
        "raw_prices": RAW_COLUMNS,
        "scores": SCORES_COLUMNS,
        "return_model": MODEL_COLUMNS,
    }
    version, files = held[name].version, held[name].files[session]
    try:
        return Rows(_rows(_store(), version, settings().source, name, session, files, columns[name]), version)
    except StoreError as error:
        return Missing(str(error), failed=True)


def whole(name: str) -> Rows | Missing:
    """Every row of a table that has few: some a session, or one a decision."""
    source = settings().source
    try:
        held = _look_up(source, name)
        if held.files:
            return Rows(_whole(_store(), held.version, source, name), held.version)
    except TableMissing:
        pass
    except StoreError as error:
        return Missing(str(error), failed=True)
    return Missing(f"{source}/{name} has no row yet", failed=False)


def cost_bp(held: Mapping[str, Held], session: date) -> float:
    """The cost that the session's model was calibrated to, else the one that is set; basis points."""
    model = rows(held, "return_model", session)
    costs: list[Any] = model.table["cost_bp"].drop_null().to_pylist() if isinstance(model, Rows) else []
    return costs[-1] if costs else settings().cost_bp


def tallies(held: Mapping[str, Held]) -> dict[date, Tally] | Missing:
    """How forecasts of each of the newest 20 graded sessions turned out."""
    if "scores" not in held:
        return Missing(f"{settings().source}/scores has no row yet", failed=False)
    files = held["scores"].files
    try:
        return {
            session: _tally(_store(), held["scores"].version, settings().source, session, files[session])
            for session in sorted(files)[-SESSIONS_OF_TRUST:]
        }
    except StoreError as error:
        return Missing(str(error), failed=True)


@st.cache_resource(ttl=LOOK_UP_SECONDS, show_spinner=False)
def _look_up(source: str, name: str) -> Held:
    """Read the table's log. Raises TableMissing, StoreError."""
    found = _store().contents(name)
    files = {
        session: blake2b("\n".join(sorted(names)).encode(), digest_size=16).hexdigest()
        for session, names in found.files.items()
    }
    return Held(found.version, found.newest, files)


@st.cache_resource(max_entries=16, show_spinner=False)
def _rows(
    _store: Store, _version: int, source: str, name: str, session: date, files: str, columns: tuple[str, ...]
) -> pa.Table:
    return _store.read(
        name, from_session=session, to_session=session, columns=columns, version=_version
    ).combine_chunks()


@st.cache_resource(max_entries=8, show_spinner=False)
def _whole(_store: Store, version: int, source: str, name: str) -> pa.Table:
    return _store.read(name, version=version).combine_chunks()


@st.cache_resource(max_entries=4 * SESSIONS_OF_TRUST, show_spinner=False)
def _tally(_store: Store, _version: int, source: str, session: date, files: str) -> Tally:
    columns = ("p_profit", "profitable")
    return tally(_store.read("scores", from_session=session, to_session=session, columns=columns, version=_version))


def _tables(held: Mapping[str, Held], picks: Rows | Missing, raw: Rows | Missing, failure: str | None) -> Tables:
    newest = {name: found.minute for name, found in held.items() if name in FLOW and found.minute is not None}
    if not isinstance(picks, Rows):
        return Tables(newest=newest, failure=failure)
    minute = newest["picks"]
    picked = at_minute(picks.table, minute).to_pylist()
    answers = at_minute(raw.table, minute).to_pylist() if isinstance(raw, Rows) else []
    seen: set[Any] = set(picks.table["ticker"].unique().to_pylist())
    if isinstance(raw, Rows):
        seen.update(raw.table["ticker"].unique().to_pylist())
    return Tables(
        newest=newest,
        expected={*settings().tickers, *settings().extra_tickers} if settings().tickers else seen,
        reasons={row["ticker"]: row["reason"] for row in answers},
        picked=[row["ticker"] for row in picked],
        ranked=[row["ticker"] for row in picked if row["rank"] is not None],
        abstained={row["ticker"]: row["abstain"] for row in picked if row["abstain"] is not None},
        models={row["model_version"] for row in picked if row["model_version"] is not None},
        failure=failure,
    )
