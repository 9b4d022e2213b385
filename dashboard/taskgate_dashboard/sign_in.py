"""Who looks: each person signs in with their own API key, which only this browser session's memory holds.

Never in the URL, a cookie, a cache or a log; gone when the tab is closed or the person signs out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from taskgate.client import Client, ConnectionSettingsError, NotAuthenticated, TaskgateApiError
from taskgate.client.models import WhoAmI
from taskgate_dashboard.visible import literal

_CLIENT, _PERSON, _SAY = "taskgate_client", "taskgate_person", "taskgate_say"


def address() -> str:
    """The control API: `TASKGATE_URL`."""
    return os.environ.get("TASKGATE_URL", "http://127.0.0.1:8400")


def person() -> WhoAmI | None:
    """Who signed in; None: nobody yet."""
    found: WhoAmI | None = st.session_state.get(_PERSON)
    return found


def may(scope: str) -> bool:
    """Whether the key of who signed in has this scope (never one for deciding): what to offer. The gateway checks."""
    signed_in = person()
    return signed_in is not None and (scope in signed_in.scopes or "admin" in signed_in.scopes)


def gateway() -> Client:
    """The client of the person who signed in."""
    client: Client = st.session_state[_CLIENT]
    return client


def sign_out(say: str | None = None) -> None:
    client = st.session_state.pop(_CLIENT, None)
    if client is not None:
        client.close()
    st.session_state.clear()
    if say:
        st.session_state[_SAY] = say


def sign_in_page() -> None:
    _, middle, _ = st.columns([1, 1.4, 1])
    with middle:
        st.title("Taskgate", anchor=False)
        st.caption("Decide what tasks may do, and read what they did.")
        if said := st.session_state.pop(_SAY, None):
            st.warning(said)
        with st.form("sign-in", clear_on_submit=True):
            key = st.text_input(
                "Your API key",
                type="password",
                autocomplete="off",
                help="Made for you by `taskgate api-key create`. It stays in this browser session and is never shared: "
                "decisions are yours.",
            )
            submitted = st.form_submit_button("Sign in", type="primary", width="stretch")
        if submitted:
            _try(key.strip())
        st.caption(f"Gateway: {address()}")


def _try(key: str) -> None:
    if not key:
        st.error("Paste your API key first.")
        return
    try:
        client = Client(address(), key, timeout=10.0, tries=2)
        found = client.whoami()
    except ConnectionSettingsError as error:
        st.error(f"Cannot use this: {literal(error)}")
        return
    except NotAuthenticated:
        st.error("This key is unknown, expired or revoked.")
        return
    except TaskgateApiError as error:
        show_error(error)
        return
    st.session_state[_CLIENT], st.session_state[_PERSON] = client, found
    st.rerun()


@contextmanager
def asking() -> Iterator[None]:
    """Around every use of the gateway: errors are shown as people can act on them; a key that no longer works signs
    out. What follows in the page goes on without the answer."""
    try:
        yield
    except NotAuthenticated:
        sign_out("Your key no longer works: it expired or was revoked.")
        st.rerun()
    except TaskgateApiError as error:
        show_error(error)


def show_error(error: TaskgateApiError) -> None:
    parts = [str(error)]
    if error.detail and error.detail not in parts[0]:
        parts.append(error.detail)
    if error.hint:
        parts.append(error.hint)
    if error.request_id:
        parts.append(f"Request {error.request_id}")
    st.error("\n\n".join(literal(part) for part in parts), icon=":material/error:")
