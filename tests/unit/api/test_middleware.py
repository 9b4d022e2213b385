from __future__ import annotations

from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


async def test_security_headers_stand_on_every_kind_of_answer(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("all", Scope.ADMIN))
    for path in ("/healthz", "/v1/targets", "/v1/targets/none", "/v1/nothing", "/v1/sessions?nope=1", "/metrics"):
        response = await client.get(path)
        assert HEADERS.items() <= dict(response.headers).items(), path
    refused = await client_for(None).get("/v1/targets")
    assert HEADERS.items() <= dict(refused.headers).items()


async def test_no_other_origin_is_let_in(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("all", Scope.ADMIN))
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for response in (
        await client.options("/v1/credentials", headers=preflight),
        await client.get("/v1/targets", headers={"Origin": "https://evil.example"}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_request_id_is_taken_over_where_it_looks_like_one(client_for: ClientFor) -> None:
    client = client_for(None)
    assert (await client.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"})).headers["x-request-id"] == "abc-1.2_3"
    for strange in ("a b", "x" * 65, 'a"b', "a\tb", "ü".encode().decode("latin-1")):
        given = (await client.get("/healthz", headers=[(b"x-request-id", strange.encode("latin-1"))])).headers[
            "x-request-id"
        ]
        assert given != strange
        assert len(given) == 32


async def test_requests_are_counted_by_route_and_never_by_path(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("all", Scope.ADMIN))
    await client.get("/v1/targets/orders-db")
    await client.get("/v1/targets/canary-name")
    await client.get("/v1/canary-path")
    text = (await client.get("/metrics")).text
    assert 'taskgate_api_requests_total{method="GET",route="/v1/targets/{name}",status="404"} 1.0' in text
    assert 'route="unmatched"' in text
    assert "canary" not in text
