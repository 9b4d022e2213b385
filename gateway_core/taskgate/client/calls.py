"""Every call of the control API, one function each: the sync and the async client are two ways to send these."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from taskgate.client import models
from taskgate.client.exchange import Call, as_model, nothing

LONGEST_WAIT = 60.0
"""Seconds one long poll may take; the server's bound too."""

LONGEST_RECORDING = 60.0
"""Seconds that a gateway may wait for Prefect to record a task run (`recorded_within`, 10 s unless set otherwise)."""

LONGEST_SILENCE = 5.0
"""Seconds after which a stream that says nothing counts as lost: the server says every two that it is there."""

MOST_STATES = 500
"""Approvals whose states one call may ask for."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions. Everything given must hold. `name`: every word of it is part of the DAG's, run's or task's name;
    `person`: part of the name of the person who acts or who triggered the run. `attempt` is the orchestrator's id of a
    try, `principal` reads `kind:source:name` (`user:taskgate:alice`), `effect` is one such as `sql.delete` and `object`
    what it was done to, `state` is `open` or `closed`. The times bound when a session was opened, `until` exclusive."""

    name: str | None = None
    person: str | None = None
    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    attempt: str | None = None
    target: str | None = None
    principal: str | None = None
    credential: str | None = None
    effect: str | None = None
    object: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def _query(**given: object) -> dict[str, str | int | float | list[str]]:
    query: dict[str, str | int | float | list[str]] = {}
    for name, value in given.items():
        if value is None or value == [] or value == ():
            continue
        if isinstance(value, bool):
            query[name] = "true" if value else "false"
        elif isinstance(value, datetime):
            query[name] = value.isoformat()
        elif isinstance(value, (list, tuple)):
            query[name] = [str(item) for item in value]
        elif isinstance(value, (int, float)):
            query[name] = value
        else:
            query[name] = str(value)
    return query


def _part(value: str) -> str:
    """One path segment; an empty or dotted one would name another resource."""
    if value in ("", ".", ".."):
        raise ValueError(f"not an identifier: {value!r}")
    return quote(value, safe="")


def _get(path: str, answer: type[models.Item], **query: object) -> Call[models.Item]:
    return Call("GET", path, as_model(answer), query=_query(**query), idempotent=True)


def _post(path: str, answer: type[models.Item], body: BaseModel, *, idempotent: bool) -> Call[models.Item]:
    return Call("POST", path, as_model(answer), body=body, idempotent=idempotent)


def whoami() -> Call[models.WhoAmI]:
    return _get("/v1/whoami", models.WhoAmI)


def readiness() -> Call[models.Readiness]:
    return _get("/readyz", models.Readiness)


# --- targets and credentials -------------------------------------------------------------------------------------


def targets(cursor: str | None, limit: int | None) -> Call[models.Page[models.Target]]:
    return _get("/v1/targets", models.Page[models.Target], cursor=cursor, limit=limit)


def target(name: str) -> Call[models.Target]:
    return _get(f"/v1/targets/{_part(name)}", models.Target)


def issue_credential(
    target: str, ttl: float | None, principal: models.AskedFor | None
) -> Call[models.IssuedCredential]:
    request: BaseModel
    match principal:
        case models.AirflowTaskToken():
            path, request = "/exchange", models.TokenExchange(target=target, ttl=ttl, principal=principal)
        case models.AirflowDeferredTask():
            path, request = "/delegate", models.Delegation(target=target, ttl=ttl, principal=principal)
        case models.PrefectRun():
            request = models.CredentialRequest(target=target, ttl=ttl, principal=principal)
            return _for_a_run("/v1/credentials", request)
        case _:
            path, request = "", models.CredentialRequest(target=target, ttl=ttl, principal=principal)
    return _post(f"/v1/credentials{path}", models.IssuedCredential, request, idempotent=False)


