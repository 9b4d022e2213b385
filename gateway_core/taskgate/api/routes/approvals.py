"""Requests for a human decision: what is asked, by whom, and the answer. Each person decides with their own key."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import Cursor, Limit, Plane
from taskgate.api.long_polls import Polls
from taskgate.api.parameters import readable
from taskgate.api.problems import not_found
from taskgate.approvals.requests import ApprovalFilter
from taskgate.client import models
from taskgate.client.calls import LONGEST_WAIT
from taskgate.client.models import Name
from taskgate.domain import Approval, ApprovalState
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, is_id

router = APIRouter(tags=["approvals"])
MayRead = Annotated[Caller, Depends(Requires(Scope.APPROVALS_READ))]
MayDecide = Annotated[Caller, Depends(Requires(Scope.APPROVALS_DECIDE))]

_MOST_SCANNED = 10
"""Pages of the store one answer looks through where it has to filter by itself: a sparse answer ends early, with a
cursor to go on."""


@router.get("/approvals")
async def list_approvals(
    plane: Plane,
    caller: MayRead,
    state: Annotated[list[ApprovalState], Query(description="Repeat for more than one.")] = [],  # noqa: B006
    target: Annotated[Name | None, Query()] = None,
    dag_id: Annotated[Name | None, Query()] = None,
    run_id: Annotated[Name | None, Query()] = None,
    task_id: Annotated[Name | None, Query()] = None,
    session: Annotated[Name | None, Query(description="The session that asked last.")] = None,
    mine: Annotated[bool, Query(description="Only those this key may decide.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> models.Page[models.Approval]:
    """Newest first. A page can hold fewer than asked for and still have a next one."""
    store_filter = ApprovalFilter(state=state[0] if len(state) == 1 else None, target=target, session_id=session)
    items: list[models.Approval] = []
    for _ in range(_MOST_SCANNED):
        page = await plane.approvals.search(store_filter, cursor, limit - len(items))
        wanted = [
            approval
            for approval in page.items
            if (not state or approval.state in state) and _is_of(approval, dag_id, run_id, task_id)
        ]
        items += [item for item in await _rendered(plane, caller, wanted) if item.may_decide or not mine]
        cursor = page.next_cursor
        if cursor is None or len(items) >= limit:
            break
    return models.Page(items=items, next_cursor=cursor)


def _is_of(approval: Approval, dag_id: str | None, run_id: str | None, task_id: str | None) -> bool:
    task = approval.principal.task
    asked = ((dag_id, "dag_id"), (run_id, "run_id"), (task_id, "task_id"))
    return all(wanted is None or (task is not None and getattr(task, name) == wanted) for wanted, name in asked)


@router.get("/approvals/{approval_id}")
async def show_approval(
    approval_id: str,
    plane: Plane,
    caller: MayRead,
    polls: Polls,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="Seconds to wait for the decision.")
    ] = 0.0,
) -> models.Approval:
    """One request. With `wait` the answer comes as soon as it is no longer pending, or when the time is up."""
    approval = await _existing(plane, approval_id)
    if wait and approval.state is ApprovalState.PENDING:
        async with polls.place() as free:
            if free:
                await _until_decided(plane, approval_id, wait)
        approval = await _existing(plane, approval_id)
    return (await _rendered(plane, caller, [approval]))[0]


async def _until_decided(plane: ControlPlane, approval_id: str, seconds: float) -> None:
    decided = plane.approvals.decided(approval_id)
    try:
        await asyncio.wait({decided}, timeout=seconds)
    finally:
        decided.cancel()


@router.get("/approvals/{approval_id}/parameters")
async def show_parameters(approval_id: str, plane: Plane, caller: MayRead) -> models.ApprovalParameters:
    """The bound parameters, for those entitled to decide; afterwards also for who may read records. Each look is
    recorded, with who it was."""
    await _existing(plane, approval_id)
    values = await plane.approvals.parameters(approval_id, caller.id)
    parameters = [readable(index, value) for index, value in enumerate(values, start=1)]
    return models.ApprovalParameters(approval_id=approval_id, parameters=parameters)


@router.post("/approvals/{approval_id}/decision")
async def decide_approval(
    approval_id: str, decision: models.Decision, plane: Plane, caller: MayDecide
) -> models.Approval:
    """Approve or deny. The first decision counts; a second one is a 409. Whether this person may is asked again now,
    and once more when the grant is used."""
    await _existing(plane, approval_id)
    approval = await plane.approvals.decide(approval_id, caller.id, decision.approve, decision.comment)
    return (await _rendered(plane, caller, [approval]))[0]


async def _existing(plane: ControlPlane, approval_id: str) -> Approval:
    approval = await plane.approvals.get(approval_id) if is_id(IdPrefix.APPROVAL, approval_id) else None
    if approval is None:
        raise not_found("approval")
    return approval


async def _rendered(plane: ControlPlane, caller: Caller, approvals: list[Approval]) -> list[models.Approval]:
    """With what the caller may do about each."""
    obstacles = await plane.approvals.obstacles(caller.id, approvals) if approvals else {}
    nobody = await plane.approvals.nobody_may([approval for approval in approvals if approval.id in obstacles])
    rendered = []
    for approval in approvals:
        obstacle = obstacles.get(approval.id)
        if obstacle is None and approval.state is not ApprovalState.PENDING:
            obstacle = f"it is {approval.state}"
        url = plane.approval_url(approval.id)
        rendered.append(
            rendering.approval(
                approval,
                url=url,
                may_decide=obstacle is None,
                may_not_because=obstacle,
                nobody_may_because=nobody.get(approval.id),
                outdated_because=_outdated(approval, plane.policy.current.version),
            )
        )
    return rendered


def _outdated(approval: Approval, policy_version: str) -> str | None:
    """A grant fits only what is asked under the very policy that the approver was told of."""
    counts = approval.state is ApprovalState.PENDING or approval.uses_left > 0
    if not counts or approval.policy_version == policy_version:
        return None
    return "the policy has changed since it was asked for: whoever asks again is judged anew, by a request of its own"
