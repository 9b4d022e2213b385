"""Every route but the open ones refuses without a key: proven by walking the routes, not by listing them."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from taskgate.api.app import create_app, is_for, required_scope
from taskgate.api.authentication import OPEN_PATHS, Caller, Requires, own_run, own_task
from taskgate.domain import Assurance, Principal, PrincipalKind
from taskgate.errors import StoreFault
from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane

EXPECTED_OPEN = {"/healthz", "/readyz", "/metrics", "/v1/openapi.json"}


def routes(app: FastAPI) -> list[tuple[str, str]]:
    found = []
    for route in app.routes:
        assert isinstance(route, Route | APIRoute), f"{route} is of a kind this test does not know"
        for method in route.methods or ():
            found.append((method, re.sub(r"\{[^}]+\}", "x", route.path)))
    return found


def test_the_open_paths_are_exactly_these() -> None:
    assert OPEN_PATHS == EXPECTED_OPEN


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer tgk_0123456789abcdef0123456789abcdef.wrong",
        "Basic dXNlcjpwYXNz",
        "bearer tgk_.x",
        "Bearer " + "x" * 5000,
    ],
)
async def test_every_route_refuses_without_a_valid_key(
    app: FastAPI, client_for: ClientFor, authorization: str | None
) -> None:
    client = client_for(None)
    headers = {"Authorization": authorization} if authorization else {}
    checked = 0
    for method, path in routes(app):
        if path in EXPECTED_OPEN:
            continue
        response = await client.request(method, path, headers=headers)
        assert response.status_code == 401, (method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["code"] == "not_authenticated"
        checked += 1
    assert checked >= 20


async def test_an_unknown_path_does_not_tell_strangers_that_it_is_unknown(client_for: ClientFor) -> None:
    for path in ("/v1/nothing", "/", "/docs", "/redoc", "/v1/openapi.json/", "//v1/targets", "/v1/../healthz"):
        assert (await client_for(None).get(path)).status_code in (200, 401), path


async def test_open_paths_answer_without_a_key(client_for: ClientFor) -> None:
    for path in EXPECTED_OPEN:
        assert (await client_for(None).get(path)).status_code == 200, path


async def test_every_route_under_v1_depends_on_the_caller_and_states_its_scope(app: FastAPI) -> None:
    def demands(dependant: object) -> list[Requires]:
        found = [dependant.call] if isinstance(dependant.call, Requires) else []  # type: ignore[attr-defined]
        return found + [item for inner in dependant.dependencies for item in demands(inner)]  # type: ignore[attr-defined]

    for route in app.routes:
        if isinstance(route, APIRoute) and route.path.startswith("/v1/"):
            own = [who for who in (own_task, own_run) if is_for(who, route.dependant)]
            assert len(demands(route.dependant)) + len(own) == 1, route.path


async def test_a_key_without_the_scope_is_refused_on_every_route_that_needs_one(
    app: FastAPI, client_for: ClientFor, plane: Plane
) -> None:
    client = client_for(await plane.key("bare"))
    refused = 0
    for route in app.routes:
        if not isinstance(route, APIRoute) or not (scope := required_scope(route.dependant)):
            continue
        path = re.sub(r"\{[^}]+\}", "x", route.path)
        for method in route.methods:
            response = await client.request(method, path, json=_body(route))
            assert response.status_code == 403, (method, path, response.text)
            assert response.json()["code"] == "scope_missing"
            assert scope in response.json()["detail"]
            refused += 1
    assert refused >= 10


def _body(route: APIRoute) -> object:
    """A body that passes validation, so that what refuses is the scope."""
    if route.name == "issue_credential":
        return {"target": "orders-db"}
    if route.name == "create_api_key":
        return {"kind": "service", "name": "x", "scopes": []}
    if route.name == "decide_approval":
        return {"approve": True}
    if route.name == "approval_states":
        return {"ids": ["apr_1"]}
    if route.name == "explain":
        return {"target": "orders-db", "text": "select 1", "principal": {"source": "x"}}
    return {} if "POST" in route.methods else None


async def test_a_revoked_key_is_refused_at_once(client_for: ClientFor, plane: Plane) -> None:
    secret = await plane.key("soon-gone", Scope.TARGETS_READ)
    client = client_for(secret)
    assert (await client.get("/v1/targets")).status_code == 200
    await plane.api_keys.revoke(secret.partition(".")[0], "test", "over")
    assert (await client.get("/v1/targets")).status_code == 401


async def test_two_authorization_headers_are_refused(app: FastAPI, plane: Plane) -> None:
    secret = await plane.key("one", Scope.TARGETS_READ)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        headers = [("Authorization", f"Bearer {secret}"), ("Authorization", "Bearer other")]
        assert (await client.get("/v1/targets", headers=headers)).status_code == 401


async def test_the_store_being_away_is_a_503_and_not_a_401(client_for: ClientFor, plane: Plane) -> None:
    secret = await plane.key("one", Scope.TARGETS_READ)

    async def away(_: str) -> None:
        raise StoreFault("The store is out of reach.")

    plane.api_keys.authenticate = away  # type: ignore[method-assign,assignment]
    response = await client_for(secret).get("/v1/targets")
    assert response.status_code == 503
    assert response.json()["code"] == "store_unavailable"


async def test_another_authenticator_can_be_added(plane: Plane) -> None:
    class Tokens:
        async def authenticate(self, token: str) -> Caller | None:
            if token != "from-an-idp":
                return None
            alice = Principal(PrincipalKind.USER, "alice", "idp", Assurance.VERIFIED, "oidc")
            return Caller("sub-1", alice, frozenset({Scope.TARGETS_READ}))

    transport = httpx.ASGITransport(app=create_app(plane, [Tokens()]))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        known = await client.get("/v1/whoami", headers={"Authorization": "Bearer from-an-idp"})
        assert known.json()["name"] == "alice"
        unknown = await client.get("/v1/whoami", headers={"Authorization": "Bearer other"})
        assert unknown.status_code == 401


async def test_whoami_says_who_and_what_but_not_the_secret(client_for: ClientFor, plane: Plane) -> None:
    secret = await plane.key("dana", Scope.APPROVALS_DECIDE, Scope.APPROVALS_READ, user=True, groups=["dba"])
    response = await client_for(secret).get("/v1/whoami")
    assert response.json() == {
        "id": secret.partition(".")[0],
        "kind": "user",
        "name": "dana",
        "groups": ["dba"],
        "scopes": ["approvals:decide", "approvals:read"],
        "expires_at": None,
    }
    assert secret.partition(".")[2] not in response.text
