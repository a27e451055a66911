"""`stockpick model`: the models of each session, who is champion and why, and a person's decisions about it.

What does not belong here: what may be decided (core/registry.py), and fitting.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import click
import pyarrow as pa

from stockpick_assets import __version__
from stockpick_assets.champions import append
from stockpick_assets.cli.columns import ABSENT, aligned, shown
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import last_session_begun, session_after
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.registry import DEFAULT, Decision, champion, chosen, in_use, promote, rollback
from stockpick_assets.core.schemas import CHAMPIONS, RETURN_MODEL
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store

SESSIONS_LISTED = 5
LONGEST_REASON = 300
NO_REASON = "no reason was given"


@dataclass(frozen=True)
class Registry:
    """The models and decisions of a source, as they stand.

    following: the next session that has not opened, which is the first that a decision made now holds for: one session
    has one champion, so that a minute computed again is what it was. uses: version to the sessions that use it.
    """

    store: Store
    kinds: Sequence[str]
    models: pa.Table
    champions: pa.Table
    following: date
    wall: datetime
    cost_bp: float

    @classmethod
    def load(cls) -> "Registry":
        """Read it. Raises TableMissing while there are no models, StoreError."""
        settings = Settings.load()
        store, wall = Store.from_settings(settings), wall_clock()
        following = session_after(last_session_begun(settings.clock.at(wall))).date
        models = store.read(RETURN_MODEL.name)
        champions = store.read_if_written(CHAMPIONS.name)
        return cls(store, settings.kinds, models, champions, following, wall, settings.cost_bp)

    @property
    def sessions(self) -> list[date]:
        """Those that have models, ascending."""
        days: set[Any] = set(self.models["session"].to_pylist())
        return sorted(days)

    def decision(self, session: date) -> Decision:
        """The decision that holds for the session."""
        return champion(self.champions, session, self.kinds)

    def used(self, session: date) -> dict[str, Any] | None:
        """The row of the model that the session uses, with why it abstains there."""
        return in_use(self.models, self.decision(session), session, self.cost_bp)

    def told(self, row: dict[str, Any], sessions: Sequence[date]) -> dict[str, Any]:
        """The row of a model as the newest of the sessions that use it does; itself where none does."""
        return (self.used(sessions[-1]) if sessions else None) or row

    def uses(self) -> dict[str, list[date]]:
        """Version to the sessions that use it, of those that have models."""
        uses = defaultdict[str, list[date]](list)
        models = self.models.select(["session", "kind", "version"])
        for session in self.sessions:
            if row := chosen(models, self.decision(session), session):
                uses[row["version"]].append(session)
        return dict(uses)

    def write(self, decision: Decision) -> None:
        """Append a person's decision and say what it means."""
        append(self.store, decision, self.champions, {"code_version": __version__, "decided_by": decision.decided_by})
        click.echo(
            f"champion from the session of {decision.session} on: {decision.choice}. Earlier sessions keep theirs, "
            "one that is open too."
        )


@click.group()
def model() -> None:
    """Show the models and the champion among them, promote another, roll back."""


