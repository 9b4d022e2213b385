"""What a notification says: that there is something to decide (or that it was), in one line, and where. Never the
statement nor its parameters: whoever may see those follows the link and is asked who they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from taskgate.domain import Approval
from taskgate.visible import is_shown

_LONGEST = 400
_SHOWN_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Notification:
    """`event` is `approval.requested` or `approval.decided`. `url` is the dashboard's page, if there is a dashboard;
    `command` shows the same in a terminal. `task`: the task that asks (`source`, `dag_id`, `run_id`, `task_id`,
    `map_index`, and where the run has one `run_name`). Times are ISO 8601, UTC."""

    id: str
    event: str
    approval_id: str
    state: str
    summary: str
    url: str | None
    target: str
    requested_by: str
    rules: tuple[str, ...]
    approvers: tuple[str, ...]
    requested_at: str
    expires_at: str
    decided_by: str | None = None
    command: str = ""
    task: Mapping[str, str | int] | None = None

    @classmethod
    def about(cls, notification_id: str, event: str, approval: Approval, url: str | None) -> Notification:
        return cls(
            id=notification_id,
            event=event,
            approval_id=approval.id,
            state=approval.state.value,
            summary=_summary(approval),
            url=url,
            target=approval.target,
            requested_by=_plain(_requester(approval)),
            rules=approval.rules,
            approvers=approval.terms.approvers,
            requested_at=approval.requested_at.isoformat(),
            expires_at=approval.expires_at.isoformat(),
            decided_by=approval.decided_by,
            command=f"taskgate approvals show {approval.id}",
            task=_task(approval),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Notification:
        return cls(**{**facts, "rules": tuple(facts["rules"]), "approvers": tuple(facts["approvers"])})


def _task(approval: Approval) -> Mapping[str, str | int] | None:
    attempt = approval.principal.attempt
    if attempt is None:
        return None
    named: dict[str, str | int] = asdict(attempt.task)
    if attempt.run_name:
        named["run_name"] = attempt.run_name
    return {name: _plain(value) if isinstance(value, str) else value for name, value in named.items()}


def _requester(approval: Approval) -> str:
    attempt = approval.principal.attempt
    if attempt is None:
        return str(approval.principal)
    return f"{attempt.task}, run {attempt.run_name}" if attempt.run_name else str(attempt.task)


def _summary(approval: Approval) -> str:
    pairs = ", ".join(approval.pairs[:_SHOWN_PAIRS])
    more = len(approval.pairs) - _SHOWN_PAIRS
    if more > 0:
        pairs += f" and {more} more"
    what = f"{_requester(approval)} on {approval.target}: {pairs or 'an action'}"
    state = "asks for approval" if approval.state.value == "pending" else f"was {approval.state.value}"
    return _plain(f"{state}: {what}")


def _plain(text: str) -> str:
    """Names of objects and tasks are chosen by whoever asks: what could hide or reorder text in a chat is shown as its
    code, and the length is bounded."""
    shown = "".join(
        character if is_shown(character) else f"\\u{{{ord(character):04x}}}" for character in text[:_LONGEST]
    )
    return shown if len(text) <= _LONGEST else f"{shown}…"
