"""Trust: is it any good?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import streamlit as st

from stockpick_assets.core.market_hours import last_session_begun, sessions_until
from stockpick_assets.core.registry import champion
from stockpick_assets.core.schemas import CHAMPIONS, PERFORMANCE, RETURN_MODEL
from streamlit_app import charts, data, trust
from streamlit_app.rows import ABSENT

ICONS = {
    "skill": ":material/check_circle:",
    "no skill": ":material/cancel:",
    "abstaining": ":material/do_not_disturb_on:",
    "too early": ":material/hourglass_empty:",
}
SHOWN = [
    "session",
    "kind",
    "champion",
    "forecasts",
    "ic_obtainable",
    "ic_close",
    "hit_rate",
    "top_return",
    "top_return_after_cost",
    "turnover",
    "brier",
    "calibration_slope",
]


def draw_nothing_yet() -> None:
    """What to run where nothing has been measured."""
    last = last_session_begun(data.market_now()).date
    first = sessions_until(last, data.settings().sessions)[0].date
    st.info(
        f"No forecast of the {data.settings().source} source has been measured yet: a session is measured after its "
        "close.",
        icon=":material/inbox:",
    )
    st.text("Fill the tables of the sessions before from a terminal:")
    st.code(f"stockpick backfill {first} {last}", language="bash")
    st.page_link(
        data.links().asset("performance"),
        label="or materialize performance in Dagster",
        icon=":material/open_in_new:",
    )


def draw_verdict(performance: pa.Table, champions: pa.Table, models: pa.Table) -> None:
    """Whether the champion is to be trusted, in words."""
    days: list[Any] = (models if models.num_rows else performance)["session"].to_pylist()
    decision = champion(champions, max(days), data.settings().kinds)
    found = trust.verdict(performance, decision, models, data.settings().cost_bp)
    st.subheader(f"{ICONS[found.word]} {found.word.capitalize()}", anchor=False)
    st.text(f"{found.because[0].upper()}{found.because[1:]}.")
    st.text(f"Champion: {decision.choice}; {decision.why}.")


def draw_calibration(champions_own: Sequence[Mapping[str, Any]]) -> None:
    """Whether probabilities keep their word."""
    bins = trust.reliability(champions_own)
    forecasts, sessions = (
        int(bins["forecasts"].to_numpy().sum()),
        sum(bool(row["reliability_p"]) for row in champions_own),
    )
    st.text(f"Does p_profit keep its word? On the line it does ({trust.extent(sessions, forecasts)}).")
    draw_chart(
        charts.reliability,
        bins,
        "reliability",
        "Share of forecasts that came true, by the probability that was said; the diagonal is a word that is kept",
        "No probability has been measured.",
    )
    if words := trust.brier_words(champions_own):
        st.text(words)


def draw_ics(champions_own: Sequence[Mapping[str, Any]]) -> None:
    """Rank IC by session, what could be had and what could not, at one scale."""
    points = trust.ics(champions_own)
    st.text(f"Rank IC of the champion by session, ± one standard error ({trust.extent(len(champions_own))})")
    if not points.num_rows:
        st.text("No rank IC has been measured.")
        return
    panels = charts.ics(theme(), points)
    for column, (label, panel) in zip(st.columns(len(panels)), panels.items(), strict=True):
        with column:
            st.text(label)
            st.altair_chart(
                panel, key=f"ic_{label[:5]}", width="stretch", alt=f"Rank IC of the champion by session, {label}"
            )


def draw_top_returns(champions_own: Sequence[Mapping[str, Any]]) -> None:
    """What the best pick of each minute brought."""
    points = trust.top_returns(champions_own)
    st.text(f"Mean obtainable return of each minute's top pick ({trust.extent(len(champions_own))})")
    alt = "Mean return of the top picks by session, before and after cost"
    draw_chart(charts.top_returns, points, "top_returns", alt, "No top pick has been measured.")


def draw_kinds(rows: Sequence[Mapping[str, Any]]) -> None:
    """Champion and challengers, and the naive reversal beside them."""
    points = trust.ics_of_kinds(rows)
    sessions = len(points["session"].unique())
    st.text(f"Champion (large points), challengers and naive: obtainable rank IC ({trust.extent(sessions)})")
    alt = "Obtainable rank IC of each kind of model by session, with the naive reversal"
    draw_chart(charts.ics_of_kinds, points, "kinds", alt, "No rank IC has been measured.")


def draw_chart(
    chart: Callable[[charts.Theme, pa.Table], charts.Figure], points: pa.Table, key: str, alt: str, nothing: str
) -> None:
    """A figure of the points, or the words that there are none."""
    if points.num_rows:
        st.altair_chart(chart(theme(), points), key=key, width="stretch", alt=alt)
    else:
        st.text(nothing)


def draw_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The charts as a table, newest session first."""
    with st.expander("The same as a table"):
        st.dataframe(
            pa.Table.from_pylist([dict(row) for row in reversed(rows)], schema=PERFORMANCE.columns).select(SHOWN),
            key="performance",
            hide_index=True,
            placeholder=ABSENT,
            alt="How each kind of model did in each session",
            column_config={
                "ic_obtainable": st.column_config.NumberColumn("IC, obtainable", format="%.4f"),
                "ic_close": st.column_config.NumberColumn("IC, close: not tradable", format="%.4f"),
                "hit_rate": st.column_config.NumberColumn("hit rate", format="percent"),
                "top_return": st.column_config.NumberColumn("top pick", format="%.6f"),
                "top_return_after_cost": st.column_config.NumberColumn("top pick after cost", format="%.6f"),
                "turnover": st.column_config.NumberColumn("turnover", format="percent"),
                "brier": st.column_config.NumberColumn("Brier", format="%.4f"),
                "calibration_slope": st.column_config.NumberColumn("calibration slope", format="%.2f"),
            },
        )


def theme() -> charts.Theme:
    """The theme that the page is shown in."""
    return st.context.theme.type or "light"


@st.fragment(run_every=data.refresh_seconds(), key="trust")
def page() -> None:
    """Draw the page from what the tables hold now."""
    read = {name: data.whole(name) for name in (PERFORMANCE.name, CHAMPIONS.name, RETURN_MODEL.name)}
    for answer in read.values():
        if isinstance(answer, data.Missing) and answer.failed:
            st.error("Nothing can be shown.", icon=":material/error:")
            st.text(answer.reason)
            return
    measured, champions, models = read.values()
    if not isinstance(measured, data.Rows):
        draw_nothing_yet()
        return
    draw_verdict(
        measured.table,
        champions.table if isinstance(champions, data.Rows) else CHAMPIONS.empty(),
        models.table if isinstance(models, data.Rows) else RETURN_MODEL.empty(),
    )
    rows = trust.newest(measured.table)
    champions_own = [row for row in rows if row["champion"]]
    draw_calibration(champions_own)
    draw_ics(champions_own)
    draw_top_returns(champions_own)
    draw_kinds(rows)
    draw_table(rows)
    st.caption(
        f"{data.settings().source.upper()} · sessions {rows[0]['session']} to {rows[-1]['session']} · performance "
        f"version {measured.version} · cost {rows[-1]['cost_bp'] or data.settings().cost_bp:g} bp"
    )


page()