def _for_a_run(path: str, request: BaseModel) -> Call[models.IssuedCredential]:
    """Asking again is little harm: what was issued and never arrived ends with the run. The gateway waits until Prefect
    has recorded the task run."""
    answer = as_model(models.IssuedCredential)
    return Call("POST", path, answer, body=request, idempotent=True, patience=LONGEST_RECORDING)


def register_run(source: str, flow_run_id: str, job_variables: Sequence[str]) -> Call[models.RegisteredRun]:
    request = models.RunRegistration(source=source, flow_run_id=flow_run_id, job_variables=list(job_variables))
    # Asking again is no harm: of a run only the last registration counts.
    return _post("/v1/prefect/runs", models.RegisteredRun, request, idempotent=True)


def exchange_run_secret() -> Call[models.RunToken]:
    return Call("POST", "/v1/prefect/run/token", as_model(models.RunToken))


def issue_run_credential(request: models.RunCredentialRequest) -> Call[models.IssuedCredential]:
    return _for_a_run("/v1/prefect/run/credentials", request)


def credentials(
    cursor: str | None, limit: int | None, *, target: str | None, attempt: str | None, live: bool | None
) -> Call[models.Page[models.Credential]]:
    page = models.Page[models.Credential]
    return _get("/v1/credentials", page, cursor=cursor, limit=limit, target=target, attempt=attempt, live=live)


def credential(credential_id: str) -> Call[models.Credential]:
    return _get(f"/v1/credentials/{_part(credential_id)}", models.Credential)


def revoke_credential(credential_id: str, reason: str) -> Call[models.Credential]:
    path = f"/v1/credentials/{_part(credential_id)}/revoke"
    return _post(path, models.Credential, models.Reason(reason=reason), idempotent=True)


def revoke_attempt(attempt_id: str, reason: str) -> Call[models.Revoked]:
    path = f"/v1/attempts/{_part(attempt_id)}/revoke"
    return _post(path, models.Revoked, models.Reason(reason=reason), idempotent=True)


def attempts_posted(request: models.AttemptsPosted) -> Call[models.AttemptsChecked]:
    return _post("/v1/attempts/posted", models.AttemptsChecked, request, idempotent=True)


# --- approvals ---------------------------------------------------------------------------------------------------


def approvals(
    cursor: str | None,
    limit: int | None,
    *,
    state: Sequence[str] = (),
    target: str | None = None,
    dag_id: str | None = None,
    run_id: str | None = None,
    task_id: str | None = None,
    session: str | None = None,
    mine: bool | None = None,
) -> Call[models.Page[models.Approval]]:
    return _get(
        "/v1/approvals",
        models.Page[models.Approval],
        cursor=cursor,
        limit=limit,
        state=list(state),
        target=target,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        session=session,
        mine=mine,
    )


def approval(approval_id: str, wait: float) -> Call[models.Approval]:
    wait = max(0.0, min(wait, LONGEST_WAIT))
    query = _query(wait=wait) if wait else {}
    path = f"/v1/approvals/{_part(approval_id)}"
    return Call("GET", path, as_model(models.Approval), query=query, idempotent=True, patience=wait)


def approval_parameters(approval_id: str) -> Call[models.ApprovalParameters]:
    return _get(f"/v1/approvals/{_part(approval_id)}/parameters", models.ApprovalParameters)


def approval_states(approval_ids: Sequence[str]) -> Call[models.Page[models.ApprovalStanding]]:
    request = models.ApprovalIds(ids=list(approval_ids))
    return _post("/v1/approvals/states", models.Page[models.ApprovalStanding], request, idempotent=True)


def watch_approvals(since: int | None) -> Call[httpx.Response]:
    """A stream of events, read by the client as they come."""
    query = _query(since=since)
    return Call("GET", "/v1/approvals/watch", lambda response: response, query=query, silence=LONGEST_SILENCE)


