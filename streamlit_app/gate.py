"""Who may see the app: everyone on this machine, and beyond it those whom `.streamlit/secrets.toml` lets in.

`[auth]` there is Streamlit's own section for an OpenID Connect provider; `[gate]` has `emails`, the list of those who
may pass, or `without_login = true` where something else keeps strangers out, such as a port published on loopback.
"""

import ipaddress

import streamlit as st


def is_loopback(address: str | None) -> bool:
    """Whether a server bound to that address is reached from this machine alone; an unset address is every one."""
    if not address or address == "localhost":
        return bool(address)
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def gate() -> None:
    """Stop the script before it shows anything, unless this visitor may pass."""
    secrets = st.secrets if st.secrets.load_if_toml_exists() else {}
    rules = secrets.get("gate", {})
    if "auth" in secrets:
        if not st.user.get("is_logged_in", False):
            st.title("stockpick")
            st.button("Log in", on_click=st.login)
            st.stop()
        if st.user.get("email") not in rules.get("emails", ()):
            st.error("This account may not see the app. Ask its operator to add it to the list.")
            st.button("Log out", on_click=st.logout)
            st.stop()
    elif not is_loopback(st.get_option("server.address")) and not rules.get("without_login", False):
        st.error("The app can be reached from other machines and has no login, so it shows nothing.")
        st.text("Bind it to 127.0.0.1, or configure [auth] in .streamlit/secrets.toml.")
        st.stop()
