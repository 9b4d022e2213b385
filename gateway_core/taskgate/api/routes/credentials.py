"""Credentials: what a task or person gets instead of the target's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, status

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.claims import may_speak_for, may_speak_for_run, task_principal
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import AnyCaller, Cursor, Limit, Plane
from taskgate.api.inquiries import Asking, Inquiries
from taskgate.api.issuing import issue
from taskgate.api.problems import ApiProblem, not_found, not_permitted
from taskgate.client import models
from taskgate.client.models import Name
from taskgate.domain import Credential, TaskKey
from taskgate.identity.credentials import CredentialFilter
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["credentials"])
MayIssue = Annotated[Caller, Depends(Requires(Scope.CREDENTIALS_ISSUE))]
MayExchange = Annotated[Caller, Depends(Requires(Scope.CREDENTIALS_EXCHANGE))]
MayDelegate = Annotated[Caller, Depends(Requires(Scope.CREDENTIALS_DELEGATE))]


@router.post("/credentials", status_code=status.HTTP_201_CREATED)
async def issue_credential(
    request: models.CredentialRequest, plane: Plane, caller: MayIssue, asking: Asking
) -> models.IssuedCredential:
    """Issue a credential. A service names the task attempt it is for, and that task is `asserted`; of an Airflow or a
    Prefect that the gateway knows it has to be running. Without `principal` it is for the key's holder: a person is
    `verified`, a service `asserted`. The secret is answered this once."""
    claim = request.principal
    if claim is None:
        task = ProvenTask(caller.principal, looked_after=False)
    elif caller.is_person:
        raise not_permitted("a person's key issues credentials for that person only", code="not_oneself")
    else:
        task = await _asserted(claim, plane, caller, asking)
    return await issue(plane, caller, request.target, request.ttl, task)


async def _asserted(
    claim: models.TaskClaim | models.PrefectRun, plane: ControlPlane, caller: Caller, asking: Inquiries
) -> ProvenTask:
    """Raises ApiProblem where this key may not say this, NotProven, OrchestratorAway."""
    may_speak_for(claim.source, caller)
    by, orchestrators = f"api-key:{caller.principal.name}", plane.orchestrators
    if isinstance(claim, models.PrefectRun):
        with asking.going(caller.id):
            return await orchestrators.prefect.asserted(
                claim.source, claim.flow_run_id, claim.task_run_id, claim.run_count, by,
                permitted=lambda facts: may_speak_for_run(facts, caller),
            )  # fmt: skip
    if orchestrators.prefect.knows(claim.source):
        raise ApiProblem(
            422, f"{claim.source} is a Prefect: its tasks are named by their runs", code="not_an_airflow",
            hint="Ask for a principal of kind prefect_run, with flow_run_id and task_run_id.",
        )  # fmt: skip
    if orchestrators.airflow.knows(claim.source):
        return await orchestrators.airflow.asserted(claim.attempt_id, _key(claim), by)
    return ProvenTask(task_principal(claim, caller), looked_after=False)


@router.post("/credentials/exchange", status_code=status.HTTP_201_CREATED)
async def exchange_token(
    request: models.TokenExchange,
    plane: Plane,
    caller: MayExchange,
) -> models.IssuedCredential:
    """Exchange a task instance's own token for a credential. The gateway verifies the token with its Airflow's keys and
    looks the instance up there with its own account: it has to be where the request says, and to be running. Then it
    is `verified`; where the token is signed with a key that others hold too, `asserted`. An attempt that has just
    ended gets what its callbacks may still read with (`confined_until`)."""
    asked = request.principal
    may_speak_for(asked.source, caller)
    token = asked.token.get_secret_value()
    task = await plane.orchestrators.airflow.exchange(token, _key(asked), request.target)
    return await issue(plane, caller, request.target, request.ttl, task)


@router.post("/credentials/delegate", status_code=status.HTTP_201_CREATED)
async def delegate_credential(request: models.Delegation, plane: Plane, caller: MayDelegate) -> models.IssuedCredential:
    """For a triggerer: issue again what the worker of a task instance that is deferred now has held, for the same
    target. It is `delegated`."""
    asked = request.principal
    may_speak_for(asked.source, caller)
    by = f"api-key:{caller.principal.name}"
    task = await plane.orchestrators.airflow.delegate(asked.attempt_id, _key(asked), request.target, by)
    return await issue(plane, caller, request.target, request.ttl, task)


def _key(asked: models.TaskClaim | models.AirflowTaskInstance) -> TaskKey:
    return TaskKey(asked.source, asked.dag_id, asked.run_id, asked.task_id, asked.map_index)


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


@router.post("/attempts/posted")
async def attempts_posted(
    posted: models.AttemptsPosted,
    plane: Plane,
    caller: MayExchange,
) -> models.AttemptsChecked:
    """Task instances have just told their Airflow how they ended. The gateway asks that Airflow: what those that are
    over were issued may only read from now on, for a minute, and then ends."""
    may_speak_for(posted.source, caller)
    return models.AttemptsChecked(known=await plane.orchestrators.airflow.posted(posted.source, posted.attempts))


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
