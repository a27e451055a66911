"""What `stockpick evaluate` shows: the sessions gathered, as a table, as an object for programs, and as figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.cli.columns import aligned
from stockpick_assets.core.breakdown import Breakdown
from stockpick_assets.core.conclusions import Summary, conclusions, summaries
from stockpick_assets.core.evaluation import Estimate
from stockpick_assets.core.grid import Grid
from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.performance import LEAST_MINUTES, joined_reliability
from stockpick_assets.core.schemas import NAIVE, PERFORMANCE
from stockpick_assets.walk_forward import Completed, Market

# A column of PERFORMANCE, its heading, and how a number of it is written.
_COLUMNS = (
    ("ic_close", "IC close*", "{:+.4f}"),
    ("ic_obtainable", "IC obtainable", "{:+.4f}"),
    ("ic_obtainable_error", "±", "{:.4f}"),
    ("hit_rate", "hit rate", "{:.1%}"),
    ("top_return", "top bp", "{:+.2f}"),
    ("top_return_after_cost", "after cost", "{:+.2f}"),
    ("turnover", "turnover", "{:.0%}"),
    ("brier", "Brier", "{:.5f}"),
    ("brier_base_rate", "base rate", "{:.5f}"),
    ("brier_volatility", "volatility", "{:.5f}"),
    ("calibration_slope", "slope", "{:.2f}"),
)
_BASIS_POINTS = ("top_return", "top_return_after_cost")


@dataclass
class Evaluation:
    """The sessions of a market as they are walked through.

    Those with bars of fewer than LEAST_MINUTES minutes, or of one ticker, are in no mean.
    """

    market: Market
    cost_bp: float
    _performance: list[pa.Table] = field(default_factory=list)
    _breakdown: Breakdown = field(default_factory=Breakdown)
    _in_no_mean: dict[date, tuple[int, int]] = field(default_factory=dict)  # minutes and tickers with bars

    def add(self, walked: Completed) -> None:
        """One session more."""
        self._performance.append(walked.performance)
        bars = walked.bars.filter(pc.is_valid(walked.bars["close"]))
        minutes, tickers = (len(bars[name].unique()) for name in ("minute", "ticker"))
        if minutes < LEAST_MINUTES or tickers < 2:
            self._in_no_mean[walked.session.date] = (minutes, tickers)
            return
        self._breakdown.add(Grid(walked.session, self.market.tickers), walked.predictions, walked.training)

    @property
    def performance(self) -> pa.Table:
        """Rows PERFORMANCE of the sessions so far."""
        return pa.concat_tables([PERFORMANCE.empty(), *self._performance])

    @property
    def _counted(self) -> pa.Table:
        """Those of the sessions that means are made of."""
        left_out = pa.array(list(self._in_no_mean), pa.date32())
        return self.performance.filter(pc.invert(pc.is_in(self.performance["session"], left_out)))

    @property
    def title(self) -> str:
        """What was evaluated."""
        sessions, tickers = self.market.sessions, len(self.market.tickers)
        first, last = (session.label() for session in (min(sessions), max(sessions)))
        return (
            f"{self.market.source.upper()}: {tickers} ticker{'' if tickers == 1 else 's'}, {len(sessions)} "
            f"session{f's {first} to {last}' if first < last else f' {first}'}, cost {self.cost_bp:g} bp"
        )

    def figures(self) -> dict[str, list[dict[str, Any]]]:
        """The records that the picture shows, by the name of its argument."""
        rows = self._counted.to_pylist()
        sessions = [
            {
                "session": row["session"].isoformat(),
                "model": "champion" if row["champion"] else NAIVE,
                "label": label,
                "ic": row[f"ic_{label}"],
                "error": row[f"ic_{label}_error"],
            }
            for row in rows
            if (row["champion"] or row["kind"] == NAIVE)
            for label in ("close", "obtainable")
            if row[f"ic_{label}"] is not None
        ]
        return {
            "sessions": sessions,
            "half_hours": self._breakdown.half_hours(),
            "groups": self._breakdown.groups(),
            "reliability": _reliability([row for row in rows if row["champion"]]),
        }

    def as_text(self) -> str:
        """A line a session and kind, a line a kind over all of them, and what can be concluded."""
        headings = ("session", "kind", *(heading for _, heading, _ in _COLUMNS))
        rows = [(row["session"].isoformat(), _kind(row), *_cells(row)) for row in self.performance.to_pylist()]
        lines = [self.title, "", aligned([headings, *rows]), ""]
        lines += [aligned([_OVER_ALL, *(_over_all(summary) for summary in summaries(self._counted))]), ""]
        lines += ["* not tradable: entered at the forecast minute's own close", ""]
        return "\n".join([*lines, *(f"- {said}" for said in self.conclusions())])

    def as_json(self) -> dict[str, Any]:
        """The same and the figures, returns as fractions."""
        return {
            "source": self.market.source,
            "tickers": list(self.market.tickers),
            "sessions": [session.label() for session in self.market.sessions],
            "cost_bp": self.cost_bp,
            "performance": self.performance.to_pylist(),
            "in_no_mean": {
                day.isoformat(): {"minutes": minutes, "tickers": tickers}
                for day, (minutes, tickers) in self._in_no_mean.items()
            },
            "summaries": [asdict(summary) for summary in summaries(self._counted)],
            "figures": self.figures(),
            "conclusions": self.conclusions(),
        }

    def conclusions(self) -> list[str]:
        """What so many sessions of so many tickers say, and which of them say nothing."""
        said = conclusions(self._counted, len(self.market.tickers))
        for day, (minutes, tickers) in self._in_no_mean.items():
            said.append(
                f"{day} is in no mean, as it has {minutes} minutes with bars and {tickers} "
                f"ticker{'' if tickers == 1 else 's'}: it takes {LEAST_MINUTES} minutes and two tickers"
            )
        return said

    def progress(self, walked: Completed) -> str:
        """One line of the session that was added last."""
        ics = [
            f"{row['kind']} {row['ic_obtainable']:+.4f}"
            for row in walked.performance.to_pylist()
            if row["ic_obtainable"] is not None
        ]
        return f"{walked.session.label()}: obtainable IC {', '.join(ics) or 'of no forecast'}"


_OVER_ALL = ("all sessions", "", "IC close*", "ICIR", "IC obtainable", "ICIR", "top bp", "after cost", "hit rate")


def _over_all(summary: Summary) -> tuple[str, ...]:
    return (
        summary.kind,
        str(summary.sessions),
        _estimate(summary.ic_close, "{:+.4f} ± {:.4f}"),
        _number(summary.icir_close, "{:.1f}"),
        _estimate(summary.ic_obtainable, "{:+.4f} ± {:.4f}"),
        _number(summary.icir_obtainable, "{:.1f}"),
        _estimate(summary.top_return, "{:+.2f} ± {:.2f}", BASIS_POINTS),
        _estimate(summary.top_return_after_cost, "{:+.2f} ± {:.2f}", BASIS_POINTS),
        _number(summary.means["hit_rate"], "{:.1%}"),
    )


def _kind(row: Mapping[str, Any]) -> str:
    return f"{row['kind']} (champion)" if row["champion"] else row["kind"]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _number(row[name] and row[name] * (BASIS_POINTS if name in _BASIS_POINTS else 1), form)
        for name, _, form in _COLUMNS
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _estimate(value: Estimate | None, form: str, times: float = 1.0) -> str:
    return "" if value is None else form.format(value.value * times, value.error * times)


def _reliability(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = joined_reliability(rows)
    return [
        {"p_profit": said, "paid": paid, "forecasts": count}
        for said, paid, count in zip(found.probability, found.came_true, found.count, strict=True)
    ]
