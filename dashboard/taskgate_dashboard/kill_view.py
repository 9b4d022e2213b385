"""Ending a live session: offered to those whose key may, and asked once more."""

from __future__ import annotations

import streamlit as st

from taskgate.client import Conflict
from taskgate.client.models import Session
from taskgate_dashboard import principals, style
from taskgate_dashboard.sign_in import asking, gateway, may

_ASKED, _ENDED, _REASON = "taskgate_kill_asked", "taskgate_killed", "taskgate_kill_reason"


def kill_button(session: Session) -> None:
    if session.state == "open" and session.id in st.session_state.get(_ENDED, ()):
        style.show('<span class="tg-note">It is being ended; its end is on record in a moment.</span>')
    elif session.state == "open" and may("sessions:kill"):
        asked = st.session_state.get(_ASKED) == session.id
        st.button(
            "End session…", key="kill", icon=":material/cancel:", on_click=_ask, args=(session.id,), disabled=asked
        )


def kill_question(session: Session) -> None:
    """What the button asks."""
    if session.state == "open" and st.session_state.get(_ASKED) == session.id:
        _confirm(session)


def _ask(session_id: str) -> None:
    st.session_state[_ASKED] = session_id


def _forget() -> None:
    for name in (_ASKED, _REASON):
        st.session_state.pop(name, None)


def _confirm(session: Session) -> None:
    with st.container(border=True):
        what = f"{principals.short(session.principal)} at {session.target}"
        style.show(
            style.head("End this session"),
            f"<div><b>{style.said(what)}</b></div>",
            '<div class="tg-note">Client and target are cut off within a second; what runs is cancelled, an open '
            "transaction is rolled back. The task may connect again.</div>",
        )
        reason = st.text_input("Reason", key=_REASON, max_chars=1000, placeholder="Recorded, and told to the client")
        yes, no, _ = st.columns([1, 1, 2])
        if yes.button("Yes, end it", key="kill-confirm", type="primary", icon=":material/cancel:", width="stretch"):
            _kill(session.id, reason)
        no.button("Back", key="kill-back", width="stretch", on_click=_forget)


def _kill(session_id: str, reason: str) -> None:
    done = False
    with asking():
        try:
            gateway().kill_session(session_id, reason)
        except Conflict:
            st.toast("It is closed already.", icon=":material/info:")
        done = True
    if done:
        st.session_state.setdefault(_ENDED, set()).add(session_id)
        st.session_state.pop(_ASKED, None)
        st.rerun()
