"""The picture of an evaluation: four figures as one Altair chart. Pure: records in, chart out.

Colours are Okabe and Ito's (2008), which people with any common colour vision tell apart; each model has a shape too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

Records = Sequence[Mapping[str, Any]]

CHAMPION, NAIVE, INK = "#0072B2", "#E69F00", "#444444"
WIDTH, HEIGHT = 300, 200
LABELS = ["close", "obtainable"]
NAMES = {"close": "close (not tradable)", "obtainable": "obtainable"}


def picture(
    title: str, sessions: Records, half_hours: Records, groups: Records, reliability: Records
) -> alt.VConcatChart:
    """IC by session and by time of day, returns by groups of the score, and how p_profit keeps its word.

    sessions: `session model label ic error`. half_hours, groups: of core/breakdown.py. reliability: `p_profit paid
    forecasts` by bin. Both labels stand side by side on one scale.
    """
    return alt.vconcat(
        _by_label("rank IC by session", sessions, alt.X("session:O", title=None), "ic", "rank IC", line=True),
        _by_label(
            "rank IC by time of day",
            half_hours,
            alt.X("minute:Q", title="minutes since the open"),
            "ic",
            "rank IC",
            line=True,
        ),
        _by_label(
            "return by groups of the score, over the minute's mean",
            groups,
            alt.X("group:O", title="group of the score, the highest last", axis=alt.Axis(labelAngle=0)),
            "return_bp",
            "basis points",
            line=False,
        ),
        _reliability(reliability),
        title=title,
        background="white",
    ).resolve_scale(color="shared", shape="shared")


def _by_label(title: str, records: Records, x: alt.X, value: str, unit: str, *, line: bool) -> alt.FacetChart:
    rows = [
        {
            **record,
            "label": NAMES[record["label"]],
            "low": record[value] - (record["error"] or 0),
            "high": record[value] + (record["error"] or 0),
        }
        for record in records
    ]
    models = alt.Scale(domain=["champion", "naive"], range=[CHAMPION, NAIVE])
    shapes = alt.Scale(domain=["champion", "naive"], range=["circle", "square"])
    y = alt.Y(f"{value}:Q", title=f"{unit}, ± standard error")
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=alt.Color("model:N", scale=models, title=None))
    layers = [
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=40).encode(y=y, shape=alt.Shape("model:N", scale=shapes, title=None)),
        base.mark_rule(color=INK, strokeDash=[4, 3]).encode(
            y=alt.datum(0), color=alt.value(INK), x=alt.value(0), x2=alt.value(WIDTH)
        ),
    ]
    if line:
        layers.append(base.mark_line(strokeWidth=1).encode(y=y))
    panel = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    facets = alt.Column("label:N", title=None, sort=[NAMES[label] for label in LABELS])
    return panel.facet(column=facets, title=title)


def _reliability(records: Records) -> alt.LayerChart | alt.FacetChart:
    """The share that paid against the probability that was said; on the line it keeps its word."""
    said = [number for record in records for number in (record["p_profit"], record["paid"])] or [0.0, 1.0]
    ends = alt.Scale(domain=[min(said), max(said)], nice=True, zero=False)
    points = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_point(filled=True, color=CHAMPION, opacity=1)
        .encode(
            x=alt.X("p_profit:Q", scale=ends, title="p_profit, mean of the bin"),
            y=alt.Y("paid:Q", scale=ends, title="share that paid"),
            size=alt.Size("forecasts:Q", title="forecasts"),
        )
    )
    line = alt.Chart(alt.Data(values=[{"p": min(said)}, {"p": max(said)}])).mark_line(color=INK, strokeDash=[4, 3])
    return alt.layer(line.encode(x="p:Q", y="p:Q"), points).properties(
        width=WIDTH, height=HEIGHT, title="reliability of p_profit"
    )
