"""The dashboard: approvals to decide, sessions to read, proofs to check. Speaks to the control API only."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from taskgate.client.models import WhoAmI
from taskgate_dashboard import style
from taskgate_dashboard.sign_in import person, sign_in_page, sign_out

_VIEWS = Path(__file__).with_name("views")


def main() -> None:
    st.set_page_config(page_title="Taskgate", page_icon=style.icon(), layout="wide")
    style.sheet()
    signed_in = person()
    # The page asked for stays in the URL, so that a link to an approval survives signing in.
    chosen = st.navigation(_pages(), position="top" if signed_in else "hidden")
    if signed_in is None:
        sign_in_page()
        return
    _who(signed_in)
    chosen.run()


def _start() -> None:
    st.switch_page(str(_VIEWS / "approvals.py"), query_params=st.query_params.to_dict())


def _pages() -> list[Page]:
    return [
        # A default page has no path of its own, and links to approvals name one.
        st.Page(_start, title="Taskgate", default=True, visibility="hidden"),
        st.Page(_VIEWS / "approvals.py", title="Approvals", icon=":material/gavel:"),
        st.Page(_VIEWS / "sessions.py", title="Sessions", icon=":material/list_alt:"),
        st.Page(_VIEWS / "timeline.py", title="Timeline", icon=":material/timeline:"),
        st.Page(_VIEWS / "verification.py", title="Verification", icon=":material/verified:"),
    ]


def _who(signed_in: WhoAmI) -> None:
    left, right = st.columns([6, 1], vertical_alignment="center")
    with left:
        style.show(
            f'<span class="tg-note">Signed in as</span> <b>{style.said(signed_in.name)}</b> &nbsp;',
            style.chips(signed_in.groups),
            "" if signed_in.kind == "user" else style.chip("service key: it can look, but never decide", "amber"),
        )
    right.button("Sign out", on_click=sign_out, width="stretch", type="tertiary")


main()
