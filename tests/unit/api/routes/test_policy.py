from __future__ import annotations

from typing import Any

import httpx
import pytest

from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import POLICY, Plane


@pytest.fixture
async def author(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("author", Scope.POLICY_READ, Scope.POLICY_EXPLAIN, user=True))


async def explained(client: httpx.AsyncClient, text: str, **changes: Any) -> dict[str, Any]:
    principal = {"source": "prod", "dag_id": "etl", "task_id": "clean"} | changes
    body = {"target": "orders-db", "text": text, "principal": principal}
    response = await client.post("/v1/policy/explain", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_policy_in_force_and_its_text(author: httpx.AsyncClient, plane: Plane) -> None:
    status = (await author.get("/v1/policy")).json()
    assert status["version"] == plane.policy.current.version
    assert status["problem"] is None
    sources = (await author.get("/v1/policy/sources")).json()["sources"]
    assert POLICY in [source["text"] for source in sources]


async def test_a_policy_that_does_not_load_shows(author: httpx.AsyncClient, plane: Plane) -> None:
    in_force = plane.policy.current.version
    (plane.data_dir.parent / "policy.yaml").write_text("version: 1\nrules: [{id: x, surprise: 1}]\n")
    plane.policy.reload()
    status = (await author.get("/v1/policy")).json()
    assert "policy.yaml" in status["problem"]
    assert status["version"] == in_force


async def test_why_it_is_allowed(author: httpx.AsyncClient) -> None:
    answer = await explained(author, "SELECT id FROM orders")
    assert (answer["verdict"], answer["pairs"]) == ("allow", ["sql.select public.orders"])
    assert [match["rule"] for match in answer["matches"]] == ["etl-reads"]
    assert answer["masks"] == ["mails"]
    fates = {report["rule"]: report["stage"] for report in answer["considered"]}
    assert (fates["etl-reads"], fates["no-ddl"]) == ("matched", "effect")


async def test_why_it_is_denied(author: httpx.AsyncClient) -> None:
    answer = await explained(author, "DROP TABLE orders")
    assert (answer["verdict"], answer["reason"]) == ("deny", "Schema changes go through migrations.")
    uncovered = await explained(author, "UPDATE orders SET note = 'x'")
    assert uncovered["verdict"] == "deny"
    assert "sql.update public.orders" in uncovered["uncovered"]


async def test_who_would_be_asked(author: httpx.AsyncClient) -> None:
    answer = await explained(author, "DELETE FROM orders")
    assert answer["verdict"] == "approve"
    assert (answer["terms"]["approvers"], answer["terms"]["max_rows"]) == (["group:dba"], 500)


async def test_what_masking_cannot_hide_is_denied_although_a_rule_allows_it(author: httpx.AsyncClient) -> None:
    assert (await explained(author, "SELECT email FROM customers"))["verdict"] == "allow"
    answer = await explained(author, "SELECT id FROM customers WHERE email = 'a@b.example'")
    assert answer["verdict"] == "deny"
    assert "customers.email" in answer["reason"]


async def test_assurance_counts(author: httpx.AsyncClient) -> None:
    assert (await explained(author, "SELECT id FROM orders", assurance="asserted"))["verdict"] == "deny"


async def test_text_that_is_no_sql_and_targets_there_are_none_of(author: httpx.AsyncClient) -> None:
    principal = {"source": "prod"}
    wrong = await author.post(
        "/v1/policy/explain", json={"target": "orders-db", "text": "SELEC", "principal": principal}
    )
    assert wrong.status_code == 422
    none = await author.post("/v1/policy/explain", json={"target": "none", "text": "SELECT 1", "principal": principal})
    assert (none.status_code, none.json()["code"]) == (422, "unknown_target")
    away = await author.post(
        "/v1/policy/explain", json={"target": "billing-db", "text": "SELECT 1", "principal": principal}
    )
    assert (away.status_code, away.json()["code"]) == (503, "target_unavailable")


async def test_of_a_sessions_principal(author: httpx.AsyncClient, plane: Plane) -> None:
    session_id = new_id(IdPrefix.SESSION)
    await plane.recorded(session_id, [])
    body = {"session": session_id, "text": "SELECT id FROM orders"}
    answer = (await author.post("/v1/policy/explain", json=body)).json()
    assert (answer["verdict"], answer["target"]) == ("allow", "orders-db")
    both = await author.post("/v1/policy/explain", json=body | {"target": "orders-db"})
    assert both.status_code == 422
    none = await author.post("/v1/policy/explain", json=body | {"session": new_id(IdPrefix.SESSION)})
    assert none.status_code == 404
    assert (await author.post("/v1/policy/explain", json=body | {"session": "ses_1"})).status_code == 404


async def test_parameters_time_and_address_can_be_said(author: httpx.AsyncClient, plane: Plane) -> None:
    rule = """\
version: 1
rules:
  - id: mondays
    match: {targets: [orders-db], effects: [sql.select]}
    when: action.parameters == ["7"] && context.weekday == "monday" && context.client_address == "10.0.0.9"
    verdict: allow
"""
    (plane.data_dir.parent / "policy.yaml").write_text(rule)
    assert plane.policy.reload() is None
    body = {
        "target": "orders-db",
        "principal": {"source": "prod", "dag_id": "etl", "task_id": "clean"},
        "text": "SELECT id FROM orders WHERE id = $1",
        "time": "2026-11-23T10:00:00Z",
        "client_address": "10.0.0.9",
    }
    unbound = (await author.post("/v1/policy/explain", json=body)).json()
    assert (unbound["verdict"], unbound["undecided"]) == ("deny", True)
    bound = (await author.post("/v1/policy/explain", json=body | {"parameters": ["7"]})).json()
    assert (bound["verdict"], bound["undecided"], bound["cacheable"]) == ("allow", False, False)
    other = (await author.post("/v1/policy/explain", json=body | {"parameters": ["8"]})).json()
    assert other["verdict"] == "deny"
