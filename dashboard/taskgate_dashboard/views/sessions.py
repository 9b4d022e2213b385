"""Which sessions there were: by DAG, run, task and target."""

from __future__ import annotations

from itertools import islice

import streamlit as st

from taskgate.client import SessionFilter
from taskgate.client.models import Session
from taskgate_dashboard import principals, style, times
from taskgate_dashboard.sign_in import asking, gateway

_MOST = 200
_STATES = ["any", "open", "closed", "lost"]


def _filter() -> SessionFilter:
    columns = st.columns([1.2, 1.4, 1.2, 1, 0.7])
    dag_id = columns[0].text_input("DAG", key="dag_id")
    run_id = columns[1].text_input("Run", key="run_id")
    task_id = columns[2].text_input("Task", key="task_id")
    target = columns[3].text_input("Target", key="target")
    state = columns[4].selectbox("State", _STATES, key="state")
    return SessionFilter(
        dag_id=dag_id.strip() or None,
        run_id=run_id.strip() or None,
        task_id=task_id.strip() or None,
        target=target.strip() or None,
        state=None if state == "any" else state,
    )


def _row(session: Session) -> dict[str, object]:
    attempt = session.principal.attempt
    ended = session.closed_at
    return {
        "Opened (UTC)": session.opened_at,
        "DAG": style.cell(attempt.task.dag_id if attempt else "—"),
        "Run": style.cell(attempt.task.run_id if attempt else "—"),
        "Task": style.cell(attempt.task.task_id if attempt else session.principal.name),
        "Try": attempt.try_number if attempt else None,
        "Target": session.target,
        "State": session.state,
        "Actions": session.actions,
        "Refused": session.refused,
        "Rows": session.rows,
        "Masked": session.masked,
        "Lasted": times.length((ended - session.opened_at).total_seconds()) if ended else "open",
    }


def _totals(sessions: list[Session]) -> None:
    columns = st.columns(4)
    columns[0].metric("Sessions", f"{len(sessions)}{'+' if len(sessions) == _MOST else ''}")
    columns[1].metric("Actions", f"{sum(one.actions for one in sessions):,}")
    columns[2].metric("Refused", f"{sum(one.refused for one in sessions):,}")
    columns[3].metric("Values masked", f"{sum(one.masked for one in sessions):,}")


chosen_filter = _filter()
sessions: list[Session] = []
with asking():
    sessions = list(islice(gateway().sessions(chosen_filter), _MOST))
if sessions:
    _totals(sessions)
    picked = st.dataframe(
        [_row(one) for one in sessions],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="picked",
        column_config={"Opened (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone="UTC")},
    )
    rows = picked["selection"]["rows"]
    if rows:
        one = sessions[rows[0]]
        st.switch_page("views/timeline.py", query_params={"id": one.id})
    style.show(
        f'<div class="tg-note">Pick a row to read what happened. Newest first, at most {_MOST}. '
        f"Last: {style.said(principals.short(sessions[0].principal))}, {times.since(sessions[0].opened_at)}.</div>"
    )
else:
    style.show('<div class="tg-note">No session matches.</div>')
