"""What sessions did, record by record."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from taskgate.api.authentication import Caller, Requires
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import Limit, Plane
from taskgate.api.problems import not_found
from taskgate.client import models
from taskgate.identity.scopes import Scope
from taskgate.recording.recordings import Recordings
from taskgate.store.ids import IdPrefix, is_id

router = APIRouter(tags=["recordings"])
MayRead = Annotated[Caller, Depends(Requires(Scope.RECORDS_READ))]

_PAGE_BYTES = 4 * 1024**2
"""A page ends early behind this much content: recorded rows can be large."""

Position = Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$", description="`next_cursor` of the page before.")]


@router.get("/sessions/{session_id}/records")
async def list_records(
    session_id: str, plane: Plane, caller: MayRead, cursor: Position = None, limit: Limit = 100
) -> models.Page[models.Record]:
    """In the order they happened; of a live session those so far. What was masked for the client is masked here."""
    await existing(session_id, plane)
    return await asyncio.to_thread(_records, plane.recordings, session_id, int(cursor or 0), limit)


def _records(recordings: Recordings, session_id: str, start: int, limit: int) -> models.Page[models.Record]:
    items: list[models.Record] = []
    size = 0
    for record in recordings.read(session_id):
        if record.seq < start:
            continue
        if len(items) == limit or size > _PAGE_BYTES:
            return models.Page(items=items, next_cursor=str(record.seq))
        size += len(record.raw_content or b"")
        items.append(
            models.Record(
                sequence=record.seq,
                kind=record.kind,
                at=record.at,
                content=record.content,
                hash=record.header.hash(),
                policy_version=record.header.policy,
            )
        )
    return models.Page(items=items)


async def existing(session_id: str, plane: ControlPlane) -> None:
    """Raises a 404 unless the index knows the session."""
    if not is_id(IdPrefix.SESSION, session_id) or await plane.sessions.get(session_id) is None:
        raise not_found("session")
