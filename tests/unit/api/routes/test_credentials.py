from __future__ import annotations

import httpx
import pytest

from taskgate.api.claims import ASSERTABLE, SOURCE_PREFIX
from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane

ISSUE = Scope.CREDENTIALS_ISSUE
CLAIM = {
    "kind": "task",
    "source": "prod",
    "dag_id": "etl",
    "run_id": "run-1",
    "task_id": "clean",
    "attempt_id": "ti-1",
    "try_number": 2,
}


@pytest.fixture
async def airflow(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("airflow", ISSUE))


@pytest.fixture
async def alice(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("alice", ISSUE, user=True, groups=["analysts"]))


async def test_what_a_service_says_of_a_task_is_asserted(airflow: httpx.AsyncClient, plane: Plane) -> None:
    attributes = {"bundle": "etl", "run_type": "scheduled", "tags": ["gold", "daily"]}
    response = await airflow.post(
        "/v1/credentials", json={"target": "orders-db", "ttl": 60, "principal": {**CLAIM, "attributes": attributes}}
    )
    assert response.status_code == 201
    issued = response.json()
    principal = issued["principal"]
    assert (principal["assurance"], principal["verified_by"]) == ("asserted", "api-key:airflow")
    assert (principal["kind"], principal["name"], principal["source"]) == ("task", "etl.clean", "prod")
    assert principal["attributes"] == attributes
    assert principal["attempt"]["try_number"] == 2
    assert issued["user"].startswith("tg_")
    assert (issued["host"], issued["port"], issued["database"]) == ("gateway.example", 6432, "orders")
    assert issued["dsn"] == f"postgresql://{issued['user']}:{issued['password']}@gateway.example:6432/orders"
    assert response.headers["cache-control"] == "no-store"
    stored = await plane.credentials.find(issued["id"])
    assert stored is not None
    assert stored.principal.attempt is not None
    assert stored.principal.attempt.id == "ti-1"
    assert 55 < (stored.expires_at - stored.issued_at).total_seconds() <= 60


async def test_the_secret_is_never_answered_again(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("all", Scope.ADMIN))
    issued = (await client.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})).json()
    for path in ("/v1/credentials", f"/v1/credentials/{issued['id']}"):
        text = (await client.get(path)).text
        assert issued["id"] in text
        assert issued["password"] not in text
        assert "scram" not in text.lower()


async def test_a_person_gets_one_for_themselves_only(alice: httpx.AsyncClient) -> None:
    issued = (await alice.post("/v1/credentials", json={"target": "orders-db"})).json()
    principal = issued["principal"]
    assert (principal["kind"], principal["name"], principal["assurance"]) == ("user", "alice", "verified")
    assert principal["attributes"]["groups"] == ["analysts"]
    refused = await alice.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_oneself")


async def test_a_service_gets_one_for_itself_that_is_asserted(airflow: httpx.AsyncClient) -> None:
    principal = (await airflow.post("/v1/credentials", json={"target": "orders-db"})).json()["principal"]
    assert (principal["kind"], principal["name"], principal["assurance"]) == ("service", "airflow", "asserted")


