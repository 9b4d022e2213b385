from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import pytest

from taskgate.api.control_plane import LiveSession
from taskgate.domain import Pair
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.sessions import SessionCounts
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane, task


@pytest.fixture
async def reader(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("auditor", Scope.SESSIONS_READ, user=True))


async def _open(plane: Plane, target: str = "orders-db", attempt: str = "ti-1") -> str:
    session_id = new_id(IdPrefix.SESSION)
    await plane.sessions.opened(
        session_id, task(attempt), target, protocol="postgres", client_address="10.0.0.9", policy_version="p1"
    )
    return session_id


async def test_search_by_everything(reader: httpx.AsyncClient, plane: Plane) -> None:
    first = await _open(plane)
    await plane.sessions.progress(first, SessionCounts(2, 1, 30, 4), [Pair("sql.delete", "public.orders")])
    plane.sessions.closed(first, "the client left", SessionCounts(2, 1, 30, 4))
    await plane.sessions.settle()
    second = await _open(plane, "billing-db", "ti-2")
    soon = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat())

    async def ids(query: str) -> list[str]:
        response = await reader.get(f"/v1/sessions?{query}")
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]

    assert await ids("") == [second, first]
    assert await ids("source=prod&dag_id=etl&run_id=run-1&task_id=clean&map_index=-1") == [second, first]
    assert await ids("attempt=ti-2") == [second]
    assert await ids("target=orders-db") == [first]
    assert await ids(f"principal={quote('task:prod:etl.clean')}") == [second, first]
    assert await ids("name=RUN-1+lea") == [second, first]
    assert await ids("name=run-1+other") == []
    assert await ids("name=%25") == []
    assert await ids("person=alice") == []
    assert await ids("effect=sql.delete") == [first]
    assert await ids("effect=sql.delete&object=public.other") == []
    assert await ids("state=open") == [second]
    assert await ids("state=closed") == [first]
    assert await ids(f"until={soon}") == [second, first]
    assert await ids(f"since={soon}") == []
    for wrong in ("state=lost", "since=yesterday", "since=2026-01-01T00:00:00", "map_index=x", "limit=0", "limit=501"):
        assert (await reader.get(f"/v1/sessions?{wrong}")).status_code == 422, wrong


async def test_one_session_with_what_it_did(reader: httpx.AsyncClient, plane: Plane) -> None:
    session_id = await _open(plane)
    await plane.sessions.progress(session_id, SessionCounts(2, 1, 30, 4), [Pair("sql.delete", "public.orders")])
    shown = (await reader.get(f"/v1/sessions/{session_id}")).json()
    assert (shown["state"], shown["actions"], shown["refused"], shown["rows"], shown["masked"]) == ("open", 2, 1, 30, 4)
    assert shown["effects"] == ["sql.delete public.orders"]
    for unknown in ("ses_x", new_id(IdPrefix.SESSION), "%00"):
        assert (await reader.get(f"/v1/sessions/{unknown}")).status_code == 404


async def test_kill_goes_to_the_registry_with_who_and_why(
    reader: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    session_id = await _open(plane)
    assert (await reader.post(f"/v1/sessions/{session_id}/kill", json={})).status_code == 403
    secret = await plane.key("oncall", Scope.SESSIONS_KILL, user=True)
    oncall = client_for(secret)
    response = await oncall.post(f"/v1/sessions/{session_id}/kill", json={"reason": "runaway"})
    assert response.status_code == 204
    assert plane.live.killed == [(session_id, f"user:oncall ({secret.partition('.')[0]})", "runaway")]
    plane.sessions.closed(session_id, "killed", SessionCounts())
    await plane.sessions.settle()
    again = await oncall.post(f"/v1/sessions/{session_id}/kill", json={})
    assert (again.status_code, again.json()["code"]) == (409, "session_closed")
    assert (await oncall.post("/v1/sessions/ses_none/kill", json={})).status_code == 404


async def test_live_sessions_newest_first(reader: httpx.AsyncClient, plane: Plane) -> None:
    now = datetime.now(UTC)
    plane.live.open = [
        LiveSession("ses_old", task(), "orders-db", "postgres", "10.0.0.9", now - timedelta(minutes=1), 3),
        LiveSession("ses_new", task(), "orders-db", "postgres", "10.0.0.9", now, 0, parked=True),
    ]
    items = (await reader.get("/v1/live-sessions")).json()["items"]
    assert [(item["id"], item["parked"]) for item in items] == [("ses_new", True), ("ses_old", False)]
