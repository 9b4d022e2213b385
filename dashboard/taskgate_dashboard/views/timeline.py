"""One session, read from top to bottom: what was asked, what policy said, what the target did, what was masked."""

from __future__ import annotations

import json
from itertools import islice

import streamlit as st

from taskgate import recorded_values
from taskgate.client.models import Session
from taskgate_dashboard import effects, principals, style, times
from taskgate_dashboard.bundle_view import download_button
from taskgate_dashboard.kill_view import kill_button, kill_question
from taskgate_dashboard.records import Step, steps
from taskgate_dashboard.sign_in import asking, gateway
from taskgate_dashboard.verification_view import show_verification

_MOST = 2000
_PAGE = 50
_CLASSES = {"refused": "tg-refused", "ran": "tg-ran", "asked": "tg-asked", "decided": "tg-asked"}


def _header(session: Session) -> None:
    state = {"open": "blue", "closed": "grey"}.get(session.state, "red")
    style.show(
        style.title(f"{principals.short(session.principal)} at {session.target}"),
        style.chip(session.state, state),
        style.chip(f"{session.actions} action{'' if session.actions == 1 else 's'}"),
        style.chip(f"{session.refused} refused", "red") if session.refused else "",
        style.chip(f"{session.masked} values masked", "green") if session.masked else "",
    )
    left, right = st.columns(2)
    with left:
        style.show(style.head("Who"), style.facts(principals.rows(session.principal)))
    with right:
        ended = session.closed_at
        style.show(
            style.head("Session"),
            style.facts(
                [
                    ("Id", f'<span class="tg-mono">{style.said(session.id)}</span>'),
                    ("Opened", times.clock(session.opened_at)),
                    (
                        "Closed",
                        f"{times.clock(ended)} {style.said(session.closed_reason or '')}" if ended else "still open",
                    ),
                    ("From", style.said(session.client_address or "—")),
                    ("Rows", f"{session.rows:,} sent back or changed"),
                ]
            ),
        )


def _ending(step: Step) -> str:
    if step.result is None:
        return style.chip("no result on record", "amber") if step.kind == "ran" else ""
    result = step.result
    parts = []
    if error := result.get("error"):
        parts.append(style.chip(f"error: {error}", "red"))
    else:
        parts.append(style.chip(f"{result.get('tag') or 'done'}, {int(result.get('rows') or 0):,} rows", "green"))
    parts += [style.chip(f"{count:,} masked by {rule}", "green") for rule, count in step.masked.items()]
    if step.seconds is not None:
        parts.append(style.chip(f"took {times.length(step.seconds)}"))
    if step.row_records:
        parts.append(style.chip("rows recorded"))
    return "".join(parts)


def _verdict(step: Step) -> str:
    match step.kind:
        case "ran":
            approved = f" with approval {step.approval_id}" if step.approval_id else ""
            return style.chip(f"allowed{approved}", "green")
        case "refused":
            return style.chip("not yet: a human is asked" if step.content.get("pending") else "refused", "red")
        case "asked":
            return style.chip(f"asked a human: {step.approval_id}", "amber")
        case "decided":
            state = str(step.content.get("state") or "decided")
            by = step.content.get("decided_by") or step.content.get("by")
            return style.chip(f"{state}{f' by {by}' if by else ''}", "green" if state == "approved" else "red")
        case "opened":
            return style.chip("session opened", "blue")
        case "closed":
            return style.chip("session closed", "blue")
        case _:
            return _event(step)


def _event(step: Step) -> str:
    name = str(step.content.get("name") or step.content.get("event") or "event")
    fields = step.content.get("fields")
    if name == "grant_used" and isinstance(fields, dict):
        return style.chip(f"used approval {fields.get('approval')}, given by {fields.get('by')}", "green")
    return style.chip(name.replace("_", " "))


def _step(step: Step, started: float) -> None:
    offset = times.length(step.at.timestamp() - started)
    reason = step.content.get("reason") or step.content.get("comment")
    style.show(
        f'<div class="tg-row {_CLASSES.get(step.kind, "")}">',
        f'<span class="tg-when">#{step.sequence} · +{offset} · {times.clock(step.at)}</span><br>',
        _verdict(step),
        "".join(style.chip(pair, effects.colour(pair), mono=True) for pair in step.pairs),
        "".join(style.chip(f"rule {rule}") for rule in step.rules),
        style.code(step.text) if step.text is not None else "",
        style.facts(_parameters(step)),
        f'<div class="tg-note">{style.said(reason)}</div>' if reason else "",
        '<div class="tg-note">Content left out by the recording level, or erased.</div>' if step.missing else "",
        _ending(step),
        "</div>",
    )


def _parameters(step: Step) -> list[tuple[str, str]]:
    rows = []
    for index, one in enumerate(step.content.get("parameters") or [], 1):
        if isinstance(one, dict) and one.get("masked"):
            rows.append((f"${index}", style.chip(f"masked by {one['masked']}", "green")))
        elif isinstance(one, dict):
            rows.append((f"${index}", style.said(recorded_values.shown(one))))
        else:
            rows.append((f"${index}", style.said("NULL" if one is None else json.dumps(one, default=str))))
    return rows


def main() -> None:
    session_id = st.query_params.get("id") or ""
    if not session_id:
        given = st.text_input("Session", placeholder="ses_…", help="Or pick one on the page Sessions.").strip()
        if not given:
            return
        st.query_params["id"] = session_id = given
    session: Session | None = None
    found: list[Step] = []
    with asking():
        session = gateway().session(session_id)
        found = steps(islice(gateway().records(session_id), _MOST))
    if session is None:
        return
    _header(session)
    with st.container(horizontal=True, vertical_alignment="center"):
        download_button(session_id)
        kill_button(session)
    kill_question(session)
    show_verification(session_id)
    style.show(style.head(f"What happened: {len(found)} steps"))
    if not found:
        style.show('<div class="tg-note">No record can be read yet.</div>')
        return
    pages = (len(found) + _PAGE - 1) // _PAGE
    page = st.number_input(f"Part (of {pages})", 1, pages, key=f"part-{session_id}") if pages > 1 else 1
    started = found[0].at.timestamp()
    for step in found[(int(page) - 1) * _PAGE : int(page) * _PAGE]:
        _step(step, started)


main()
