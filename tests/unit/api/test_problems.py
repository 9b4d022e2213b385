from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from taskgate.api.middleware import MAX_BODY
from taskgate.errors import (
    ClientFault,
    GatewayFault,
    PolicyRefusal,
    StoreFault,
    TargetFault,
    TaskgateError,
)
from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:taskgate:problem:{code}"
    assert problem["title"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


@pytest.fixture
async def client(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("all", Scope.ADMIN))


async def test_nothing_at_this_address(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/v1/nothing"), 404, "not_found")
    assert_problem(await client.get("/v1/targets/"), 404, "not_found")


async def test_not_this_method(client: httpx.AsyncClient) -> None:
    response = await client.delete("/v1/targets")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET"


async def test_an_unknown_item(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/v1/targets/none"), 404, "not_found")


async def test_validation_names_the_place_and_never_repeats_the_input(client: httpx.AsyncClient) -> None:
    body = {"target": 3, "password": "canary-value", "ttl": -1}
    response = await client.post("/v1/credentials", json=body)
    problem = assert_problem(response, 422, "invalid")
    places = {error["where"] for error in problem["errors"]}  # type: ignore[attr-defined]
    assert places == {"body.target", "body.password", "body.ttl"}
    assert "canary-value" not in response.text


async def test_a_body_that_is_no_json(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/credentials", content=b"{canary-value", headers={"Content-Type": "application/json"}
    )
    assert_problem(response, 422, "invalid")
    assert "canary-value" not in response.text


async def test_an_unknown_query_parameter_is_refused_and_not_ignored(client: httpx.AsyncClient) -> None:
    problem = assert_problem(await client.get("/v1/sessions?dagid=etl"), 422, "invalid")
    assert problem["errors"] == [{"where": "query.dagid", "message": "no such parameter here"}]


async def test_a_cursor_that_is_none(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/v1/sessions?cursor=%00x"), 422, "invalid")
    assert_problem(await client.get("/v1/credentials?cursor=bm9uc2Vuc2U"), 422, "invalid")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (StoreFault("The store is out of reach."), 503, "store_unavailable"),
        (TargetFault("the target is away"), 503, "target_unavailable"),
        (GatewayFault("ours"), 503, "unavailable"),
        (PolicyRefusal("no"), 403, "policy_refused"),
        (ClientFault("yours"), 422, "invalid"),
        (TaskgateError("something else"), 500, "internal"),
    ],
)
async def test_faults_by_whose_they_are(
    client: httpx.AsyncClient, plane: Plane, fault: TaskgateError, status: int, code: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise fault

    plane.credentials.get = fail  # type: ignore[method-assign]
    assert_problem(await client.get("/v1/credentials/tg_x"), status, code)


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(client: httpx.AsyncClient, plane: Plane) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary-value in a traceback")

    plane.credentials.get = fail  # type: ignore[method-assign]
    response = await client.get("/v1/credentials/tg_x")
    assert_problem(response, 500, "internal")
    assert "canary-value" not in response.text


async def test_a_body_that_says_it_is_too_large(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/credentials", content=b"x" * (MAX_BODY + 1))
    assert_problem(response, 413, "too_large")


async def test_a_body_that_turns_out_too_large(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 65536
            yield b" " * 65536

    response = await client.post(
        "/v1/credentials",
        content=endless(),
        headers={"Content-Type": "application/json"},
    )
    assert_problem(response, 413, "too_large")
    assert sent <= MAX_BODY + 2 * 65536


@pytest.mark.parametrize("length", [b"-1", b"1e9", b"99999999999999999999999"])
async def test_a_content_length_that_is_none(app: FastAPI, length: bytes, plane: Plane) -> None:
    secret = await plane.key("all", Scope.ADMIN)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        raise AssertionError("nothing may be read")

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/credentials",
        "raw_path": b"/v1/credentials",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-length", length), (b"authorization", f"Bearer {secret}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 413