def watch_pause(failures: int) -> float:
    """Seconds before a stream is asked for again, after so many failures in a row."""
    return random.uniform(0.1, min(4.0, 0.25 * 2 ** min(failures, 4)))  # noqa: S311  spreads clients, guards nothing


def decide(approval_id: str, approve: bool, comment: str | None) -> Call[models.Approval]:
    path = f"/v1/approvals/{_part(approval_id)}/decision"
    return _post(path, models.Approval, models.Decision(approve=approve, comment=comment), idempotent=False)


# --- a task about itself -----------------------------------------------------------------------------------------


def attempt() -> Call[models.AttemptReport]:
    return _get("/v1/attempt", models.AttemptReport)


def attempt_approval(approval_id: str) -> Call[models.Approval]:
    return _get(f"/v1/attempt/approvals/{_part(approval_id)}", models.Approval)


def attempt_airflow_page(approval_id: str) -> Call[models.AirflowPage]:
    return _get(f"/v1/attempt/approvals/{_part(approval_id)}/airflow-page", models.AirflowPage)


# --- sessions ----------------------------------------------------------------------------------------------------


def sessions(cursor: str | None, limit: int | None, chosen: SessionFilter) -> Call[models.Page[models.Session]]:
    query = {name: getattr(chosen, name) for name in SessionFilter.__slots__}
    return _get("/v1/sessions", models.Page[models.Session], cursor=cursor, limit=limit, **query)


def session(session_id: str) -> Call[models.Session]:
    return _get(f"/v1/sessions/{_part(session_id)}", models.Session)


def records(session_id: str, cursor: str | None, limit: int | None) -> Call[models.Page[models.Record]]:
    path = f"/v1/sessions/{_part(session_id)}/records"
    return _get(path, models.Page[models.Record], cursor=cursor, limit=limit)


def verification(session_id: str) -> Call[models.Verification]:
    call = _get(f"/v1/sessions/{_part(session_id)}/verification", models.Verification)
    return Call(call.method, call.path, call.parse, idempotent=True, patience=50.0)


def live_sessions() -> Call[models.Page[models.LiveSession]]:
    return _get("/v1/live-sessions", models.Page[models.LiveSession])


def kill_session(session_id: str, reason: str) -> Call[None]:
    path = f"/v1/sessions/{_part(session_id)}/kill"
    return Call("POST", path, nothing, body=models.Reason(reason=reason), idempotent=True)


def export(session_ids: Sequence[str], chosen: SessionFilter, headers_only: bool) -> Call[httpx.Response]:
    """A bundle (zip) of these sessions, or of all that the filter finds. Streamed by the client, never held whole."""
    query = {name: getattr(chosen, name) for name in SessionFilter.__slots__}
    given = _query(session=list(session_ids), headers_only=headers_only or None, **query)
    return Call("GET", "/v1/export", lambda response: response, query=given, patience=50.0)


# --- policy and API keys -----------------------------------------------------------------------------------------


def policy() -> Call[models.PolicyStatus]:
    return _get("/v1/policy", models.PolicyStatus)


def policy_sources() -> Call[models.PolicySources]:
    return _get("/v1/policy/sources", models.PolicySources)


def explain(request: models.ExplainRequest) -> Call[models.Explanation]:
    return _post("/v1/policy/explain", models.Explanation, request, idempotent=True)


def api_keys(cursor: str | None, limit: int | None, live: bool | None) -> Call[models.Page[models.ApiKey]]:
    return _get("/v1/api-keys", models.Page[models.ApiKey], cursor=cursor, limit=limit, live=live)


def create_api_key(request: models.ApiKeyRequest) -> Call[models.CreatedApiKey]:
    return _post("/v1/api-keys", models.CreatedApiKey, request, idempotent=False)


def revoke_api_key(key_id: str, reason: str) -> Call[models.ApiKey]:
    path = f"/v1/api-keys/{_part(key_id)}/revoke"
    return _post(path, models.ApiKey, models.Reason(reason=reason), idempotent=True)
