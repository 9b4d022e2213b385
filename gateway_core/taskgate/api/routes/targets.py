"""What is behind the gateway. Never its credentials, nor where those come from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.dependencies import AnyCaller, Cursor, Limit, Plane
from taskgate.api.problems import not_found
from taskgate.client import models
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["targets"])
MayRead = Annotated[Caller, Depends(Requires(Scope.TARGETS_READ))]


@router.get("/whoami", tags=["who asks"])
async def whoami(caller: AnyCaller) -> models.WhoAmI:
    """The key that asks, and what it may do."""
    return models.WhoAmI(
        id=caller.id,
        kind="user" if caller.principal.kind is PrincipalKind.USER else "service",
        name=caller.principal.name,
        groups=list(caller.principal.groups),
        scopes=sorted(caller.scopes),
        expires_at=caller.expires_at,
    )


@router.get("/targets")
async def list_targets(
    plane: Plane, caller: MayRead, cursor: Cursor = None, limit: Limit = 50
) -> models.Page[models.Target]:
    """All targets, by name."""
    names = sorted(name for name in plane.targets if cursor is None or name > cursor)
    items = [
        rendering.target(plane.targets[name], plane.endpoints.get(plane.targets[name].protocol))
        for name in names[:limit]
    ]
    return models.Page(items=items, next_cursor=items[-1].name if len(names) > limit else None)


@router.get("/targets/{name}")
async def show_target(name: str, plane: Plane, caller: MayRead) -> models.Target:
    """One target: what it is and where clients connect for it."""
    target = plane.targets.get(name)
    if target is None:
        raise not_found("target")
    return rendering.target(target, plane.endpoints.get(target.protocol))