@model.command("list")
@click.option("--sessions", default=SESSIONS_LISTED, show_default=True, help="How many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def list_models(sessions: int, as_json: bool) -> None:
    """List the models of the newest sessions, newest first.

    The rank ICs are of forecasts made out of sample in earlier sessions, and their mean; "close" is not tradable.
    """
    registry = Registry.load()
    days = registry.sessions[-max(sessions, 1) :]
    uses = registry.uses()
    rows = [
        registry.told(row, uses.get(row["version"], ()))
        for row in reversed(registry.models.to_pylist())
        if row["session"] in days
    ]
    rows.sort(key=lambda row: (-row["session"].toordinal(), row["kind"]))
    decision = registry.decision(registry.following)
    if as_json:
        listed = [_summary(row) | {"champion_sessions": uses.get(row["version"], [])} for row in rows]
        click.echo(_json({"source": registry.store.source, "champion": _fields(decision), "models": listed}))
        return
    head = f"{registry.store.source.upper()} return_model, champion of the session of {registry.following}: "
    names = ("session", "kind", "version", "IC obtainable", "IC close", "sessions", "fitted, UTC", "champion", "")
    cells = [_cells(row, uses.get(row["version"], ())) for row in rows]
    click.echo(f"{head}{decision.choice}; {one_line(decision.why, LONGEST_REASON)}\n\n{aligned([names, *cells])}")


@model.command()
@click.argument("which", metavar="[SESSION|VERSION]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def show(which: str | None, as_json: bool) -> None:
    """Show all that is known of the model that a session (2026-11-23) uses, or of a version.

    By default of the model of the newest session that has one.
    """
    registry = Registry.load()
    row = _row(registry, which)
    sessions = registry.uses().get(row["version"], [])
    decision = registry.decision(sessions[-1] if sessions else row["session"])
    if as_json:
        click.echo(_json(row | {"champion_sessions": sessions, "champion": _fields(decision)}))
        return
    known = {name: shown(value) for name, value in row.items() if name not in ("source", "version", "session")}
    lines = {"valid for": str(row["session"]), "champion of": shown(sessions)}
    if sessions:
        lines["why champion"] = one_line(decision.why, LONGEST_REASON)
    else:
        lines["champion instead"] = f"{decision.choice}; {one_line(decision.why, LONGEST_REASON)}"
    head = f"{row['source'].upper()} return_model {row['version']}"
    click.echo(f"{head}\n\n{aligned(list((lines | known).items()))}")


@model.command("promote")
@click.argument("what", metavar="KIND|VERSION")
@click.option("--reason", default=NO_REASON, help="Kept with the decision.")
def promote_model(what: str, reason: str) -> None:
    """Make a kind champion, or pin one version, from the next session that has not opened.

    Of a kind each session uses the model fitted for it; the rule may promote another once five sessions have been
    measured. A version that is pinned stays until a person decides otherwise.
    """
    registry = Registry.load()
    registry.write(promote(what, registry.models, registry.following, registry.kinds, registry.wall, reason))


@model.command("rollback")
@click.option("--reason", default=NO_REASON, help="Kept with the decision.")
def roll_back(reason: str) -> None:
    """Undo the newest decision: pin the version that was used before it, from the next session that has not opened."""
    registry = Registry.load()
    registry.write(
        rollback(registry.champions, registry.models, registry.following, registry.kinds, registry.wall, reason)
    )


def _row(registry: Registry, which: str | None) -> dict[str, Any]:
    """The model that was asked for. Raises StockpickError where there is none."""
    source = registry.store.source
    try:
        session = registry.sessions[-1] if which is None else date.fromisoformat(which)
    except ValueError:
        row = next((row for row in registry.models.to_pylist() if row["version"] == which), None)
        if row is None:
            raise StockpickError(
                f"{source}/return_model has no version {one_line(which or '')}; `stockpick model list` shows them"
            ) from None
        return registry.told(row, registry.uses().get(row["version"], ()))
    except IndexError:
        raise StockpickError(f"{source}/return_model has no rows yet; `stockpick backfill` makes models") from None
    row = registry.used(session)
    if row is None:
        wanted = registry.decision(session).choice
        raise StockpickError(
            f"{source}/return_model has no model for the session of {session}, whose champion is {wanted}; it holds "
            f"models of {shown(registry.sessions)}, which `stockpick model list` shows"
        )
    return row


def _fields(decision: Decision) -> dict[str, Any]:
    begins = {"session": None, "decided_at": None} if decision.decided_by == DEFAULT else {}
    return asdict(decision) | begins


def _summary(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "session": row["session"],
        "kind": row["kind"],
        "version": row["version"],
        "ic_obtainable": _mean(row["ic_obtainable"]),
        "ic_close": _mean(row["ic_close"]),
        "ic_sessions": len(row["ic_sessions"] or ()),
        "abstain": row["abstain"],
        "fitted_at": row["fitted_at"],
    }


def _cells(row: Mapping[str, Any], sessions: Sequence[date]) -> tuple[str, ...]:
    said = _summary(row)
    ics = [ABSENT if said[name] is None else f"{said[name]:+.4f}" for name in ("ic_obtainable", "ic_close")]
    used = "" if not sessions else "champion" if sessions == [row["session"]] else f"champion of {shown(sessions)}"
    abstains = f"abstains: {one_line(row['abstain'])}" if row["abstain"] else ""
    fitted = ABSENT if row["fitted_at"] is None else f"{row['fitted_at'].astimezone(UTC):%Y-%m-%d %H:%M}"
    return (str(row["session"]), row["kind"], row["version"], *ics, str(said["ic_sessions"]), fitted, used, abstains)


def _mean(values: Sequence[float | None] | None) -> float | None:
    known = [value for value in values or () if value is not None]
    return sum(known) / len(known) if known else None


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=2, default=lambda moment: moment.isoformat())
