"""Alerts: what fired, whether it reached anyone, and why not.

`/alerts?id=…` shows one alert alone. What does not belong here: the figures (alerts.py, core/).
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import streamlit as st

from stockpick_assets.core.alerts import Status
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.schemas import ALERTS
from streamlit_app import alerts, data
from streamlit_app.rows import ABSENT

ICONS = {
    Status.PENDING: ":material/hourglass_empty:",
    Status.SENT: ":material/check_circle:",
    Status.FAILED: ":material/error:",
    Status.EXPIRED: ":material/timer_off:",
    Status.SUPPRESSED: ":material/notifications_off:",
}


def draw_nothing_yet(reason: str) -> None:
    """What to do where no alert has been raised."""
    st.info("No alert has been raised yet.", icon=":material/inbox:")
    st.text(f"{reason}. Which rules there are, and whether their channels answer, a terminal tells:")
    st.code("stockpick alert rules\nstockpick alert test", language="bash")


def draw_one(row: Mapping[str, Any]) -> None:
    """An alert as it was sent, and what became of it."""
    st.subheader(f"{ICONS[row['status']]} {row['status'].capitalize()}", anchor=False)
    st.text(row["text"])
    st.text(f"{row['detail'] or 'It has not been delivered yet'}. {row['attempts']} attempts.")
    if link := alerts.link(row["text"]):
        st.page_link(link, label="Where it points to", icon=":material/open_in_new:")
    st.caption(f"{row['source'].upper()} · {row['rule']} · {minute_label(row['minute'])} New York · {row['id']}")


def draw_table(rows: pa.Table) -> None:
    """The newest alerts."""
    st.dataframe(
        alerts.table(rows),
        key="alerts",
        hide_index=True,
        placeholder=ABSENT,
        alt="The newest alerts with what became of each",
        column_config={
            "minute": st.column_config.DatetimeColumn("minute, New York", format="YYYY-MM-DD HH:mm"),
            "alert": st.column_config.TextColumn(width="large"),
            "link": st.column_config.LinkColumn(display_text="open"),
            "whole": st.column_config.LinkColumn("whole text", display_text="read"),
        },
    )


@st.fragment(run_every=data.refresh_seconds(), key="alerts_page")
def page() -> None:
    """Draw the page from what the table holds now."""
    read = data.whole(ALERTS.name)
    if isinstance(read, data.Missing):
        if read.failed:
            st.error("Nothing can be shown.", icon=":material/error:")
            st.text(read.reason)
        else:
            draw_nothing_yet(read.reason)
        return
    asked = st.query_params.get("id")
    if asked is not None:
        row = alerts.of_id(read.table, asked)
        if row is None:
            st.warning("There is no alert of that id.", icon=":material/help:")
            st.text(one_line(asked, 80))
        else:
            draw_one(row)
        return
    rows = alerts.newest(read.table)
    st.text(f"The newest {rows.num_rows} of {read.table.num_rows} alerts: {alerts.summary(rows)}.")
    draw_table(rows)
    st.caption(f"{data.settings().source.upper()} · alerts version {read.version}")


page()
