"""What sessions did, record by record; the proof of it; and both in a bundle to hand over."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import structlog
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from taskgate.api import rendering
from taskgate.api.authentication import Caller, Requires
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import Limit, Plane
from taskgate.api.heavy import Heavy
from taskgate.api.problems import ApiProblem, invalid, not_found
from taskgate.api.routes.sessions import session_filter
from taskgate.client import models
from taskgate.errors import GatewayFault
from taskgate.identity.scopes import Scope
from taskgate.recording.export import export
from taskgate.recording.recordings import Recordings
from taskgate.recording.verify import verify
from taskgate.store.ids import IdPrefix, is_id
from taskgate.store.sessions import SessionFilter

router = APIRouter(tags=["recordings"])
MayRead = Annotated[Caller, Depends(Requires(Scope.RECORDS_READ))]
Position = Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$", description="`next_cursor` of the page before.")]
SessionIds = Annotated[list[str], Query(max_length=1000, description="A session's id; repeat for more.")]

MOST_EXPORTED = 1000
"""Sessions in one bundle by the API. More, or everything: `taskgate export` on the gateway's machine."""

_PAGE_BYTES = 4 * 1024**2  # a page ends early behind this much content: recorded rows can be large
_STALE_AFTER = 3600.0
_CHUNK = 256 * 1024
_log = structlog.get_logger("taskgate.api")


@router.get("/sessions/{session_id}/records")
async def list_records(
    session_id: str, plane: Plane, caller: MayRead, heavy: Heavy, cursor: Position = None, limit: Limit = 100
) -> models.Page[models.Record]:
    """In the order they happened; of a live session those so far. What was masked for the client is masked here."""
    await _existing(session_id, plane)
    return await heavy.run(lambda: _records(plane.recordings, session_id, int(cursor or 0), limit))


def _records(recordings: Recordings, session_id: str, start: int, limit: int) -> models.Page[models.Record]:
    items: list[models.Record] = []
    size = 0
    try:
        for record in recordings.read(session_id):
            if record.seq < start:
                continue
            if len(items) == limit or size > _PAGE_BYTES:
                return models.Page(items=items, next_cursor=str(record.seq))
            size += len(record.raw_content or b"")
            items.append(rendering.record(record))
    except GatewayFault as fault:
        raise ApiProblem(503, fault.message, code="recording_unreadable") from fault
    return models.Page(items=items)


@router.get("/sessions/{session_id}/verification")
async def verify_session(session_id: str, plane: Plane, caller: MayRead, heavy: Heavy) -> models.Verification:
    """Check a session's records against their chain and the signed checkpoints, here and now. What a machine says of
    its own records is no proof to others: export a bundle, and `taskgate verify` it with the key you were given."""
    await _existing(session_id, plane)
    found = await heavy.run(lambda: verify(plane.data_dir, sessions=[session_id]))
    return rendering.verification(session_id, found)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"description": "The bundle.", "content": {"application/zip": {}}}},
)
async def export_sessions(
    plane: Plane,
    caller: MayRead,
    heavy: Heavy,
    chosen: Annotated[SessionFilter, Depends(session_filter)],
    session: SessionIds = [],  # noqa: B006  FastAPI copies it
    headers_only: Annotated[bool, Query(description="No contents: proof without what was done.")] = False,
) -> StreamingResponse:
    """A bundle (zip) of sessions, named or found by the filters of the search: records, checkpoints and policies, that
    `taskgate verify` and `taskgate sessions replay` read offline."""
    if not session and chosen == SessionFilter():
        raise invalid("query", "name sessions, or give a filter")
    for session_id in session:
        await _existing(session_id, plane)
    ids = list(dict.fromkeys(session)) or await _found(plane, chosen)
    if not ids:
        raise not_found("session")
    _log.info("api.exported", caller=caller.id, sessions=len(ids))
    bundle = await heavy.run(lambda: _bundle(plane, ids, contents=not headers_only))
    headers = {"Content-Disposition": 'attachment; filename="taskgate-export.zip"'}
    return StreamingResponse(_chunks(bundle), media_type="application/zip", headers=headers)


async def _found(plane: ControlPlane, chosen: SessionFilter) -> list[str]:
    page = await plane.sessions.search(chosen, None, 500)
    ids = [session.id for session in page.items]
    while page.next_cursor is not None:
        if len(ids) >= MOST_EXPORTED:
            raise invalid("query", f"finds more than {MOST_EXPORTED} sessions: narrow it")
        page = await plane.sessions.search(chosen, page.next_cursor, 500)
        ids += [session.id for session in page.items]
    return ids


def _bundle(plane: ControlPlane, ids: list[str], *, contents: bool) -> BinaryIO:
    """The bundle as an open file that has no name any more: nothing in clear stays behind, whatever becomes of us."""
    folder = plane.data_dir / "exports"
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.iterdir():  # by a process that was killed while it wrote
        if time.time() - left.stat().st_mtime > _STALE_AFTER:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "bundle.zip"
        try:
            export(plane.data_dir, path, ids, contents=contents, recordings=plane.recordings)
        except GatewayFault as fault:
            raise ApiProblem(503, fault.message, code="recording_unreadable") from fault
        return path.open("rb")


def _chunks(bundle: BinaryIO) -> Iterator[bytes]:
    with bundle:
        yield from iter(lambda: bundle.read(_CHUNK), b"")


async def _existing(session_id: str, plane: ControlPlane) -> None:
    """Raises a 404 unless the index knows the session."""
    if not is_id(IdPrefix.SESSION, session_id) or await plane.sessions.get(session_id) is None:
        raise not_found("session")
