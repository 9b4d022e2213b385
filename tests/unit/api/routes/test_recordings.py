from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import pytest

from taskgate.identity.scopes import Scope
from taskgate.recording.verify import verify
from taskgate.store.ids import IdPrefix, new_id
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane

STATEMENTS = [f"SELECT {number} FROM public.orders" for number in range(5)]


@pytest.fixture
async def auditor(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("auditor", Scope.RECORDS_READ, user=True))


@pytest.fixture
async def session_id(plane: Plane) -> str:
    session_id = new_id(IdPrefix.SESSION)
    await plane.recorded(session_id, STATEMENTS)
    return session_id


async def test_records_in_order_page_by_page(auditor: httpx.AsyncClient, session_id: str) -> None:
    records, cursor = [], ""
    while True:
        page = (await auditor.get(f"/v1/sessions/{session_id}/records?limit=5{cursor}")).json()
        records += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [record["sequence"] for record in records] == list(range(12))
    assert [record["kind"] for record in records[:3]] == ["session_opened", "action", "result"]
    assert [record["content"]["text"] for record in records if record["kind"] == "action"] == STATEMENTS
    assert len({record["hash"] for record in records}) == 12


async def test_a_cursor_behind_the_end_finds_nothing(auditor: httpx.AsyncClient, session_id: str) -> None:
    page = (await auditor.get(f"/v1/sessions/{session_id}/records?cursor=999")).json()
    assert page == {"items": [], "next_cursor": None}
    assert (await auditor.get(f"/v1/sessions/{session_id}/records?cursor=-1")).status_code == 422


async def test_a_sound_recording_verifies(auditor: httpx.AsyncClient, session_id: str) -> None:
    found = (await auditor.get(f"/v1/sessions/{session_id}/verification")).json()
    assert (found["ok"], found["sealed"], found["records"], found["problems"]) == (True, True, 12, [])


async def test_a_changed_recording_does_not(auditor: httpx.AsyncClient, session_id: str, plane: Plane) -> None:
    files = [path for path in (plane.data_dir / "recordings").rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
    found = (await auditor.get(f"/v1/sessions/{session_id}/verification")).json()
    assert found["ok"] is False
    assert found["problems"][0]["session_id"] == session_id


async def test_a_bundle_verifies_offline_and_nothing_stays_behind(
    auditor: httpx.AsyncClient, session_id: str, plane: Plane, tmp_path: Path
) -> None:
    response = await auditor.get(f"/v1/export?session={session_id}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(response.content)
    assert verify(bundle, sessions=[session_id]).ok
    assert any(session_id in name for name in zipfile.ZipFile(io.BytesIO(response.content)).namelist())
    assert list((plane.data_dir / "exports").iterdir()) == []


async def test_an_export_by_filter(auditor: httpx.AsyncClient, session_id: str) -> None:
    assert (await auditor.get("/v1/export?dag_id=etl&run_id=run-1")).status_code == 200
    assert (await auditor.get("/v1/export?dag_id=other")).status_code == 404
    everything = await auditor.get("/v1/export")
    assert everything.status_code == 422
    assert everything.json()["errors"][0]["message"] == "name sessions, or give a filter"


async def test_headers_only_leave_out_what_was_done(
    auditor: httpx.AsyncClient, session_id: str, tmp_path: Path
) -> None:
    response = await auditor.get(f"/v1/export?session={session_id}&headers_only=true")
    assert b'"salt"' not in response.content
    (tmp_path / "bundle.zip").write_bytes(response.content)
    assert verify(tmp_path / "bundle.zip", sessions=[session_id]).ok


async def test_sessions_that_there_are_none_of(auditor: httpx.AsyncClient, session_id: str) -> None:
    unknown = new_id(IdPrefix.SESSION)
    for path in (
        f"/v1/sessions/{unknown}/records",
        f"/v1/sessions/{unknown}/verification",
        f"/v1/export?session={unknown}",
    ):
        assert (await auditor.get(path)).status_code == 404


async def test_a_session_that_is_indexed_but_not_recorded_here(
    auditor: httpx.AsyncClient, session_id: str, plane: Plane
) -> None:
    for path in sorted((plane.data_dir / "recordings").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    response = await auditor.get(f"/v1/sessions/{session_id}/records")
    assert (response.status_code, response.json()["code"]) == (503, "recording_unreadable")


async def test_a_missing_scope_keeps_the_contents_closed(client_for: ClientFor, plane: Plane, session_id: str) -> None:
    reader = client_for(await plane.key("reader", Scope.SESSIONS_READ, user=True))
    for path in ("records", "verification"):
        assert (await reader.get(f"/v1/sessions/{session_id}/{path}")).status_code == 403
    assert (await reader.get(f"/v1/export?session={session_id}")).status_code == 403
