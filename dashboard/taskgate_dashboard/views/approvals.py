"""The inbox: what waits for a human on the left, one request whole on the right.

The list renews itself every two seconds; the request on the right stays where it is, so that no click lands on
something that has just moved there.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Literal

import streamlit as st

from taskgate.client import Conflict, NotPermitted
from taskgate.client.models import Approval, ApprovalParameter
from taskgate.domain import ApprovalState
from taskgate_dashboard import effects, principals, style, times
from taskgate_dashboard.approval_view import STATE_COLOURS, show_request, waiting_chip
from taskgate_dashboard.asked_task import AskedTask
from taskgate_dashboard.sign_in import asking, gateway, person
from taskgate_dashboard.visible import literal

_SCOPES = {"Mine to decide": True, "All pending": False, "Decided": None}
_NOTHING = {"Mine to decide": "Nothing waits for you."}
_SHOWN = 100
_ASKED, _COMMENT, _PARAMETERS = "taskgate_asked", "taskgate_comment", "taskgate_parameters"


def _chosen() -> str | None:
    return st.query_params.get("id")


def _choose(approval_id: str) -> None:
    st.query_params["id"] = approval_id
    _forget()


def _forget() -> None:
    for name in (_ASKED, _COMMENT):
        st.session_state.pop(name, None)


def _listed(scope: str) -> list[Approval]:
    """The newest hundred at most. Pending ones oldest first, so that new ones appear below and nothing moves; decided
    ones with the last decision first."""
    mine = _SCOPES[scope]
    states = ["pending"] if mine is not None else ["approved", "denied", "expired", "withdrawn"]
    found = list(islice(gateway().approvals(state=states, mine=True if mine else None), _SHOWN))
    if mine is None:
        return sorted(found, key=lambda one: one.decided_at or one.requested_at, reverse=True)
    return sorted(found, key=lambda one: one.requested_at)


def _of_task(task: AskedTask) -> list[Approval]:
    """What a task asked for, whatever became of it: what waits first, then the newest."""
    asked = gateway().approvals(dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id)
    found = list(islice((one for one in asked if task.matches(one.principal)), _SHOWN))
    return sorted(found, key=lambda one: one.state is not ApprovalState.PENDING)


@st.fragment(run_every="2s")
def inbox(scope: str, task: AskedTask | None = None) -> None:
    approvals: list[Approval] = []
    with asking():
        approvals = _listed(scope) if task is None else _of_task(task)
    if not approvals:
        nothing = "This task has asked for nothing." if task is not None else _NOTHING.get(scope, "None.")
        style.show(f'<div class="tg-note">{nothing}</div>')
        return
    chosen = _chosen()
    decided = scope == "Decided" or task is not None
    for approval in approvals:
        label = f"**{literal(effects.summary(approval.pairs))}**  \n{literal(principals.short(approval.principal))}"
        kind: Literal["primary", "secondary"] = "primary" if approval.id == chosen else "secondary"
        if st.button(label, key=f"open-{approval.id}", type=kind, width="stretch"):
            _choose(approval.id)
            st.rerun()  # the whole page: the request stands outside this fragment
        held = waiting_chip(approval)
        stuck = style.chip("nobody may decide", "red") if approval.nobody_may_because else ""
        outdated = style.chip("outdated") if approval.outdated_because else ""
        when = times.since(approval.decided_at or approval.requested_at)
        run = principals.run(approval.principal)
        style.show(
            f'<div style="margin:-.6rem 0 .3rem .2rem"><span class="tg-when">{when}</span> ',
            f'<span class="tg-when">{style.said(run)}</span> ' if run else "",
            style.chip(approval.target),
            held or (style.chip(approval.state.value, STATE_COLOURS[approval.state]) if decided else ""),
            stuck,
            outdated,
            "</div>",
        )


def _parameters(approval: Approval) -> list[ApprovalParameter] | None:
    """Asked for once a request and person: each look is recorded. None: this person may not see them."""
    pending = approval.state is ApprovalState.PENDING
    if pending and not approval.may_decide:
        return None
    kept: dict[str, list[ApprovalParameter] | None] = st.session_state.setdefault(_PARAMETERS, {})
    if approval.id not in kept:
        with asking():
            kept.clear()
            try:
                kept[approval.id] = gateway().approval_parameters(approval.id).parameters
            except NotPermitted:
                if pending:
                    raise
                kept[approval.id] = None
    return kept.get(approval.id)


@st.fragment(run_every="2s")
def detail(approval_id: str) -> None:
    approval: Approval | None = None
    with asking():
        approval = gateway().approval(approval_id)
    if approval is None:
        return
    parameters = _parameters(approval)
    if approval.state is ApprovalState.PENDING:
        show_request(approval, parameters, partial(decision, approval, parameters))
    else:
        _forget()
        show_request(approval, parameters, partial(_decided, approval))


def _decided(approval: Approval) -> None:
    by = literal(approval.decided_by or "")
    match approval.state:
        case ApprovalState.APPROVED:
            st.success(f"Approved by {by}. The task finds its grant.", icon=":material/check_circle:")
        case ApprovalState.DENIED:
            st.error(f"Denied by {by}. The task is told so.", icon=":material/block:")
        case ApprovalState.EXPIRED:
            st.info("Nobody decided in time: it counts as denied.", icon=":material/timer_off:")
        case _:
            st.info("Withdrawn: the task no longer asks.", icon=":material/undo:")


def decision(approval: Approval, parameters: list[ApprovalParameter] | None) -> None:
    signed_in = person()
    if not approval.may_decide or signed_in is None:
        why = approval.may_not_because or "your key does not allow it"
        st.info(f"You cannot decide this one: {literal(why)}", icon=":material/lock:")
        return
    if parameters is None:
        st.warning("The bound parameters could not be read: what nobody has seen is not decided here.")
        return
    asked: tuple[str, str, bool] | None = st.session_state.get(_ASKED)
    if asked is not None and asked[:2] == (approval.id, approval.digest):
        _confirm(approval, approve=asked[2])
        return
    with st.container(border=True):
        st.text_input("Comment", key=_COMMENT, max_chars=4000, placeholder="Recorded with the decision (optional)")
        yes, no, _ = st.columns([1, 1, 2])
        for column, label, approve, icon in (
            (yes, "Approve…", True, ":material/check:"),
            (no, "Deny…", False, ":material/close:"),
        ):
            column.button(
                label,
                key="approve" if approve else "deny",
                type="primary" if approve else "secondary",
                icon=icon,
                width="stretch",
                on_click=_ask,
                args=(approval, approve),
            )


def _ask(approval: Approval, approve: bool) -> None:
    st.session_state[_ASKED] = (approval.id, approval.digest, approve)
    st.session_state["taskgate_said"] = st.session_state.get(_COMMENT) or None


def _confirm(approval: Approval, *, approve: bool) -> None:
    comment = st.session_state.get("taskgate_said")
    with st.container(border=True):
        summary = f"{effects.summary(approval.pairs)} at {approval.target}, for {principals.short(approval.principal)}"
        run = principals.run(approval.principal)
        style.show(
            style.head("Approve" if approve else "Deny"),
            f"<div><b>{style.said(summary)}</b></div>",
            f"<div>in run {style.said(run)}</div>" if run else "",
            f'<div class="tg-note">“{style.said(comment)}”</div>' if comment else "",
        )
        yes, no, _ = st.columns([1, 1, 2])
        if yes.button(
            "Yes, approve" if approve else "Yes, deny",
            key="confirm" if approve else "deny-confirm",
            type="primary",
            width="stretch",
            icon=":material/check:" if approve else ":material/block:",
        ):
            _decide(approval, approve=approve, comment=comment)
        no.button("Back", key="back", width="stretch", on_click=_forget)


def _decide(approval: Approval, *, approve: bool, comment: str | None) -> None:
    _forget()
    with asking():
        try:
            gateway().approve(approval.id, comment) if approve else gateway().deny(approval.id, comment)
        except Conflict:
            st.toast("Somebody else was faster, or it expired.", icon=":material/info:")
    st.rerun()


task = AskedTask.from_query()
if task is not None:
    task.show()
list_side, request_side = st.columns([1, 2.4], gap="large")
with list_side:
    scope: str | None = None
    if task is None:
        scope = st.segmented_control(
            "Show", list(_SCOPES), default="Mine to decide", required=True, label_visibility="collapsed", key="scope"
        )
    inbox(scope or "Mine to decide", task)
with request_side:
    if approval_id := _chosen():
        with st.container(gap="small"):
            detail(approval_id)
    else:
        style.show('<div class="tg-note" style="margin-top:3rem">Pick a request to see exactly what would run.</div>')
