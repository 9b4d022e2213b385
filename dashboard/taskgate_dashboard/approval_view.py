"""One approval, whole: exactly what the decision covers, and nothing an approver could misread."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from taskgate.client.models import Approval, ApprovalParameter
from taskgate.domain import ApprovalState
from taskgate.visible import warnings
from taskgate_dashboard import effects, principals, style, times
from taskgate_dashboard.visible import literal

TIMELINE = Path(__file__).with_name("views") / "timeline.py"
STATE_COLOURS = {
    ApprovalState.PENDING: "amber",
    ApprovalState.APPROVED: "green",
    ApprovalState.DENIED: "red",
    ApprovalState.EXPIRED: "grey",
    ApprovalState.WITHDRAWN: "grey",
}


def show_request(approval: Approval, parameters: list[ApprovalParameter] | None, decide: Callable[[], None]) -> None:
    """`parameters` None: this person may not see them. `decide` shows the buttons: below what runs, above what it is
    bound to."""
    style.show(
        style.title(f"{effects.summary(approval.pairs)} at {approval.target}"),
        style.chip(approval.state.value, STATE_COLOURS[approval.state]),
        waiting_chip(approval),
        "".join(style.chip(pair, effects.colour(pair), mono=True) for pair in approval.pairs),
    )
    if approval.nobody_may_because:
        st.error(
            f"Nobody may decide this as things are: {literal(approval.nobody_may_because)}", icon=":material/group_off:"
        )
    if approval.outdated_because:
        st.warning(f"Approving opens nothing: {literal(approval.outdated_because)}", icon=":material/history:")
    for warning in warnings(approval.text):
        st.warning(literal(warning), icon=":material/visibility:")
    head = "Exactly this will run" if _pending(approval) else "The exact text"
    style.show(style.head(head), style.code(approval.text, numbered=True))
    _parameters(parameters)
    left, right = st.columns(2)
    with left:
        style.show(style.head("Who asks"), style.facts(principals.rows(approval.principal)))
    with right:
        style.show(style.head("What it will touch"), style.facts(_impact(approval)))
    decide()
    style.show(style.head("Why you are asked"), style.facts(_terms(approval)))
    with st.expander("What the decision is bound to"):
        style.show(style.facts(_binding(approval)))
    st.page_link(
        str(TIMELINE),
        label="What else this session did",
        icon=":material/timeline:",
        query_params={"id": approval.session_id},
    )


def waiting_chip(approval: Approval) -> str:
    """That a connection waits, and how much longer; red in its last minute."""
    if not approval.held or not _pending(approval):
        return ""
    if approval.waits_until is None:
        return style.chip("connection waiting", "amber")
    left = (approval.waits_until - datetime.now(UTC)).total_seconds()
    return style.chip(f"connection waiting, {times.length(max(left, 0))} left", "amber" if left > 60 else "red")


def _pending(approval: Approval) -> bool:
    return approval.state is ApprovalState.PENDING


def _parameters(parameters: list[ApprovalParameter] | None) -> None:
    if parameters is None:
        style.show(
            '<div class="tg-note">Bound parameters are shown to the approvers of a request and, once it is decided, '
            "to who may read records.</div>"
        )
        return
    if not parameters:
        return
    rows = []
    for one in parameters:
        value = "NULL" if one.encoding == "null" else (one.shown or one.value or "")
        as_hex = ' <span class="tg-note">(bytes, hex)</span>' if one.encoding == "hex" and not one.shown else ""
        kind = one.type_name or (f"type {one.type_oid}" if one.type_oid else "type left to the server")
        rows.append((f"${one.index}", f'<span class="tg-mono">{style.said(value)}</span>{as_hex} {style.chip(kind)}'))
    style.show(style.head("With these parameters"), style.facts(rows))


def _impact(approval: Approval) -> list[tuple[str, str]]:
    rows = [(_label(name), _value(value)) for name, value in (approval.estimate or {}).items()]
    if not rows:
        rows.append(("Estimate", "none: the planner was not asked or could not say"))
    if approval.terms.max_rows is not None:
        rows.append(("Enforced", f"<b>at most {approval.terms.max_rows:,} rows</b>, or it is rolled back"))
    return rows


def _label(name: str) -> str:
    return "Rows, estimated" if name == "rows" else name.replace("_", " ").capitalize()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return style.said(", ".join(value)) if value else "none"
    if isinstance(value, str):
        return style.code(value) if "\n" in value else style.said(value)
    return style.code(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _terms(approval: Approval) -> list[tuple[str, str]]:
    rows = [
        ("Rule", style.chips(approval.rules, mono=True)),
        ("May decide", style.chips(approval.terms.approvers, "blue")),
        ("Asked", f"{times.clock(approval.requested_at)} ({times.since(approval.requested_at)})"),
    ]
    if approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED):
        uses = "once" if approval.terms.uses == 1 else f"up to {approval.terms.uses} times"
        rows.append(("Runs", f"{uses}, until {times.clock(approval.expires_at)} ({times.until(approval.expires_at)})"))
    if approval.terms.channels:
        rows.append(("Also in", style.chips(approval.terms.channels)))
    if approval.terms.allow_requester:
        rows.append(("Four eyes", style.chip("switched off by the rule", "amber")))
    if approval.terms.streams:
        rows.append(("Data", style.chip("streamed after the decision: nobody can see it before", "red")))
    if approval.decided_by:
        rows.append(("Decided", f"by <b>{style.said(approval.decided_by)}</b> at {times.clock(approval.decided_at)}"))
    if approval.comment:
        rows.append(("Comment", style.said(approval.comment)))
    return rows


def _binding(approval: Approval) -> list[tuple[str, str]]:
    environment = approval.environment
    moved = ", ".join(f"{name} = {value}" for name, value in environment.settings) or "as at session start"
    return [
        ("Digest", f'<span class="tg-mono">{style.said(approval.digest)}</span>'),
        ("Approval", f'<span class="tg-mono">{style.said(approval.id)}</span>'),
        ("Session", f'<span class="tg-mono">{style.said(approval.session_id)}</span>'),
        ("For", f'<span class="tg-mono">{style.said(approval.owner_key)}</span>'),
        ("Database role", style.said(environment.role or "—")),
        ("search_path", style.said(environment.search_path or "—")),
        ("Settings", style.said(moved)),
        ("Policy", f'<span class="tg-mono">{style.said(approval.policy_version)}</span>'),
    ]
