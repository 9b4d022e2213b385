from __future__ import annotations

from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import CANARY, Plane


async def test_targets_are_listed_by_name_page_by_page(client_for: ClientFor, plane: Plane) -> None:
    client = client_for(await plane.key("reader", Scope.TARGETS_READ))
    first = (await client.get("/v1/targets?limit=2")).json()
    assert [item["name"] for item in first["items"]] == ["billing-db", "orders-db"]
    second = (await client.get(f"/v1/targets?limit=2&cursor={first['next_cursor']}")).json()
    assert [item["name"] for item in second["items"]] == ["warehouse"]
    assert second["next_cursor"] is None


async def test_a_target_says_where_clients_connect_and_nothing_of_its_secret(
    client_for: ClientFor, plane: Plane
) -> None:
    client = client_for(await plane.key("reader", Scope.TARGETS_READ))
    response = await client.get("/v1/targets/orders-db")
    assert response.json()["gateway"] == {"host": "gateway.example", "port": 6432}
    assert response.json()["labels"] == {"tier": "gold"}
    for listing in (response, await client.get("/v1/targets")):
        assert CANARY not in listing.text
        assert "gateway_role" not in listing.text
