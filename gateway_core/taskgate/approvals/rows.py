"""Approvals as rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from taskgate.domain import Approval, ApprovalState, ApprovalTerms, Environment
from taskgate.store.principals import principal_from_json


def terms_to_json(terms: ApprovalTerms) -> dict[str, Any]:
    return asdict(terms)


def terms_from_json(facts: Mapping[str, Any]) -> ApprovalTerms:
    listed = {"approvers": tuple(facts["approvers"]), "channels": tuple(facts.get("channels", ()))}
    return ApprovalTerms(**{**facts, **listed})


def environment_to_json(environment: Environment) -> dict[str, Any]:
    return asdict(environment)


def environment_from_json(facts: Mapping[str, Any]) -> Environment:
    return Environment(**{**facts, "settings": tuple((name, value) for name, value in facts["settings"])})


def approval_from_row(row: Any) -> Approval:
    return Approval(
        id=row.id,
        digest=row.digest,
        state=ApprovalState(row.state),
        owner_key=row.owner_key,
        principal=principal_from_json(row.principal),
        target=row.target,
        session_id=row.session_id,
        text=row.text,
        pairs=tuple(row.pairs),
        rules=tuple(row.rules),
        terms=terms_from_json(row.terms),
        policy_version=row.policy_version,
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        environment=environment_from_json(row.environment),
        estimate=row.estimate,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        comment=row.comment,
        uses_left=row.uses_left,
        held=row.holders > 0,
        waits_until=_waits_until(row),
    )


def _waits_until(row: Any) -> datetime | None:
    if row.state != ApprovalState.PENDING.value or not row.holders or row.held_until is None:
        return None
    until: datetime = min(row.held_until, row.expires_at)
    return until
