"""Which sessions there were: by parts of names, person, target, state and day, or those of the task that a link names;
a page at a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import streamlit as st

from taskgate.client import SessionFilter
from taskgate.client.models import Page, Session
from taskgate_dashboard import principals, style, times
from taskgate_dashboard.asked_task import AskedTask
from taskgate_dashboard.sign_in import asking, gateway

_PAGE = 100
_STATES = ["any", "open", "closed"]
_PLACE = "taskgate_sessions_place"


def _filter() -> SessionFilter:
    columns = st.columns([2, 1.2, 1, 0.8, 1, 1])
    name = columns[0].text_input("DAG, run or task", key="name", placeholder="parts of their names")
    person = columns[1].text_input(
        "Person", key="person", help="Who acted, or who triggered the run: part of the name."
    )
    target = columns[2].text_input("Target", key="target")
    state = columns[3].selectbox("State", _STATES, key="state")
    since = columns[4].date_input("From (UTC)", value=None, key="since", format="YYYY-MM-DD")
    until = columns[5].date_input("To (UTC)", value=None, key="until", format="YYYY-MM-DD")
    return SessionFilter(
        name=name.strip() or None,
        person=person.strip() or None,
        target=target.strip() or None,
        state=None if state == "any" else state,
        since=_midnight(since) if since else None,
        until=_midnight(until) + timedelta(days=1) if until else None,
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _cursors(chosen: SessionFilter) -> list[str | None]:
    """How the pages up to the one shown begin; another search begins at the first."""
    kept: tuple[SessionFilter | None, list[str | None]] = st.session_state.get(_PLACE, (None, []))
    if kept[0] != chosen:
        kept = (chosen, [None])
        st.session_state[_PLACE] = kept
    return kept[1]


def _back() -> None:
    st.session_state[_PLACE][1].pop()


def _person(session: Session) -> str:
    named = session.principal.attributes.get("triggering_user", "—")
    return session.principal.name if session.principal.kind == "user" else str(named)


def _row(session: Session) -> dict[str, object]:
    attempt = session.principal.attempt
    ended = session.closed_at
    return {
        "Opened (UTC)": session.opened_at,
        "DAG or flow": style.cell(attempt.task.dag_id if attempt else "—"),
        "Run": style.cell(attempt.run_label if attempt else "—"),
        "Task": style.cell((attempt.task.task_id or "—") if attempt else session.principal.name),
        "Person": style.cell(_person(session)),
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
    columns[0].metric("Sessions", f"{len(sessions)}")
    columns[1].metric("Actions", f"{sum(one.actions for one in sessions):,}")
    columns[2].metric("Refused", f"{sum(one.refused for one in sessions):,}")
    columns[3].metric("Values masked", f"{sum(one.masked for one in sessions):,}")


def _turning(cursors: list[str | None], following: str | None) -> None:
    if len(cursors) == 1 and following is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Newer", key="newer", icon=":material/chevron_left:", disabled=len(cursors) == 1, on_click=_back)
        st.button(
            "Older",
            key="older",
            icon=":material/chevron_right:",
            disabled=following is None,
            on_click=cursors.append,
            args=(following,),
        )
        style.show(f'<span class="tg-note">Page {len(cursors)}; the figures above are this page\'s.</span>')


task = AskedTask.from_query()
if task is not None:
    task.show()
chosen_filter = _filter()
if task is not None:
    chosen_filter = task.sessions(chosen_filter)
cursors = _cursors(chosen_filter)
found = Page[Session](items=[])
with asking():
    found = gateway().sessions_page(chosen_filter, cursor=cursors[-1], limit=_PAGE)
sessions = [one for one in found.items if task is None or task.matches(one.principal)]
if sessions:
    _totals(sessions)
    picked = st.dataframe(
        [_row(one) for one in sessions],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"picked-{len(cursors)}",
        column_config={"Opened (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone="UTC")},
    )
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(sessions):
        st.switch_page("views/timeline.py", query_params={"id": sessions[rows[0]].id})
    style.show(
        '<div class="tg-note">Pick a row to read what happened. Newest first. '
        f"Last: {style.said(principals.short(sessions[0].principal))}, {times.since(sessions[0].opened_at)}.</div>"
    )
else:
    style.show('<div class="tg-note">No session matches.</div>')
_turning(cursors, found.next_cursor)
