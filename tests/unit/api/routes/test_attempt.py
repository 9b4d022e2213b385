"""A task asks about itself, and can do nothing else: proven by walking the routes with its credential."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from taskgate.api.app import is_for
from taskgate.api.authentication import OPEN_PATHS, CredentialAuthenticator, own_run, own_task
from taskgate.domain import ApprovalState, Assurance, Attempt, Pair, Principal, PrincipalKind, TaskKey
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.tallies import SessionCounts
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane, draft, task

TI_1, TI_2 = task("ti-1"), task("ti-2")
OTHER_RUN = replace(TI_1, attempt=Attempt("ti-9", TaskKey("prod", "etl", "run-2", "clean")))
LOOKALIKE = replace(TI_1, attempt=Attempt("ti-8", TaskKey("prod/etl", "run-1", "clean", "clean")))


async def bearer(plane: Plane, principal: Principal = TI_1) -> str:
    credential, secret = await plane.credentials.issue(principal, "orders-db", 60, "test")
    return f"{credential.id}.{secret}"


async def opened(plane: Plane, principal: Principal) -> str:
    session_id = new_id(IdPrefix.SESSION)
    await plane.sessions.opened(
        session_id, principal, "orders-db", protocol="postgres", client_address="10.0.0.9", policy_version="p1"
    )
    return session_id


async def test_a_task_sees_its_attempts_sessions_and_its_tasks_approvals(plane: Plane, client_for: ClientFor) -> None:
    mine = await opened(plane, TI_1)
    for other in (TI_2, OTHER_RUN, replace(TI_1, attempt=Attempt("ti-1", TaskKey("staging", "etl", "run-1", "clean")))):
        await opened(plane, other)
    asked_before = await plane.approvals.request(draft("a" * 64, principal=TI_2))
    asked_now = await plane.approvals.request(draft("b" * 64, principal=TI_1))
    await plane.approvals.request(draft("c" * 64, principal=OTHER_RUN))
    response = await client_for(await bearer(plane)).get("/v1/attempt")
    assert response.status_code == 200
    report = response.json()
    assert report["principal"]["attempt"]["id"] == "ti-1"
    assert [session["id"] for session in report["sessions"]] == [mine]
    assert [approval["id"] for approval in report["approvals"]] == [asked_now.id, asked_before.id]
    assert {approval["may_decide"] for approval in report["approvals"]} == {False}
    assert "canary-parameter" not in response.text


async def test_a_session_that_has_just_ended_is_counted(plane: Plane, client_for: ClientFor) -> None:
    mine = await opened(plane, TI_1)
    plane.sessions.closed(mine, "the client disconnected", SessionCounts(actions=2, refused=1, rows=5, masked=4), ())
    report = (await client_for(await bearer(plane)).get("/v1/attempt")).json()
    (session,) = report["sessions"]
    assert session["state"] == "closed"
    assert [session[name] for name in ("actions", "refused", "rows", "masked")] == [2, 1, 5, 4]


async def test_a_task_sees_what_its_sessions_did_and_what_let_them(plane: Plane, client_for: ClientFor) -> None:
    mine = await opened(plane, TI_1)
    plane.sessions.closed(mine, "done", SessionCounts(actions=1), [Pair("sql.delete", "public.orders")])
    approval = await plane.approvals.request(draft(principal=TI_1))
    dana, _ = await plane.api_keys.create(
        PrincipalKind.USER, "dana", [Scope.APPROVALS_DECIDE], ["dba"], created_by="test"
    )
    await plane.approvals.decide(approval.id, dana.id, True)
    assert await plane.approvals.use_grant(approval.digest, approval.owner_key, session_id=mine)
    report = (await client_for(await bearer(plane)).get("/v1/attempt")).json()
    assert [session["effects"] for session in report["sessions"]] == [["sql.delete public.orders"]]
    assert [found["used_in"] for found in report["approvals"]] == [[mine]]


async def test_a_task_learns_who_decided_and_why(plane: Plane, client_for: ClientFor) -> None:
    approval = await plane.approvals.request(draft(principal=TI_2))
    dana, _ = await plane.api_keys.create(
        PrincipalKind.USER, "dana", [Scope.APPROVALS_DECIDE], ["dba"], created_by="test"
    )
    await plane.approvals.decide(approval.id, dana.id, False, "wrong month")
    found = (await client_for(await bearer(plane)).get(f"/v1/attempt/approvals/{approval.id}")).json()
    assert (found["state"], found["decided_by"], found["comment"]) == (
        ApprovalState.DENIED, "user:taskgate:dana", "wrong month",
    )  # fmt: skip
    assert found["text"] == draft().text


@pytest.mark.parametrize("other", [OTHER_RUN, LOOKALIKE])
async def test_another_tasks_approval_is_as_good_as_none(plane: Plane, client_for: ClientFor, other: Principal) -> None:
    theirs = await plane.approvals.request(draft(principal=other))
    client = client_for(await bearer(plane))
    for approval_id in (theirs.id, new_id(IdPrefix.APPROVAL), "nonsense"):
        response = await client.get(f"/v1/attempt/approvals/{approval_id}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert (await client.get("/v1/attempt")).json()["approvals"] == []


async def test_a_task_reaches_nothing_else(app: FastAPI, plane: Plane, client_for: ClientFor) -> None:
    """Above all not the credentials of other runs of the same task, whose principal reads the same as its own."""
    others, _ = await plane.credentials.issue(OTHER_RUN, "orders-db", 60, "test")
    assert str(others.principal) == str(TI_1)
    client = client_for(await bearer(plane))
    values = {"credential_id": others.id, "attempt_id": "ti-9"}
    refused = 0
    for route in app.routes:
        if not isinstance(route, APIRoute) or route.path in OPEN_PATHS or is_for(own_task, route.dependant):
            continue
        path = re.sub(r"\{([^}]+)\}", lambda found: values.get(found[1], "x"), route.path)
        for method in route.methods:
            response = await client.request(method, path, json={"reason": "x"} if method == "POST" else None)
            code = "not_a_flow_run" if is_for(own_run, route.dependant) else "task_credential"
            assert (response.status_code, response.json()["code"]) == (403, code), (method, path)
            assert others.id not in response.text.replace(path, "")
            refused += 1
    assert refused >= 25
    assert await plane.credentials.find(others.id) is not None


async def test_nobody_else_is_taken_for_a_task(app: FastAPI, plane: Plane, client_for: ClientFor) -> None:
    admin = client_for(await plane.key("root", Scope.ADMIN, user=True))
    reached = 0
    for route in app.routes:
        if isinstance(route, APIRoute) and is_for(own_task, route.dependant):
            response = await admin.get(re.sub(r"\{[^}]+\}", "x", route.path))
            assert (response.status_code, response.json()["code"]) == (403, "not_a_task"), route.path
            reached += 1
    assert reached == 3
    for kind in (PrincipalKind.USER, PrincipalKind.SERVICE):
        other = Principal(kind, "dana", "taskgate", Assurance.VERIFIED, "api-key:dana")
        response = await client_for(await bearer(plane, other)).get("/v1/attempt")
        assert response.status_code == 401, "a connection string of a person or service is no key"


async def test_a_credential_that_has_ended_proves_nothing(plane: Plane, client_for: ClientFor) -> None:
    token = await bearer(plane)
    client = client_for(token)
    assert (await client.get("/v1/attempt")).status_code == 200
    assert (await client_for(token[:-1] + "~").get("/v1/attempt")).status_code == 401
    await plane.credentials.revoke(token.partition(".")[0], "test", "over")
    assert (await client.get("/v1/attempt")).status_code == 401


async def test_a_task_that_is_over_may_ask_as_long_as_its_callbacks_may_read(
    plane: Plane, client_for: ClientFor
) -> None:
    client = client_for(await bearer(plane))
    await plane.credentials.end_attempt("ti-1", "it ended", 60)
    assert (await client.get("/v1/attempt")).status_code == 200
    over = client_for(await bearer(plane, TI_2))
    await plane.credentials.end_attempt("ti-2", "it ended", 0)
    assert (await over.get("/v1/attempt")).status_code == 401


async def test_a_callers_proof_ends_with_its_confinement(plane: Plane) -> None:
    token = await bearer(plane)
    knows = CredentialAuthenticator(plane.credentials)
    before = await knows.authenticate(token)
    await plane.credentials.end_attempt("ti-1", "it ended", 5)
    after = await knows.authenticate(token)
    assert before is not None
    assert after is not None
    assert before.expires_at is not None
    assert after.expires_at is not None
    assert after.expires_at < before.expires_at
