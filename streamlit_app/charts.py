"""The charts: Arrow rows in, Altair out. Pure: no Streamlit, no reading.

Time is New York wall time without a zone on a UTC scale, so that a browser anywhere shows it as it is. Colours are
Okabe and Ito's (2008), which people with any common colour vision tell apart; each has a second mark beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import altair as alt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.market_hours import MINUTE, NEW_YORK
from stockpick_assets.core.schemas import NAIVE
from streamlit_app.rows import Run, new_york

Figure = alt.LayerChart | alt.FacetChart
Channel = TypeVar("Channel", alt.Shape, alt.Color, alt.Fill)
Theme = Literal["light", "dark"]

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#999999",
)
# Final reasons are muted, those that will be asked for again are not.
REASON_COLOURS = {
    "no_trade": SKY,
    "halted": PURPLE,
    "closed": GREY,
    "not_listed": GREY,
    "delisted": GREY,
    "quarantined": GREEN,
    "lost": BLACK,
    "rate_limited": ORANGE,
    "provider_error": VERMILION,
    "pending": BLUE,
    "no_row": YELLOW,
}
# At least 3 to 1 against a white and against a dark page; that of average is the line's.
KIND_COLOURS = {"linear": VERMILION, "reversal": GREEN, "boosted": PURPLE, "forest": "#8C6D1F"}
KIND_SHAPES = {
    "average": "circle",
    "linear": "square",
    "reversal": "triangle-up",
    "boosted": "diamond",
    "forest": "triangle-down",
    NAIVE: "cross",
}
ROLE_SIZES = {"champion": 110, "challenger": 40, "baseline": 40}
GRADES = ("came true", "did not", "not graded")
TOP = 5
ROW, AXIS_HEIGHT = 22, 50  # of a reason and of the time axis, px
AXIS_WIDTH = 84  # left of every panel, so that a minute stands above itself; the longest reason needs it


@dataclass(frozen=True)
class Panel:
    """The time axis that the three charts of a ticker share, and the theme they are drawn for.

    first, last: the minutes at its ends. fixed: the minute a link fixed, marked by a rule.
    """

    first: datetime
    last: datetime
    theme: Theme
    fixed: datetime | None = None

    @property
    def x(self) -> alt.X:
        """The time axis."""
        ends = [_clock(self.first), _clock(self.last + MINUTE)]
        return alt.X(
            "time:T",
            title=None,
            scale=alt.Scale(type="utc", domain=[alt.DateTime(**_parts(end), utc=True) for end in ends]),
            axis=alt.Axis(format="%H:%M", labelOverlap=True, grid=False),
        )

    @property
    def line(self) -> str:
        """The colour of a line: at least 3 to 1 against the theme's background."""
        return _line(self.theme)

    @property
    def ink(self) -> str:
        """The colour of what is neither good nor bad."""
        return _ink(self.theme)

    def rule(self) -> list[alt.Chart]:
        """The rule at the minute that a link fixed."""
        if self.fixed is None:
            return []
        marked = alt.Chart(pa.table({"time": pa.array([_clock(self.fixed)], pa.timestamp("us"))}))
        return [marked.mark_rule(strokeDash=[4, 3], color=self.ink, clip=True).encode(x=self.x)]


def price(panel: Panel, history: pa.Table) -> Figure:
    """The close of each minute, broken where there is no bar, and the minutes at which the ticker was a top pick."""
    ranks: Any = history["rank"]
    best: Any = pc.and_(pc.less_equal(ranks, pa.scalar(TOP)), pc.is_valid(history["close"]))
    marks = history.filter(best)
    outcomes = [
        next((graded for graded in GRADES[:2] if grade and grade.startswith(graded)), GRADES[2])
        for grade in marks["grade"].to_pylist()
    ]
    marks = marks.select(["minute", "close", "rank", "p_profit"]).append_column(
        "grade", pa.array(outcomes, pa.string())
    )
    line = (
        alt.Chart(_timed(history.select(["minute", "close"])))
        .mark_line(color=panel.line, strokeWidth=1.5, invalid="break-paths-filter-domains", clip=True)
        .encode(x=panel.x, y=_y("close:Q"))
    )
    points = (
        alt.Chart(_timed(marks))
        .mark_point(size=60, strokeWidth=1.5, opacity=1, clip=True)
        .encode(
            x=panel.x,
            y=_y("close:Q"),
            shape=_graded(["circle", "triangle-down", "square"], alt.Shape),
            color=_graded([panel.line, VERMILION if panel.theme == "light" else ORANGE, panel.ink], alt.Color),
            fill=_graded([panel.line, VERMILION if panel.theme == "light" else ORANGE, "transparent"], alt.Fill),
            tooltip=[
                alt.Tooltip(
                    "time:T", title="minute, New York", format="%Y-%m-%d %H:%M", timeUnit="utcyearmonthdatehoursminutes"
                ),
                alt.Tooltip("rank:Q", title="rank"),
                alt.Tooltip("p_profit:Q", title="p_profit, of 100", format=".1f"),
                alt.Tooltip("grade:N", title="grade"),
            ],
        )
    )
    return alt.layer(line, points, *panel.rule()).properties(height=300)


