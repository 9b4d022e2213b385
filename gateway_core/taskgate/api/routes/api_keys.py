"""API keys, for administrators. The first one is made on the gateway's machine: `taskgate api-key create`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, status

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.dependencies import Cursor, Limit, Plane
from taskgate.api.problems import not_found
from taskgate.client import models
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["api keys"])
Administrator = Annotated[Caller, Depends(Requires(Scope.ADMIN))]


@router.post("/api-keys", status_code=status.HTTP_201_CREATED)
async def create_api_key(request: models.ApiKeyRequest, plane: Plane, caller: Administrator) -> models.CreatedApiKey:
    """Make a key. Its secret is answered this once."""
    key, secret = await plane.api_keys.create(
        PrincipalKind(request.kind),
        request.name,
        request.scopes,
        request.groups,
        created_by=caller.label,
        aliases=request.aliases,
        ttl=request.expires_in,
    )
    return models.CreatedApiKey.model_validate({"key": rendering.api_key(key), "secret": secret})


@router.get("/api-keys")
async def list_api_keys(
    plane: Plane,
    caller: Administrator,
    live: Annotated[bool, Query(description="Only what is neither expired nor revoked.")] = True,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> models.Page[models.ApiKey]:
    """Newest first."""
    page = await plane.api_keys.list(live=live, cursor=cursor, limit=limit)
    return models.Page(items=[rendering.api_key(key) for key in page.items], next_cursor=page.next_cursor)


@router.post("/api-keys/{key_id}/revoke")
async def revoke_api_key(key_id: str, reason: models.Reason, plane: Plane, caller: Administrator) -> models.ApiKey:
    """End a key at once. Revoking twice changes nothing."""
    await plane.api_keys.revoke(key_id, caller.label, reason.reason or "revoked")
    key = await plane.api_keys.get(key_id)
    if key is None:
        raise not_found("API key")
    return rendering.api_key(key)
