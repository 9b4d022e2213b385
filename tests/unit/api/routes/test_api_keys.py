from __future__ import annotations

import httpx
import pytest

from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane


@pytest.fixture
async def admin(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("root", Scope.ADMIN, user=True))


async def test_a_key_is_made_shown_once_and_works(admin: httpx.AsyncClient, client_for: ClientFor) -> None:
    body = {
        "kind": "user",
        "name": "dana",
        "scopes": ["approvals:decide", "approvals:read"],
        "groups": ["dba"],
        "aliases": ["dana@example.com"],
        "expires_in": 3600,
    }
    made = (await admin.post("/v1/api-keys", json=body)).json()
    assert made["key"]["created_by"].startswith("user:root (tgk_")
    assert made["key"]["expires_at"] is not None
    assert (await client_for(made["secret"]).get("/v1/whoami")).json()["name"] == "dana"
    listed = await admin.get("/v1/api-keys")
    assert {item["name"] for item in listed.json()["items"]} == {"dana", "root"}
    assert made["secret"] not in listed.text
    assert made["secret"].partition(".")[2] not in listed.text


async def test_a_revoked_key_no_longer_works(admin: httpx.AsyncClient, client_for: ClientFor, plane: Plane) -> None:
    secret = await plane.key("gone", Scope.TARGETS_READ)
    key_id = secret.partition(".")[0]
    revoked = await admin.post(f"/v1/api-keys/{key_id}/revoke", json={"reason": "left"})
    assert revoked.json()["revoked_at"] is not None
    assert (await client_for(secret).get("/v1/whoami")).status_code == 401
    assert key_id not in (await admin.get("/v1/api-keys")).text
    assert key_id in (await admin.get("/v1/api-keys?live=false")).text
    assert (await admin.post("/v1/api-keys/tgk_none/revoke", json={})).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ["everything"]},
        {"kind": "service", "scopes": ["approvals:decide"]},  # nobody's decision
        {"kind": "task"},
        {"name": ""},
        {"name": "a\x00b"},
        {"expires_in": 0},
    ],
)
async def test_keys_that_cannot_be_made(admin: httpx.AsyncClient, change: dict[str, object]) -> None:
    body = {"kind": "user", "name": "x", "scopes": []} | change
    assert (await admin.post("/v1/api-keys", json=body)).status_code == 422
