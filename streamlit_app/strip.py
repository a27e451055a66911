"""The first line of every page, and what a page says when its state is more than live.

What does not belong here: judging the state (core/state.py) or anything of one page.
"""

from datetime import datetime
from typing import Literal

import streamlit as st

from stockpick_assets.core.abstaining import NO_EDGE
from stockpick_assets.core.market_hours import NEW_YORK, last_session_begun
from stockpick_assets.core.state import Freshness, State
from streamlit_app import data
from streamlit_app.rows import duration

SOURCE_ICONS = {"simulated": ":material/science:", "recorded": ":material/history:", "yahoo": ":material/public:"}
FRESHNESS_ICONS = {
    Freshness.EMPTY: ":material/inbox:",
    Freshness.LIVE: ":material/check_circle:",
    Freshness.LATE: ":material/schedule:",
    Freshness.BROKEN: ":material/error:",
    Freshness.CLOSED: ":material/bedtime:",
}
FRESHNESS_COLOURS: dict[Freshness, Literal["gray", "blue", "orange"]] = {
    Freshness.EMPTY: "gray",
    Freshness.LIVE: "blue",
    Freshness.LATE: "orange",
    Freshness.BROKEN: "orange",
    Freshness.CLOSED: "gray",
}


def clock_time(minute: datetime) -> str:
    """`13:47`, New York."""
    return f"{minute.astimezone(NEW_YORK):%H:%M}"


def day_and_time(minute: datetime) -> str:
    """`2026-11-23 13:47`, New York."""
    return f"{minute.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def provenance(table: str, version: int, minute: datetime) -> str:
    """Where a number on the screen comes from."""
    return f"{data.settings().source.upper()} · {day_and_time(minute)} New York · {table} version {version}"


def freshness_words(state: State) -> str:
    """How current the newest minute is, in words."""
    if state.minute is None:
        return "no picks yet" if state.freshness is Freshness.EMPTY else "store cannot be read"
    if state.freshness is Freshness.LIVE:
        return f"live, {duration(state.age)} old"
    if state.freshness is Freshness.LATE:
        return f"{clock_time(state.minute)}, {duration(state.age)} late, waiting for {state.waiting_for}"
    if state.freshness is Freshness.BROKEN:
        return f"as of {clock_time(state.minute)}, not current"
    return "final picks of the session" if state.complete else "session not complete"


def market_words(state: State, now: datetime) -> str:
    """Whether the market is open, and how fast its clock runs where that is not the wall's."""
    speed = data.settings().speed
    replay = f", replayed ×{speed:g}" if data.settings().clock.replayed and speed != 1 else ""
    return f"market {'open' if last_session_begun(now).contains(now) else 'closed'}{replay}"


def strip() -> None:
    """Draw the status strip. Inside a fragment it keeps itself current."""
    look = data.look()
    state = look.state
    source = data.settings().source
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key="strip"):
        st.badge(source.upper(), icon=SOURCE_ICONS[source], color="violet" if source != "yahoo" else "blue")
        st.badge(market_words(state, look.now), icon=":material/storefront:", color="gray")
        if state.minute is not None:
            st.badge(f"{day_and_time(state.minute)} New York", icon=":material/calendar_clock:", color="gray")
        st.badge(
            freshness_words(state), icon=FRESHNESS_ICONS[state.freshness], color=FRESHNESS_COLOURS[state.freshness]
        )
        if state.minute is None:
            return
        if state.mixed:
            st.badge(f"{len(state.models)} models in one minute", icon=":material/call_split:", color="orange")
        elif state.abstain is not None:
            st.badge(
                NO_EDGE if state.abstain.startswith(NO_EDGE) else "abstains",
                icon=":material/do_not_disturb_on:",
                color="orange",
            )
        if state.models:
            st.badge(f"model {' and '.join(state.models)}", icon=":material/model_training:", color="gray")
        st.badge(f"picks version {look.held['picks'].version}", icon=":material/database:", color="gray")
        st.page_link(
            data.links().asset("raw_prices"),
            label=f"{state.present} of {state.expected} tickers have a bar",
            icon=":material/open_in_new:",
        )


def notice_of_age(look: data.Look) -> None:
    """Say what stands in the way of calling the newest minute current. Draws nothing while it is live."""
    state, links = look.state, data.links()
    icon = FRESHNESS_ICONS[state.freshness]
    if state.freshness is Freshness.EMPTY:
        day = last_session_begun(look.now).label()
        st.info(f"There are no picks of the {data.settings().source} source yet.", icon=icon)
        st.text("Fill the tables of the latest session from a terminal:")
        st.code(f"stockpick backfill {day} {day}", language="bash")
        _dagster(links.asset("picks"), "or materialize picks in Dagster")
    elif state.freshness is Freshness.LATE:
        st.warning(f"{freshness_words(state)}. What stands below is the last good minute.", icon=icon)
        _dagster(links.asset(state.waiting_for or "picks", "events"), "the asset it waits for, in Dagster")
    elif state.freshness is Freshness.BROKEN:
        since = (
            f"As of {day_and_time(state.minute)} New York, not current." if state.minute else "Nothing can be shown."
        )
        st.error(
            since if state.failure else f"{since} Nothing has come for {duration(state.age)} of market time.", icon=icon
        )
        if state.failure:
            st.text(state.failure)
        _dagster(links.asset("picks", "events"), "the picks asset, in Dagster")
    elif state.freshness is Freshness.CLOSED and state.opening is not None:
        which = "final" if state.complete else "last"
        st.info(
            f"The market is closed. It opens on {state.opening.astimezone(NEW_YORK):%A, %Y-%m-%d at %H:%M} New York, "
            f"in {duration(state.opening - look.now)}. Below: the {which} picks of {look.session}.",
            icon=icon,
        )
        if state.minute is not None and state.due is not None and not state.complete:
            st.text(
                f"The tables end at {day_and_time(state.minute)}; the session went on to {day_and_time(state.due)}."
            )


def notice_of_gaps(state: State) -> None:
    """Say which tickers the newest minute lacks and why, and whether its forecasts compare."""
    if state.minute is None:
        return
    if state.mixed:
        st.warning(
            f"This minute holds forecasts of {len(state.models)} models; their ranks do not compare.",
            icon=":material/call_split:",
        )
    if state.partial:
        lacking = f"{state.expected - state.present} of {state.expected} tickers have no bar"
        with st.expander(f"{lacking} at {clock_time(state.minute)}; ranks are of {state.ranked}"):
            for reason, tickers in state.without.items():
                st.text(f"{reason} ({len(tickers)}): {', '.join(tickers)}")


def _dagster(address: str, label: str) -> None:
    st.page_link(address, label=label, icon=":material/open_in_new:")