@pytest.mark.parametrize("name", ["groups", "aliases", "assurance", "verified_by", "kind", "dag_id", "source", "x"])
async def test_what_a_key_cannot_state_is_refused(airflow: httpx.AsyncClient, name: str) -> None:
    body = {"target": "orders-db", "principal": {**CLAIM, "attributes": {name: "dba"}}}
    response = await airflow.post("/v1/credentials", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"] == f"body.principal.attributes.{name}"


@pytest.mark.parametrize(
    ("attribute", "value"), [("bundle", ["a"]), ("bundle", True), ("tags", "gold"), ("owner", 3), ("owner", "x" * 251)]
)
async def test_attributes_have_types_and_bounds(airflow: httpx.AsyncClient, attribute: str, value: object) -> None:
    body = {"target": "orders-db", "principal": {**CLAIM, "attributes": {attribute: value}}}
    assert (await airflow.post("/v1/credentials", json=body)).status_code == 422


async def test_every_assertable_attribute_can_be_stated(airflow: httpx.AsyncClient) -> None:
    attributes = {name: ["a"] if kind is tuple else "a" for name, kind in ASSERTABLE.items()}
    body = {"target": "orders-db", "principal": {**CLAIM, "attributes": attributes}}
    assert (await airflow.post("/v1/credentials", json=body)).json()["principal"]["attributes"] == attributes


async def test_a_key_made_for_one_source_speaks_for_no_other(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("staging", ISSUE, groups=[f"{SOURCE_PREFIX}staging"]))
    refused = await client.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})
    assert (refused.status_code, refused.json()["code"]) == (403, "source_not_permitted")
    allowed = await client.post(
        "/v1/credentials", json={"target": "orders-db", "principal": {**CLAIM, "source": "staging"}}
    )
    assert allowed.status_code == 201


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"target": "none"}, 422),
        ({"ttl": 0}, 422),
        ({"ttl": 1e12}, 422),
        ({"ttl": 1}, 422),  # below what the gateway issues
        ({"principal": {**CLAIM, "dag_id": "a\nb"}}, 422),
        ({"principal": {**CLAIM, "dag_id": ""}}, 422),
        ({"principal": {**CLAIM, "kind": "user"}}, 422),
        ({"principal": {**CLAIM, "map_index": -2}}, 422),
        ({"principal": {**CLAIM, "surprise": 1}}, 422),
    ],
)
async def test_requests_that_are_not_valid(airflow: httpx.AsyncClient, change: dict[str, object], status: int) -> None:
    body = {"target": "orders-db", "principal": CLAIM} | change
    assert (await airflow.post("/v1/credentials", json=body)).status_code == status


async def test_nothing_is_issued_where_nothing_listens(airflow: httpx.AsyncClient, plane: Plane) -> None:
    plane.endpoints = {}
    response = await airflow.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})
    assert (response.status_code, response.json()["code"]) == (503, "no_listener")
    assert (await plane.credentials.search()).items == ()


async def test_without_the_scope_one_sees_and_revokes_only_ones_own(
    airflow: httpx.AsyncClient, alice: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    of_task = (await airflow.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})).json()["id"]
    of_alice = (await alice.post("/v1/credentials", json={"target": "orders-db"})).json()["id"]
    listed = (await alice.get("/v1/credentials")).json()["items"]
    assert [item["id"] for item in listed] == [of_alice]
    assert (await alice.get(f"/v1/credentials/{of_task}")).status_code == 404
    assert (await alice.post(f"/v1/credentials/{of_task}/revoke", json={})).status_code == 404
    assert (await airflow.get(f"/v1/credentials/{of_task}")).status_code == 200  # it issued it
    reader = client_for(await plane.key("auditor", Scope.CREDENTIALS_READ, user=True))
    assert len((await reader.get("/v1/credentials")).json()["items"]) == 2
    assert [item["id"] for item in (await reader.get("/v1/credentials?attempt=ti-1")).json()["items"]] == [of_task]
    assert (await reader.post(f"/v1/credentials/{of_task}/revoke", json={})).status_code == 404


async def test_revoking_is_idempotent_and_shows(airflow: httpx.AsyncClient, plane: Plane) -> None:
    issued = (await airflow.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})).json()["id"]
    first = await airflow.post(f"/v1/credentials/{issued}/revoke", json={"reason": "over"})
    second = await airflow.post(f"/v1/credentials/{issued}/revoke", json={})
    assert first.json()["revoked_at"] == second.json()["revoked_at"] is not None
    assert await plane.credentials.find(issued) is None


async def test_the_end_of_an_attempt_ends_what_this_key_issued_for_it(
    airflow: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    other = client_for(await plane.key("other", ISSUE))
    for client in (airflow, airflow, other):
        await client.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})
    assert (await airflow.post("/v1/attempts/ti-1/revoke", json={})).json() == {"revoked": 2}
    revoker = client_for(await plane.key("operator", Scope.CREDENTIALS_REVOKE))
    assert (await revoker.post("/v1/attempts/ti-1/revoke", json={})).json() == {"revoked": 1}
    assert (await revoker.post("/v1/attempts/ti-1/revoke", json={})).json() == {"revoked": 0}


async def test_pages_of_credentials(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("all", Scope.ADMIN))
    made = [
        (await client.post("/v1/credentials", json={"target": "orders-db", "principal": CLAIM})).json()["id"]
        for _ in range(5)
    ]
    first = (await client.get("/v1/credentials?limit=3")).json()
    second = (await client.get(f"/v1/credentials?limit=3&cursor={first['next_cursor']}")).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
