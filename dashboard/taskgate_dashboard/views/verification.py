"""Proofs: check the recordings of a run, and what stands behind a check."""

from __future__ import annotations

from itertools import islice

import streamlit as st

from taskgate.client import SessionFilter
from taskgate.client.models import Session, Verification
from taskgate_dashboard import principals, style, times
from taskgate_dashboard.sign_in import asking, gateway

_MOST = 50
_CHECKED = "taskgate_checked"


def _line(session: Session, found: Verification | None) -> dict[str, object]:
    if found is None:
        state, problem = "not checked", ""
    elif found.ok:
        state, problem = ("intact, sealed" if found.sealed else "intact, not yet sealed"), ""
    else:
        state, problem = "BROKEN", "; ".join(one.message for one in found.problems)
    return {
        "Session": session.id,
        "Task": style.cell(principals.short(session.principal)),
        "Run": style.cell(session.principal.attempt.run_label if session.principal.attempt else "—"),
        "Opened (UTC)": times.clock(session.opened_at),
        "Recording": state,
        "Records": found.records if found else None,
        "Checkpoint": found.checkpoint if found else None,
        "Problem": style.cell(problem),
    }


columns = st.columns([1.2, 1.6, 1], vertical_alignment="bottom")
dag_id = columns[0].text_input("DAG or flow", key="verify_dag").strip()
run_id = columns[1].text_input("Run (its id)", key="verify_run").strip()
wanted = SessionFilter(dag_id=dag_id or None, run_id=run_id or None)
sessions: list[Session] = []
with asking():
    sessions = list(islice(gateway().sessions(wanted), _MOST))
checked: dict[str, Verification] = st.session_state.setdefault(_CHECKED, {})
if columns[2].button(
    f"Verify these {len(sessions)}", type="primary", icon=":material/verified:", disabled=not sessions, width="stretch"
):
    progress = st.progress(0.0, "Reading every record…")
    for number, one in enumerate(sessions, 1):
        checked.pop(one.id, None)
        with asking():
            checked[one.id] = gateway().verification(one.id)
        progress.progress(number / len(sessions))
    progress.empty()
seen = [checked[one.id] for one in sessions if one.id in checked]
broken = [one for one in seen if not one.ok]
if broken:
    st.error(f"{len(broken)} of {len(seen)} recordings are not what they were.", icon=":material/gpp_bad:")
elif seen:
    st.success(
        f"{len(seen)} recordings intact, {sum(one.sealed for one in seen)} sealed by a signed checkpoint.",
        icon=":material/verified:",
    )
if sessions:
    st.dataframe([_line(one, checked.get(one.id)) for one in sessions], hide_index=True)
else:
    style.show('<div class="tg-note">No session matches.</div>')
style.show(
    '<div class="tg-note" style="max-width:60rem">The gateway answers this about itself. For a proof that does not '
    "rest on the gateway, export a bundle (<code>taskgate export</code>) and check it elsewhere against checkpoints "
    "that were pushed out earlier (<code>taskgate verify</code>).</div>"
)
