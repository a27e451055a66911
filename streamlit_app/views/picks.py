"""Picks: which tickers now, and may I trust them?"""

from typing import Any

import pyarrow as pa
import streamlit as st

from stockpick_assets.core.links import ticker_parameters
from stockpick_assets.core.state import Freshness, State
from streamlit_app import data, rows
from streamlit_app.rows import ABSENT
from streamlit_app.strip import clock_time, notice_of_age, notice_of_gaps, provenance

CARDS = 5
FEW = 20
TABLE = "picks_table"
ORDER = "picks_order"

COLUMNS = {
    "rank": st.column_config.NumberColumn("rank", width=50),
    "ticker": st.column_config.TextColumn("ticker", width=70),
    "p_profit": st.column_config.ProgressColumn(
        "p_profit",
        min_value=0,
        max_value=100,
        format="%.1f %%",
        help="Calibrated probability that the obtainable return beats the cost",
    ),
    "obtainable_bp": st.column_config.NumberColumn(
        "obtainable, bp",
        format="%+.1f",
        help="Expected return from the next minute's open to the close five minutes after the forecast, before cost",
    ),
    "excess_bp": st.column_config.NumberColumn(
        "excess, bp", format="%+.1f", help="Expected return over five minutes, against the other tickers"
    ),
    "change_day": st.column_config.NumberColumn(
        "day", format="%+.2f %%", help="Against the previous session's last close"
    ),
    "change_5m": st.column_config.NumberColumn(
        "5 min", format="%+.2f %%", help="Against the close five clock minutes before"
    ),
    "pop_window": st.column_config.NumberColumn(
        "pop_window",
        format="%.2f",
        help="Position, among the five minutes before, of the day's change closest to this one's",
    ),
    "last_30_minutes": st.column_config.LineChartColumn("30 min, ±1 %", y_min=-1, y_max=1),
    "mark": st.column_config.TextColumn("mark"),
    "last_grade": st.column_config.TextColumn(
        "last grade", help="Whether the obtainable return of an earlier forecast beat the cost; when it was made"
    ),
    "open": st.column_config.LinkColumn("open", display_text="Ticker"),
}


def title(state: State) -> str:
    """What the cards are: without the word "now" where it would not be true."""
    assert state.minute is not None
    return f"Best picks {'now,' if state.freshness is Freshness.LIVE else 'as of'} {clock_time(state.minute)} New York"


def trust(look: data.Look, p_profit: float | None) -> str:
    """One sentence on how far the best pick's probability is to be trusted."""
    if p_profit is None:
        return "The best pick has no probability of profit."
    tallies = data.tallies(look.held)
    if isinstance(tallies, data.Missing):
        return (
            "How often such forecasts come true cannot be read."
            if tallies.failed
            else rows.trust_sentence({}, p_profit / 100)
        )
    return rows.trust_sentence(tallies, p_profit / 100)


def draw_cards(best: pa.Table) -> None:
    """The best five, a card each."""
    with st.container(horizontal=True, gap="small", key="cards"):
        for pick in best.to_pylist():
            expected = pick["obtainable_bp"]
            with st.container(border=True, width=168, gap=None):
                st.page_link(
                    "views/ticker.py",
                    label=f"**{pick['rank']} · {pick['ticker']}**",
                    query_params=ticker_parameters(pick["ticker"]),
                )
                st.metric(
                    "p_profit, abstains" if pick["mark"] else "p_profit",
                    f"{pick['p_profit']:.0f} of 100" if pick["p_profit"] is not None else ABSENT,
                    None if expected is None else f"{expected:+.1f} bp",
                    delta_color="blue" if expected is not None and expected >= 0 else "orange",
                    chart_data=pick["last_30_minutes"],
                )


def keep_selection(tickers: list[Any]) -> str | None:
    """The ticker that was selected, after its selection was moved to the row where it stands now.

    A selection is a position, and a minute later another ticker stands there.
    """
    before = st.session_state.get(ORDER, [])
    chosen = [
        before[row] for row in st.session_state.get(TABLE, {}).get("selection", {}).get("rows", ()) if row < len(before)
    ]
    ticker = next((ticker for ticker in chosen if ticker in tickers), None)
    st.session_state[ORDER] = tickers
    st.session_state[TABLE] = {"selection": {"rows": [] if ticker is None else [tickers.index(ticker)]}}
    return ticker


def draw_table(table: pa.Table, state: State) -> None:
    """The ranking, and the ticker that is selected in it."""
    ticker = keep_selection(table["ticker"].to_pylist())
    st.dataframe(
        table,
        key=TABLE,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        alt="The tickers of the minute in the order of their rank",
        column_config=COLUMNS,
    )
    if ticker is None:
        return
    pick = table.slice(table["ticker"].to_pylist().index(ticker), 1).to_pylist()[0]
    with st.container(border=True, key="selected"):
        place = f"rank {pick['rank']} of {state.ranked}" if pick["rank"] is not None else "no rank"
        st.text(f"Selected: {ticker}, {place}{', ' + pick['mark'] if pick['mark'] else ''}")
        st.page_link("views/ticker.py", label=f"{ticker} over time", query_params=ticker_parameters(ticker))


@st.fragment(run_every=data.refresh_seconds(), key="picks")
def page() -> None:
    """Draw the page from what the tables hold now."""
    look = data.look()
    state = look.state
    notice_of_age(look)
    if not isinstance(look.picks, data.Rows) or state.minute is None:
        return
    graded = data.rows(look.held, "scores", look.session)
    scores = graded.table if isinstance(graded, data.Rows) else None
    cost = data.cost_bp(look.held, look.session)
    ranked = rows.pick_table(look.picks.table, scores, state.minute)
    best = ranked.slice(0, min(CARDS, state.ranked))

    if best.num_rows:
        if state.abstain is None:
            st.subheader(title(state), anchor=False)
        else:
            st.subheader(f"No pick to rely on at {clock_time(state.minute)} New York", anchor=False)
            st.text(f"Abstains: {state.abstain}. What is ranked first all the same:")
        st.text(trust(look, best["p_profit"][0].as_py()))
        draw_cards(best)
        fold = st.container()
    else:
        st.subheader(f"No pick at {clock_time(state.minute)} New York", anchor=False)
        st.text(state.abstain or "No ticker of this minute has a forecast.")
        fold = st.expander("What is known of the tickers all the same")
    notice_of_gaps(state)
    with fold:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            show = st.segmented_control(
                "show", ["few", "all"], default="few", key="show", bind="query-params", required=True
            )
            min_p = st.slider("least p_profit, %", 0, 100, 0, 5, key="min_p", bind="query-params", width=240)
        draw_table(rows.chosen(ranked, FEW if show == "few" else None, min_p), state)
        st.caption(
            f"{provenance('picks', look.picks.version, state.minute)} · ranks of {state.ranked} · cost {cost:g} bp · "
            f"graded from {'scores version ' + str(graded.version) if isinstance(graded, data.Rows) else 'no scores'}"
        )
        if isinstance(graded, data.Missing) and graded.failed:
            st.text(f"Grades could not be read: {graded.reason}")


page()
