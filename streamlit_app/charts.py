"""The charts: Arrow rows in, Altair out. Pure: no Streamlit, no reading.

Time is New York wall time without a zone on a UTC scale, so that a browser anywhere shows it as it is. Colours are
Okabe and Ito's (2008), which people with any common colour vision tell apart; each has a second mark beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from stockpick_assets.core.market_hours import MINUTE, NEW_YORK
from streamlit_app.rows import Run, new_york

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
        return BLUE if self.theme == "light" else SKY

    @property
    def ink(self) -> str:
        """The colour of what is neither good nor bad."""
        return "#444444" if self.theme == "light" else "#CCCCCC"

    def rule(self) -> list[alt.Chart]:
        """The rule at the minute that a link fixed."""
        if self.fixed is None:
            return []
        marked = alt.Chart(pa.table({"time": pa.array([_clock(self.fixed)], pa.timestamp("us"))}))
        return [marked.mark_rule(strokeDash=[4, 3], color=self.ink, clip=True).encode(x=self.x)]


def price(panel: Panel, history: pa.Table) -> alt.LayerChart | alt.FacetChart:
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


def probability(panel: Panel, history: pa.Table) -> alt.LayerChart | alt.FacetChart:
    """p_profit of the ticker over time, in the band between the lowest and the highest of all tickers that minute."""
    base = alt.Chart(_timed(history.select(["minute", "p_profit", "lowest", "highest"])))
    band = base.mark_area(color=panel.ink, opacity=0.2, clip=True).encode(x=panel.x, y=_y("lowest:Q"), y2="highest:Q")
    line = base.mark_line(color=panel.line, strokeWidth=1.5, invalid="break-paths-filter-domains", clip=True).encode(
        x=panel.x, y=_y("p_profit:Q")
    )
    return alt.layer(band, line, *panel.rule()).properties(height=150)


def gaps(panel: Panel, runs: Sequence[Run]) -> alt.LayerChart | alt.FacetChart:
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


def _graded(values: list[str], channel: type[Channel]) -> Channel:
    return channel("grade:N", scale=alt.Scale(domain=list(GRADES), range=values), legend=_LEGEND)


_LEGEND = alt.Legend(title=f"a top {TOP} pick that", orient="bottom", symbolSize=60)


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
