"""Who asks, in words: the same on every page."""

from __future__ import annotations

from taskgate.client.models import Principal
from taskgate_dashboard import style

_ASSURANCE = {"verified": "green", "delegated": "blue", "asserted": "amber"}


def short(principal: Principal) -> str:
    """`orders_cleanup / delete_old_orders`, or a name; of a flow outside any task the flow's. Plain text."""
    if principal.attempt is None:
        return principal.name
    task = principal.attempt.task
    mapped = f"[{task.map_index}]" if task.map_index >= 0 else ""
    return f"{task.dag_id} / {task.task_id}{mapped}" if task.task_id else task.dag_id


def run(principal: Principal) -> str | None:
    """Which run of its task or flow this is, by the run's name where it has one. Plain text."""
    attempt = principal.attempt
    return None if attempt is None else attempt.run_name or attempt.task.run_id


def assurance_chip(principal: Principal) -> str:
    return style.chip(
        f"{principal.assurance.value} by {principal.verified_by}", _ASSURANCE.get(principal.assurance.value, "grey")
    )


def rows(principal: Principal) -> list[tuple[str, str]]:
    """Names and values (HTML) for `style.facts`. What an author chose is named apart: anybody can pick a name."""
    attributes = dict(principal.attributes)
    found: list[tuple[str, str]] = []
    if principal.attempt is not None:
        task = principal.attempt.task
        found += [
            ("Task", f"<b>{style.said(short(principal))}</b>"),
            ("Run", f"{style.said(principal.attempt.run_label)} · try {principal.attempt.try_number}"),
            ("From", style.said(task.source)),
        ]
    else:
        found += [
            (principal.kind.value.capitalize(), style.said(principal.name)),
            ("From", style.said(principal.source)),
        ]
    found.append(("Identity", assurance_chip(principal)))
    if triggered := attributes.pop("triggering_user", None):
        found.append(("Started by", style.said(triggered)))
    for name, value in sorted(attributes.items()):
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found.append((name.replace("_", " ").capitalize(), style.said(shown)))
    return found
