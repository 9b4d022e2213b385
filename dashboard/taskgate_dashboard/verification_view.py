"""Whether a session's recording is what it was: asked for on demand, since every record is read and hashed."""

from __future__ import annotations

import streamlit as st

from taskgate.client.models import Verification
from taskgate_dashboard import style
from taskgate_dashboard.sign_in import asking, gateway
from taskgate_dashboard.visible import literal

_KEPT = "taskgate_verifications"


def show_verification(session_id: str) -> None:
    """A button, and what it found last in this browser session."""
    kept: dict[str, Verification] = st.session_state.setdefault(_KEPT, {})
    left, right = st.columns([1, 5], vertical_alignment="center")
    if left.button("Verify", key=f"verify-{session_id}", icon=":material/verified:", width="stretch"):
        kept.pop(session_id, None)
        with asking(), st.spinner("Reading every record…"):
            kept[session_id] = gateway().verification(session_id)
    with right:
        if found := kept.get(session_id):
            _show(found)
        else:
            style.show('<span class="tg-note">Not verified in this session of yours.</span>')


def _show(found: Verification) -> None:
    if not found.ok:
        st.error(f"{found.records} records, and something is wrong:", icon=":material/gpp_bad:")
        for problem in found.problems:
            where = f"record {problem.sequence}" if problem.sequence is not None else (problem.session_id or "session")
            st.markdown(f"- {literal(where)}: {literal(problem.message)}")
        return
    head = f'<span class="tg-mono">{style.said((found.head or "")[:16])}…</span>' if found.head else "—"
    seal = (
        style.chip(f"sealed by checkpoint {found.checkpoint}", "green")
        if found.sealed
        else style.chip("not yet covered by a checkpoint", "amber")
    )
    style.show(
        style.chip(f"{found.records} records, chain intact", "green"),
        seal,
        f'<span class="tg-note">head {head}</span>',
    )