def probability(panel: Panel, history: pa.Table) -> Figure:
    """p_profit of the ticker over time, in the band between the lowest and the highest of all tickers that minute."""
    base = alt.Chart(_timed(history.select(["minute", "p_profit", "lowest", "highest"])))
    band = base.mark_area(color=panel.ink, opacity=0.2, clip=True).encode(x=panel.x, y=_y("lowest:Q"), y2="highest:Q")
    line = base.mark_line(color=panel.line, strokeWidth=1.5, invalid="break-paths-filter-domains", clip=True).encode(
        x=panel.x, y=_y("p_profit:Q")
    )
    return alt.layer(band, line, *panel.rule()).properties(height=150)


def gaps(panel: Panel, runs: Sequence[Run]) -> Figure:
    """The minutes without a bar, as one rectangle a run, one row a reason."""
    rows = alt.Chart(
        pa.table(
            {
                "time": pa.array([_clock(run.first) for run in runs], pa.timestamp("us")),
                "end": pa.array([_clock(run.last + MINUTE) for run in runs], pa.timestamp("us")),
                "reason": pa.array([run.reason for run in runs], pa.string()),
                "minutes": pa.array([run.minutes for run in runs], pa.int32()),
            }
        )
    )
    reasons = sorted({run.reason for run in runs})
    bars = rows.mark_rect(stroke=panel.ink, strokeWidth=0.5, clip=True).encode(
        x=panel.x,
        x2="end:T",
        y=alt.Y(
            "reason:N",
            title=None,
            axis=alt.Axis(minExtent=AXIS_WIDTH, maxExtent=AXIS_WIDTH),
            scale=alt.Scale(domain=reasons),
        ),
        color=alt.Color(
            "reason:N",
            legend=None,
            scale=alt.Scale(domain=reasons, range=[REASON_COLOURS.get(reason, GREY) for reason in reasons]),
        ),
        tooltip=[alt.Tooltip("reason:N"), alt.Tooltip("minutes:Q", title="minutes without a bar")],
    )
    return alt.layer(bars, *panel.rule()).properties(height=AXIS_HEIGHT + ROW * len(reasons))


def reliability(theme: Theme, bins: pa.Table) -> Figure:
    """What came true against what was said, in per cent; on the diagonal a probability keeps its word.

    bins: p_profit, paid and forecasts, whose number is the size of the point.
    """
    values = np.concatenate([bins["p_profit"].to_numpy(), bins["paid"].to_numpy()])
    ends = [math.floor(values.min() - 1), math.ceil(values.max() + 1)]
    scale = alt.Scale(domain=ends, nice=False)
    x = alt.X("p_profit:Q", title="p_profit that was said, %", scale=scale)
    y = alt.Y("paid:Q", title="came true, %", scale=scale)
    diagonal = alt.Chart(pa.table({"p_profit": ends, "paid": ends})).mark_line(color=_ink(theme), strokeDash=[4, 3])
    points = alt.Chart(bins).mark_circle(color=_line(theme), opacity=1)
    return alt.layer(
        diagonal.encode(x=x, y=y),
        points.encode(
            x=x,
            y=y,
            size=alt.Size("forecasts:Q", scale=alt.Scale(domainMin=0, rangeMax=400), legend=None),
            tooltip=[
                alt.Tooltip("p_profit:Q", title="said, %", format=".1f"),
                alt.Tooltip("paid:Q", title="came true, %", format=".1f"),
                alt.Tooltip("forecasts:Q", title="forecasts", format=","),
            ],
        ),
    ).properties(height=300)


