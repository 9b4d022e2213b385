"""The policy in force, and why it says what it says."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from taskgate.api.authentication import Caller, Requires
from taskgate.api.dependencies import Plane
from taskgate.api.explaining import explain as explained
from taskgate.api.explaining import principal_of
from taskgate.api.problems import ApiProblem, not_found
from taskgate.client import models
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, is_id

router = APIRouter(tags=["policy"])
MayRead = Annotated[Caller, Depends(Requires(Scope.POLICY_READ))]
MayExplain = Annotated[Caller, Depends(Requires(Scope.POLICY_EXPLAIN))]


@router.get("/policy")
async def show_policy(plane: Plane, caller: MayRead) -> models.PolicyStatus:
    """Which policy is in force, and whether the newest files could be loaded."""
    current, problem = plane.policy.current, plane.policy.error
    return models.PolicyStatus(
        version=current.version,
        files=sorted(current.sources),
        rules=len(current.rules),
        masks=len(current.all_masks),
        warnings=[str(warning) for warning in current.warnings],
        problem=str(problem) if problem else None,
    )


@router.get("/policy/sources")
async def show_policy_sources(plane: Plane, caller: MayRead) -> models.PolicySources:
    """The text of every file in force."""
    current = plane.policy.current
    sources = [models.PolicySource(path=path, text=text) for path, text in sorted(current.sources.items())]
    return models.PolicySources(version=current.version, sources=sources)


@router.post("/policy/explain")
async def explain(
    asked: models.ExplainRequest, plane: Plane, caller: MayExplain, request: Request
) -> models.Explanation:
    """What policy would say to a statement of a principal you describe, or of a session's, and why. Runs nothing."""
    name, address = asked.target or "", request.client.host if request.client else ""
    if asked.principal is not None:
        principal = principal_of(asked.principal)
    else:
        found = await plane.sessions.get(asked.session or "") if is_id(IdPrefix.SESSION, asked.session or "") else None
        if found is None:
            raise not_found("session")
        principal, name, address = found.principal, found.target, found.client_address
    target = plane.targets.get(name)
    if target is None:
        raise ApiProblem(422, f"there is no target {name}", code="unknown_target")
    catalog, policy = plane.catalog(target.name), plane.policy.current
    # A statement of a megabyte takes a while to analyse: not in the loop that everybody's sessions share.
    return await asyncio.to_thread(explained, asked, principal, target, policy, catalog, address)
