"""The gate and the navigation: run for every request, before any page.

Started from the root of the project by `python -m streamlit run streamlit_app/app.py`, which reads
.streamlit/config.toml. What does not belong here: anything a page shows.
"""

import streamlit as st

from streamlit_app import data
from streamlit_app.gate import gate
from streamlit_app.strip import strip

st.set_page_config(page_title="stockpick", page_icon="📈", layout="wide")
gate()
page = st.navigation(
    [
        st.Page("views/picks.py", title="Picks", icon=":material/format_list_numbered:", default=True),
        st.Page("views/ticker.py", title="Ticker", icon=":material/show_chart:", url_path="ticker"),
        st.Page("views/trust.py", title="Trust", icon=":material/verified:", url_path="trust"),
        st.Page("views/alerts.py", title="Alerts", icon=":material/notifications:", url_path="alerts"),
    ],
    position="top",
)
st.fragment(strip, run_every=data.refresh_seconds(), key="strip")()
page.run()
