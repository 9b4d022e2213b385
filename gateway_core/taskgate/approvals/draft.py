"""A request for a decision as whoever asks fills it in, and the row it becomes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskgate.approvals.rows import environment_to_json, terms_to_json
from taskgate.domain import ApprovalState, ApprovalTerms, Environment, Parameter, Principal
from taskgate.store.clock import database_time
from taskgate.store.principals import principal_to_json


@dataclass(frozen=True, slots=True)
class ApprovalDraft:
    """What is asked. `held`: a connection waits for the answer, `hold` seconds at most, and its end withdraws the
    request; otherwise whoever asked comes back later."""

    digest: str
    principal: Principal
    target: str
    session_id: str
    text: str
    parameters: Sequence[Parameter] = field(repr=False)
    pairs: tuple[str, ...]
    rules: tuple[str, ...]
    terms: ApprovalTerms
    policy_version: str
    environment: Environment = field(default_factory=Environment)
    estimate: Mapping[str, object] | None = None
    held: bool = False
    hold: float = 0.0


def draft_to_row(draft: ApprovalDraft, approval_id: str, parties: Collection[str], sealed: bytes) -> dict[str, Any]:
    """A pending approval's columns."""
    task = draft.principal.task
    return {
        "id": approval_id,
        "digest": draft.digest,
        "owner_key": draft.principal.owner_key,
        "state": ApprovalState.PENDING.value,
        "principal": principal_to_json(draft.principal),
        "dag_id": task.dag_id if task else None,
        "run_id": task.run_id if task else None,
        "task_id": task.task_id if task else None,
        "target": draft.target,
        "session_id": draft.session_id,
        "text": draft.text,
        "pairs": list(draft.pairs),
        "rules": list(draft.rules),
        "terms": terms_to_json(draft.terms),
        "policy_version": draft.policy_version,
        "environment": environment_to_json(draft.environment),
        "estimate": None if draft.estimate is None else dict(draft.estimate),
        "sealed_parameters": sealed,
        "parties": sorted(parties),
        "requested_at": database_time(),
        "expires_at": database_time(draft.terms.expires),
        "uses_left": 0,
        "holders": int(draft.held),
        "held_until": database_time(draft.hold) if draft.held else None,
        "detached": not draft.held,
    }
