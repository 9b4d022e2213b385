"""Credentials: what a task or person gets instead of the target's own password."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, status

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.claims import task_principal
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import AnyCaller, Cursor, Limit, Plane
from taskgate.api.problems import ApiProblem, not_found, not_permitted
from taskgate.client import models
from taskgate.client.models import Name
from taskgate.domain import Credential, Principal, Target
from taskgate.identity.credentials import CredentialFilter
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["credentials"])
MayIssue = Annotated[Caller, Depends(Requires(Scope.CREDENTIALS_ISSUE))]

_DSN_SCHEME = {"postgres": "postgresql"}


@router.post("/credentials", status_code=status.HTTP_201_CREATED)
async def issue_credential(
    request: models.CredentialRequest, plane: Plane, caller: MayIssue
) -> models.IssuedCredential:
    """Issue a credential. A service names the task attempt it is for, and that task is `asserted`. Without `principal`
    it is for the key's holder: a person is `verified`, a service `asserted`. The secret is answered this once."""
    target = plane.targets.get(request.target)
    if target is None:
        raise ApiProblem(422, f"there is no target {request.target}", code="unknown_target")
    endpoint = plane.endpoints.get(target.protocol)
    if endpoint is None:
        raise ApiProblem(503, f"nothing listens for {target.protocol} here", code="no_listener")
    principal = _principal(request, caller)
    ttl = plane.default_ttl if request.ttl is None else request.ttl
    credential, secret = await plane.credentials.issue(principal, target.name, ttl, caller.label)
    return _issued(credential, secret, target, *endpoint)


def _principal(request: models.CredentialRequest, caller: Caller) -> Principal:
    if request.principal is None:
        return caller.principal
    if caller.is_person:
        raise not_permitted("a person's key issues credentials for that person only", code="not_oneself")
    if not isinstance(request.principal, models.TaskClaim):
        raise ApiProblem(422, f"no Airflow named {request.principal.source} is configured", code="unknown_source")
    return task_principal(request.principal, caller)


def _issued(credential: Credential, secret: str, target: Target, host: str, port: int) -> models.IssuedCredential:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = _DSN_SCHEME.get(target.protocol, target.protocol)
    return models.IssuedCredential.model_validate(
        {
            "id": credential.id,
            "user": credential.id,
            "password": secret,
            "target": target.name,
            "protocol": target.protocol,
            "host": host,
            "port": port,
            "database": target.database,
            "dsn": f"{scheme}://{credential.id}:{secret}@{address}/{quote(target.database, safe='')}",
            "principal": rendering.principal(credential.principal),
            "issued_at": credential.issued_at,
            "expires_at": credential.expires_at,
        }
    )


@router.get("/credentials")
async def list_credentials(
    plane: Plane,
    caller: AnyCaller,
    target: Annotated[Name | None, Query()] = None,
    attempt: Annotated[Name | None, Query(description="The orchestrator's id of a try.")] = None,
    live: Annotated[bool, Query(description="Only what is neither expired nor revoked.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> models.Page[models.Credential]:
    """Newest first. Without the scope `credentials:read`: those of the key's own holder."""
    own = None if caller.may(Scope.CREDENTIALS_READ) else str(caller.principal)
    filters = CredentialFilter(target=target, principal=own, attempt_id=attempt, live=live)
    page = await plane.credentials.search(filters, cursor, limit)
    return models.Page(items=[rendering.credential(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/credentials/{credential_id}")
async def show_credential(credential_id: str, plane: Plane, caller: AnyCaller) -> models.Credential:
    """One's own, or with the scope `credentials:read` any."""
    return rendering.credential(await _visible(credential_id, plane, caller))


@router.post("/credentials/{credential_id}/revoke")
async def revoke_credential(
    credential_id: str, reason: models.Reason, plane: Plane, caller: AnyCaller
) -> models.Credential:
    """End it, and its live sessions within a second. One's own, what this key issued, or with the scope
    `credentials:revoke` any. Revoking twice changes nothing."""
    credential = await plane.credentials.get(credential_id)
    if credential is None or not _may_revoke(credential, caller):
        raise not_found("credential")
    await plane.credentials.revoke(credential_id, caller.label, reason.reason or "revoked")
    return rendering.credential(await plane.credentials.get(credential_id) or credential)


@router.post("/attempts/{attempt_id}/revoke")
async def revoke_attempt(attempt_id: str, reason: models.Reason, plane: Plane, caller: AnyCaller) -> models.Revoked:
    """End all live credentials of a task attempt: what an orchestrator calls when an attempt is over. Of those, what
    this key issued, or with the scope `credentials:revoke` all."""
    why = reason.reason or "the attempt ended"
    if caller.may(Scope.CREDENTIALS_REVOKE):
        return models.Revoked(revoked=await plane.credentials.revoke_attempt(attempt_id, caller.label, why))
    revoked, cursor = 0, None
    while True:
        page = await plane.credentials.search(CredentialFilter(attempt_id=attempt_id, live=True), cursor, 100)
        for credential in page.items:
            if _may_revoke(credential, caller):
                revoked += await plane.credentials.revoke(credential.id, caller.label, why)
        if (cursor := page.next_cursor) is None:
            return models.Revoked(revoked=revoked)


def _may_revoke(credential: Credential, caller: Caller) -> bool:
    own = credential.issued_by == caller.label or str(credential.principal) == str(caller.principal)
    return own or caller.may(Scope.CREDENTIALS_REVOKE)


async def _visible(credential_id: str, plane: ControlPlane, caller: Caller) -> Credential:
    credential = await plane.credentials.get(credential_id)
    own = credential is not None and (
        str(credential.principal) == str(caller.principal) or credential.issued_by == caller.label
    )
    if credential is None or not (own or caller.may(Scope.CREDENTIALS_READ)):
        raise not_found("credential")
    return credential
