"""What a task may ask about itself, with the credential it was given for the data path."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends

from taskgate.api import rendering
from taskgate.api.authentication import own_task
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import Plane
from taskgate.api.problems import not_found
from taskgate.approvals.requests import ApprovalFilter
from taskgate.client import models
from taskgate.domain import Approval, ApprovalState, Principal
from taskgate.errors import TaskgateError
from taskgate.store.ids import IdPrefix, is_id
from taskgate.store.sessions import SessionFilter

router = APIRouter(tags=["attempt"])
OwnTask = Annotated[Principal, Depends(own_task)]

MOST = 100
"""Sessions and approvals in one answer, the newest."""


@router.get("/attempt")
async def show_attempt(plane: Plane, task: OwnTask) -> models.AttemptReport:
    """Who the gateway takes the task for, the sessions of this very attempt, and what was asked for in the task's name
    by any of its tries (a retry finds what the try before it asked for), without parameters. The newest 100 of each,
    and of each session 100 effects at most."""
    attempt = task.attempt
    if attempt is None:
        raise not_found("attempt")
    key = attempt.task
    await plane.sessions.settle()  # ends wait a moment for the index, and a task asks right after its last statement
    sessions = await plane.sessions.search(
        SessionFilter(
            source=key.source,
            dag_id=key.dag_id,
            run_id=key.run_id,
            task_id=key.task_id,
            map_index=key.map_index,
            attempt_id=attempt.id,
        ),
        limit=MOST,
    )
    effects = await plane.sessions.pairs_of([session.id for session in sessions.items])
    approvals = await plane.approvals.search(ApprovalFilter(owner_key=task.owner_key), limit=MOST)
    own = [approval for approval in approvals.items if _is_own(approval, task)]
    used_in = await plane.approvals.used_in([approval.id for approval in own])
    return models.AttemptReport(
        principal=rendering.principal(task),
        answers_key=_answers_key(task, plane.policy.current.version),
        sessions=[rendering.session(session, effects.get(session.id, ())) for session in sessions.items],
        approvals=[_rendered(plane, approval, used_in.get(approval.id, ())) for approval in own],
    )


@router.get("/attempt/approvals/{approval_id}")
async def show_own_approval(approval_id: str, plane: Plane, task: OwnTask) -> models.Approval:
    """One request made in this task's name, by whichever of its tries: how it stands, who decided it and why. An answer
    given on Airflow's own page is looked for at once."""
    approval = await _own(plane, approval_id, task)
    answers = plane.airflow_answers(task.source)
    if answers is not None and approval.state is ApprovalState.PENDING:
        with contextlib.suppress(TaskgateError):  # then it is looked at again soon anyway
            if await answers.look(approval):
                approval = await _own(plane, approval_id, task)
    return _rendered(plane, approval)


@router.get("/attempt/approvals/{approval_id}/airflow-page")
async def show_airflow_page(approval_id: str, plane: Plane, task: OwnTask) -> models.AirflowPage:
    """What the task's human-in-the-loop row has to hold for an answer on Airflow's own page to count. There is none
    where the rule does not let that page decide, or where the row holds an earlier request's text, which stays."""
    approval = await _own(plane, approval_id, task)
    answers = plane.airflow_answers(task.source)
    page = None if answers is None else await answers.page_to_write(approval)
    if page is None:
        raise not_found("page")
    return models.AirflowPage(subject=page.subject, body=page.body, options=list(page.options))


def _answers_key(task: Principal, policy_version: str) -> str:
    """Says nothing of what it is made of, and changes with each of it."""
    return hashlib.sha256(f"{task.attribute_key}\0{policy_version}".encode()).hexdigest()[:32]


async def _own(plane: ControlPlane, approval_id: str, task: Principal) -> Approval:
    approval = await plane.approvals.get(approval_id) if is_id(IdPrefix.APPROVAL, approval_id) else None
    if approval is None or not _is_own(approval, task):
        raise not_found("approval")
    return approval


def _is_own(approval: Approval, task: Principal) -> bool:
    """The key as a whole: its text alone may read the same for two that differ in where a slash belongs."""
    theirs, own = approval.principal.attempt, task.attempt
    return theirs is not None and own is not None and theirs.owner == own.owner


def _rendered(plane: ControlPlane, approval: Approval, used_in: Sequence[str] = ()) -> models.Approval:
    return rendering.approval(
        approval,
        url=plane.approval_url(approval.id),
        may_decide=False,
        may_not_because="a task decides nothing",
        used_in=used_in,
    )
