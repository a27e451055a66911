"""Ticker: what has it done, and what did we say?"""

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from stockpick_assets.core.links import LinkError, minute_from_link, ticker_from_link
from stockpick_assets.core.market_hours import session_of
from stockpick_assets.core.universe import NASDAQ_100
from streamlit_app import charts, data, rows
from streamlit_app.rows import ABSENT
from streamlit_app.strip import day_and_time, notice_of_age


def universe(look: data.Look) -> list[str]:
    """The tickers that can be chosen."""
    seen: list[Any] = look.picks.table["ticker"].unique().to_pylist() if isinstance(look.picks, data.Rows) else []
    named = (*data.settings().tickers, *data.settings().extra_tickers)
    return sorted({*named, *seen}) if data.settings().tickers or seen else sorted({*named, *NASDAQ_100})


def choose(tickers: list[str]) -> tuple[str | None, str | None]:
    """What the link or its reader chose: a ticker, and the text of a minute that fixes the page. None for neither.

    The link is read before the widget, which drops a value it does not know without a word.
    """
    named = st.query_params.get("ticker")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ticker = st.selectbox(
            "Ticker", tickers, index=None, key="ticker", bind="query-params", placeholder="choose", width=160
        )
        minute = st.text_input(
            "Minute, New York", None, key="minute", bind="query-params", placeholder="newest", width=180
        )
    if named:
        ticker_from_link(named, tickers)
    return ticker, minute


def draw_numbers(pick: dict[str, Any], ranked: int) -> None:
    """What was said of the ticker at one minute. pick: its row of picks."""
    expected = pick["expected_obtainable_return"]
    with st.container(horizontal=True, gap="medium", key="numbers"):
        for label, value in (
            ("price, $", _number(pick["price"], ".2f")),
            ("day", _number(pick["change_day"], "+z.2%")),
            ("5 min", _number(pick["change_5m"], "+z.2%")),
            ("rank", f"{pick['rank']} of {ranked}" if pick["rank"] is not None else ABSENT),
            ("p_profit", _number(pick["p_profit"], ".1%")),
            ("obtainable, bp", _number(None if expected is None else expected * rows.BASIS_POINTS, "+.1f")),
            ("pop_window", _number(pick["pop_window"], ".2f")),
        ):
            st.metric(label, value, width="content")
    if pick["abstain"]:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("abstains", icon=":material/do_not_disturb_on:", color="orange")
            st.text(pick["abstain"])


def draw_charts(ticker: str, history: pa.Table, fixed: datetime | None) -> None:
    """Price with picks, probability, and gaps, above one another on one time axis."""
    minutes = history["minute"]
    panel = charts.Panel(minutes[0].as_py(), minutes[-1].as_py(), st.context.theme.type or "light", fixed)
    st.text("Close, $")
    st.altair_chart(
        charts.price(panel, history),
        key="price",
        width="stretch",
        alt=f"Price of {ticker} by minute, with the minutes at which it was among the best five",
    )
    st.text("p_profit, %; grey: from the lowest to the highest of all tickers")
    st.altair_chart(
        charts.probability(panel, history),
        key="probability",
        width="stretch",
        alt=f"Probability of profit of {ticker} by minute, in the band of all tickers",
    )
    runs = rows.runs_without_bar(history)
    if runs:
        st.text(f"{sum(run.minutes for run in runs)} of {len(minutes)} minutes have no bar:")
        st.altair_chart(
            charts.gaps(panel, runs),
            key="gaps",
            width="stretch",
            alt=f"Minutes without a bar of {ticker}, by reason",
        )
    else:
        st.text(f"Each of the {len(minutes)} minutes has a bar.")


def draw_table(history: pa.Table) -> None:
    """The charts as a table, newest minute first."""
    shown = history.append_column("time", pc.strftime(rows.new_york(history["minute"]), format="%H:%M"))
    shown = shown.take(pa.array(range(shown.num_rows - 1, -1, -1)))
    with st.expander("The same as a table"):
        st.dataframe(
            shown,
            key="history",
            hide_index=True,
            placeholder=ABSENT,
            alt="Every minute of the charts above: price, reason, rank, probability and grade",
            column_order=[
                "time",
                "close",
                "reason",
                "detail",
                "rank",
                "p_profit",
                "obtainable_bp",
                "excess_bp",
                "pop_window",
                "mark",
                "grade",
            ],
            column_config={
                "time": st.column_config.TextColumn("New York", width=70),
                "close": st.column_config.NumberColumn("close, $", format="%.2f"),
                "p_profit": st.column_config.NumberColumn("p_profit", format="%.1f %%"),
                "obtainable_bp": st.column_config.NumberColumn("obtainable, bp", format="%+.1f"),
                "excess_bp": st.column_config.NumberColumn("excess, bp", format="%+.1f"),
                "pop_window": st.column_config.NumberColumn("pop_window", format="%.2f"),
            },
        )


def draw(ticker: str, fixed: datetime | None) -> None:
    """Draw one ticker, at the minute that is fixed or at the newest."""
    look = data.look()
    minute = fixed or look.state.minute
    if fixed is None:
        notice_of_age(look)
    if minute is None:
        return
    session = session_of(minute)
    read = {name: data.rows(look.held, name, session.date) for name in ("picks", "raw_prices", "scores")}
    found = {name: answer.table for name, answer in read.items() if isinstance(answer, data.Rows)}
    for answer in read.values():
        if isinstance(answer, data.Missing):
            st.text(answer.reason)
    if not found:
        return

    said = rows.at_minute(found["picks"], minute).to_pylist() if "picks" in found else []
    pick = next((row for row in said if row["ticker"] == ticker), None)
    if pick is not None:
        ranked = sum(row["rank"] is not None for row in said)
        draw_numbers(pick, ranked)
    else:
        st.text(f"picks has no row of {ticker} at {day_and_time(minute)} New York.")
    newest = look.held["raw_prices"].minute if "raw_prices" in look.held else None
    last = max(minute, min(newest or minute, session.last_minute))
    history = rows.history(found.get("picks"), found.get("raw_prices"), found.get("scores"), ticker, session.open, last)
    draw_charts(ticker, history, fixed)
    draw_table(history)
    versions = " · ".join(
        f"{name} version {answer.version}" for name, answer in read.items() if isinstance(answer, data.Rows)
    )
    st.caption(f"{data.settings().source.upper()} · {day_and_time(minute)} New York · {versions}")


def _number(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form).replace("%", " %")


def page() -> None:
    """Draw what was chosen, live unless a minute fixes it."""
    try:
        ticker, chosen = choose(universe(data.look()))
        minute = minute_from_link(chosen) if chosen else None
    except LinkError as error:
        st.error("This link cannot be followed.", icon=":material/link_off:")
        st.text(str(error))
        return
    if ticker is None:
        st.text("Choose a ticker, or take one of the picks.")
    elif minute is None:
        st.fragment(draw, run_every=data.refresh_seconds(), key="ticker_history")(ticker, None)
    else:
        st.info(
            f"Fixed at {day_and_time(minute)} New York: nothing below is live. Empty the field to follow the newest.",
            icon=":material/push_pin:",
        )
        draw(ticker, minute)


page()
