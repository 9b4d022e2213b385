"""Sessions: who had which connection when, what is open now, and ending it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, status
from pydantic import AwareDatetime

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.dependencies import Cursor, Limit, Plane
from taskgate.api.problems import ApiProblem, not_found
from taskgate.client import models
from taskgate.client.models import Name
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, is_id
from taskgate.store.sessions import PROCESS_DIED, SessionFilter

router = APIRouter(tags=["sessions"])
MayRead = Annotated[Caller, Depends(Requires(Scope.SESSIONS_READ))]
MayKill = Annotated[Caller, Depends(Requires(Scope.SESSIONS_KILL))]


def session_filter(
    name: Annotated[Name | None, Query(description="Its words are parts of the DAG's, run's or task's name.")] = None,
    person: Annotated[Name | None, Query(description="Part of the name of who acts, or who triggered the run.")] = None,
    source: Annotated[Name | None, Query(description="Which orchestrator.")] = None,
    dag_id: Annotated[Name | None, Query()] = None,
    run_id: Annotated[Name | None, Query()] = None,
    task_id: Annotated[Name | None, Query()] = None,
    map_index: Annotated[int | None, Query(ge=-1, le=2**31 - 1)] = None,
    attempt: Annotated[Name | None, Query(description="The orchestrator's id of a try.")] = None,
    target: Annotated[Name | None, Query()] = None,
    principal: Annotated[
        str | None, Query(max_length=800, description="As `kind:source:name`: `user:taskgate:alice`.")
    ] = None,
    credential: Annotated[Name | None, Query()] = None,
    effect: Annotated[Name | None, Query(description="Such as `sql.delete`.")] = None,
    object: Annotated[Name | None, Query(description="What an effect was on: `public.orders`.")] = None,  # noqa: A002
    state: Annotated[Literal["open", "closed"] | None, Query()] = None,
    since: Annotated[AwareDatetime | None, Query(description="Opened then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Opened before then.")] = None,
) -> SessionFilter:
    """The filters that searching and exporting share."""
    return SessionFilter(
        name=name,
        person=person,
        source=source,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        attempt_id=attempt,
        target=target,
        principal=principal,
        credential_id=credential,
        effect=effect,
        object=object,
        opened_from=since,
        opened_before=until,
        live=None if state is None else state == "open",
    )


@router.get("/sessions")
async def search_sessions(
    plane: Plane,
    caller: MayRead,
    chosen: Annotated[SessionFilter, Depends(session_filter)],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> models.Page[models.Session]:
    """Newest first. `effects` are listed when one session is shown."""
    page = await plane.sessions.search(chosen, cursor, limit)
    return models.Page(items=[rendering.session(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/sessions/{session_id}")
async def show_session(session_id: str, plane: Plane, caller: MayRead) -> models.Session:
    """One session, with every effect it had or tried to have."""
    session = await plane.sessions.get(session_id) if is_id(IdPrefix.SESSION, session_id) else None
    if session is None:
        raise not_found("session")
    return rendering.session(session, await plane.sessions.pairs(session_id))


@router.post("/sessions/{session_id}/kill", status_code=status.HTTP_204_NO_CONTENT)
async def kill_session(session_id: str, reason: models.Reason, plane: Plane, caller: MayKill) -> None:
    """Close both sides within a second, whichever process holds the session. The reason goes into the recording."""
    session = await plane.sessions.get(session_id) if is_id(IdPrefix.SESSION, session_id) else None
    if session is None:
        raise not_found("session")
    # That its process died is what others have concluded: the process may know better.
    if session.closed_at is not None and session.closed_reason != PROCESS_DIED:
        raise ApiProblem(409, "this session is closed already", code="session_closed")
    await plane.live.kill(session_id, caller.label, reason.reason or "killed")


@router.get("/live-sessions")
async def list_live_sessions(plane: Plane, caller: MayRead) -> models.Page[models.LiveSession]:
    """What this gateway process holds open at this moment, newest first. `GET /v1/sessions?state=open` knows of all
    processes, a few seconds later."""
    live = sorted(plane.live.list(), key=lambda session: session.opened_at, reverse=True)
    items = [
        models.LiveSession(
            id=session.id,
            principal=rendering.principal(session.principal),
            target=session.target,
            protocol=session.protocol,
            client_address=session.client_address,
            opened_at=session.opened_at,
            actions=session.actions,
            parked=session.parked,
        )
        for session in live
    ]
    return models.Page(items=items)
