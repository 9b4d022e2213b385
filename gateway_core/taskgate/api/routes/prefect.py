"""Flow runs of a Prefect: workers make them known, and their processes get credentials."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, status

from taskgate.api.authentication import Caller, Requires, own_run, registered
from taskgate.api.claims import may_speak_for, may_speak_for_run
from taskgate.api.dependencies import Plane
from taskgate.api.inquiries import Asking
from taskgate.api.issuing import issue
from taskgate.api.problems import not_permitted
from taskgate.client import models
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["prefect"])
run_router = APIRouter(tags=["prefect"])
"""For the processes of flow runs, with what their worker gave them; nobody else reaches it."""

MayRegister = Annotated[Caller, Depends(Requires(Scope.RUNS_REGISTER))]
OwnRun = Annotated[Caller, Depends(own_run)]


@router.post("/prefect/runs", status_code=status.HTTP_201_CREATED)
async def register_run(
    request: models.RunRegistration, plane: Plane, caller: MayRegister, asking: Asking
) -> models.RegisteredRun:
    """For a worker: make a flow run known that it is about to start. Prefect has to know it as pending, in a work pool.
    The secret works once, for the run's process; whatever was registered for the run before ends."""
    if caller.is_person:
        raise not_permitted("a worker registers flow runs, with a key of its own", code="not_a_worker")
    may_speak_for(request.source, caller)
    with asking.going(caller.id):
        registered = await plane.orchestrators.prefect.register(
            request.source,
            request.flow_run_id,
            request.job_variables,
            caller.label,
            permitted=lambda facts: may_speak_for_run(facts, caller),
        )
    return models.RegisteredRun.model_validate(
        {"id": registered.id, "secret": registered.secret, "expires_at": registered.expires_at}
    )


@run_router.post("/prefect/run/token")
async def exchange_run_secret(plane: Plane, caller: OwnRun) -> models.RunToken:
    """For a flow run's process: its token for the one-time secret, which is the bearer token here. Once: when it is
    used again, everything that the run was issued is revoked."""
    run = registered(caller)
    if run.by_token:
        raise not_permitted("this is the run's token already", code="not_a_run_secret")
    token = await plane.orchestrators.prefect.exchange(run, caller.label)
    return models.RunToken.model_validate({"token": token, "source": run.source, "flow_run_id": run.flow_run_id})


@run_router.post("/prefect/run/credentials", status_code=status.HTTP_201_CREATED)
async def issue_run_credential(
    request: models.RunCredentialRequest, plane: Plane, caller: OwnRun, asking: Asking
) -> models.IssuedCredential:
    """For a flow run's process: a credential for one of its task runs, or for what the flow itself does. Both have to
    be running. The run is `verified`; which task run asks is the process' own word, and `task_assurance` says so."""
    run = registered(caller)
    if not run.by_token:
        raise not_permitted("exchange the one-time secret first", code="not_a_run_token")
    with asking.going(caller.id, is_run=True):
        task = await plane.orchestrators.prefect.proven(
            run, request.flow_run_id, request.task_run_id, request.run_count
        )
    return await issue(plane, caller, request.target, request.ttl, task)