def ics(theme: Theme, points: pa.Table) -> dict[str, Figure]:
    """A panel for each label, all of one scale: the IC of each session, with one standard error to both sides.

    points: session, label, ic, low and high.
    """
    ends = [min(0.0, float(points["low"].to_numpy().min())), max(0.0, float(points["high"].to_numpy().max()))]
    panels: dict[str, Figure] = {}
    labels: Any = points["label"]
    for label in labels.unique().to_pylist():
        rows = alt.Chart(points.filter(pc.equal(labels, pa.scalar(label)))).encode(x=_sessions())
        y = alt.Y("ic:Q", title="rank IC", scale=alt.Scale(domain=ends))
        panels[label] = alt.layer(
            _zero(theme),
            rows.mark_rule(color=_line(theme)).encode(y=alt.Y("low:Q", title="rank IC"), y2="high:Q"),
            rows.mark_point(color=_line(theme), filled=True, size=50, opacity=1).encode(
                y=y, tooltip=["session:O", alt.Tooltip("ic:Q", title="rank IC", format=".4f")]
            ),
        ).properties(height=220)
    return panels


def top_returns(theme: Theme, points: pa.Table) -> Figure:
    """Mean return of the top picks of each session in basis points, before and after cost.

    points: session, cost and bp.
    """
    costs = sorted(set(map(str, points["cost"].to_pylist())), reverse=True)
    line = (
        alt.Chart(points)
        .mark_line(point=alt.OverlayMarkDef(size=50, filled=True), strokeWidth=1.5)
        .encode(
            x=_sessions(),
            y=alt.Y("bp:Q", title="basis points a pick"),
            color=alt.Color(
                "cost:N", scale=alt.Scale(domain=costs, range=[_line(theme), _loss(theme)]), legend=_below(None)
            ),
            strokeDash=alt.StrokeDash("cost:N", scale=alt.Scale(domain=costs, range=[[1, 0], [4, 3]])),
            tooltip=["session:O", "cost:N", alt.Tooltip("bp:Q", title="bp", format="+.2f")],
        )
    )
    return alt.layer(_zero(theme), line).properties(height=220)


def ics_of_kinds(theme: Theme, points: pa.Table) -> Figure:
    """Obtainable IC of every kind of model by session, and of naive; the champion's points are the large ones.

    points: session, kind, ic and role.
    """
    kinds = [kind for kind in KIND_SHAPES if kind in points["kind"].to_pylist()]
    colours = [_ink(theme) if kind == NAIVE else KIND_COLOURS.get(kind, _line(theme)) for kind in kinds]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=_below(None))
    base = alt.Chart(points).encode(x=_sessions(), y=alt.Y("ic:Q", title="obtainable rank IC"), color=colour)
    marks = base.mark_point(filled=True, opacity=1).encode(
        shape=alt.Shape(
            "kind:N", scale=alt.Scale(domain=kinds, range=[KIND_SHAPES[kind] for kind in kinds]), legend=_below(None)
        ),
        size=alt.Size("role:N", scale=alt.Scale(domain=list(ROLE_SIZES), range=[*ROLE_SIZES.values()]), legend=None),
        tooltip=["session:O", "kind:N", "role:N", alt.Tooltip("ic:Q", title="obtainable IC", format=".4f")],
    )
    return alt.layer(_zero(theme), base.mark_line(strokeWidth=1, opacity=0.6), marks).properties(height=300)


def _sessions() -> alt.X:
    return alt.X("session:O", title=None, axis=alt.Axis(labelExpr="slice(datum.value, 5)", labelOverlap=True))


def _zero(theme: Theme) -> alt.Chart:
    zero = alt.Chart(pa.table({"zero": [0.0]}))
    return zero.mark_rule(strokeDash=[4, 3], color=_ink(theme)).encode(y="zero:Q")


def _below(title: str | None) -> alt.Legend:
    return alt.Legend(title=title, orient="bottom", symbolSize=60)


def _line(theme: Theme) -> str:
    return BLUE if theme == "light" else SKY


def _loss(theme: Theme) -> str:
    return VERMILION if theme == "light" else ORANGE


def _ink(theme: Theme) -> str:
    return "#444444" if theme == "light" else "#CCCCCC"


def _graded(values: list[str], channel: type[Channel]) -> Channel:
    return channel(
        "grade:N", scale=alt.Scale(domain=list(GRADES), range=values), legend=_below(f"a top {TOP} pick that")
    )


def _y(field: str) -> alt.Y:
    return alt.Y(
        field,
        title=None,
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(minExtent=AXIS_WIDTH, maxExtent=AXIS_WIDTH, tickCount=4),
    )


def _timed(rows: pa.Table) -> pa.Table:
    """The rows with `time`, New York wall time, in place of `minute`."""
    return rows.drop_columns("minute").append_column("time", new_york(rows["minute"]))


def _clock(minute: datetime) -> datetime:
    return minute.astimezone(NEW_YORK).replace(tzinfo=None)


def _parts(time: datetime) -> dict[str, int]:
    return {
        "year": time.year,
        "month": time.month,
        "date": time.day,
        "hours": time.hour,
        "minutes": time.minute,
    }
