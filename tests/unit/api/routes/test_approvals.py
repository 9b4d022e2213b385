from __future__ import annotations

import asyncio
import time
from datetime import datetime

import httpx
import pytest

from taskgate.api.long_polls import LongPolls
from taskgate.domain import Approval
from taskgate.identity.scopes import Scope
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane, draft, task

READ, DECIDE = Scope.APPROVALS_READ, Scope.APPROVALS_DECIDE


@pytest.fixture
async def dana(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    """A DBA."""
    return client_for(await plane.key("dana", READ, DECIDE, user=True, groups=["dba"]))


@pytest.fixture
async def sam(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    """A person who may decide things, but not these."""
    return client_for(await plane.key("sam", READ, DECIDE, user=True, groups=["web"]))


@pytest.fixture
async def airflow(client_for: ClientFor, plane: Plane) -> httpx.AsyncClient:
    return client_for(await plane.key("airflow", READ))


async def test_what_is_shown_is_all_that_the_approver_needs(dana: httpx.AsyncClient, plane: Plane) -> None:
    approval = await plane.approvals.request(draft())
    shown = (await dana.get(f"/v1/approvals/{approval.id}")).json()
    assert shown["text"] == "DELETE FROM public.orders WHERE note = $1"
    assert shown["state"] == "pending"
    assert shown["pairs"] == ["sql.delete public.orders"]
    assert shown["rules"] == ["deletes-need-a-human"]
    assert shown["estimate"] == {"rows": 12}
    assert shown["principal"]["attempt"]["task"]["dag_id"] == "etl"
    assert shown["url"] == f"https://people.example/approvals?id={approval.id}"
    assert (shown["may_decide"], shown["may_not_because"]) == (True, None)
    assert "canary-parameter" not in str(shown)


async def test_parameters_are_for_those_who_may_decide_and_each_look_is_recorded(
    dana: httpx.AsyncClient, sam: httpx.AsyncClient, airflow: httpx.AsyncClient, plane: Plane
) -> None:
    approval = await plane.approvals.request(draft())
    path = f"/v1/approvals/{approval.id}/parameters"
    for other in (sam, airflow):
        refused = await other.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "policy_refused")
        assert "canary" not in refused.text
    assert await plane.approvals.views(approval.id) == ()
    shown = (await dana.get(path)).json()["parameters"]
    assert [(item["index"], item["encoding"], item["value"], item["shown"]) for item in shown] == [
        (1, "text", "canary-parameter", None),
        (2, "hex", "00000007", "7"),
        (3, "null", None, None),
    ]
    assert [view.viewer for view in await plane.approvals.views(approval.id)] == ["user:taskgate:dana"]


async def test_the_first_decision_counts(dana: httpx.AsyncClient, plane: Plane) -> None:
    approval = await plane.approvals.request(draft())
    path = f"/v1/approvals/{approval.id}/decision"
    decided = await dana.post(path, json={"approve": True, "comment": "checked"})
    assert decided.status_code == 200
    assert (decided.json()["state"], decided.json()["decided_by"], decided.json()["comment"]) == (
        "approved",
        "user:taskgate:dana",
        "checked",
    )
    again = await dana.post(path, json={"approve": False})
    assert (again.status_code, again.json()["code"]) == (409, "approval_closed")
    assert (await plane.approvals.use_grant("d" * 64, task().owner_key)) is not None


async def test_who_may_not_decide_is_told_why(sam: httpx.AsyncClient, plane: Plane) -> None:
    approval = await plane.approvals.request(draft())
    shown = (await sam.get(f"/v1/approvals/{approval.id}")).json()
    assert (shown["may_decide"], shown["may_not_because"]) == (False, "the rule asks for group:dba")
    refused = await sam.post(f"/v1/approvals/{approval.id}/decision", json={"approve": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "policy_refused")
    current = await plane.approvals.get(approval.id)
    assert current is not None
    assert current.state == "pending"


async def test_it_says_until_when_a_connection_waits(dana: httpx.AsyncClient, plane: Plane) -> None:
    held = await plane.approvals.request(draft(held=True, hold=60.0))
    shown = (await dana.get(f"/v1/approvals/{held.id}")).json()
    assert held.waits_until is not None
    assert datetime.fromisoformat(shown["waits_until"]) == held.waits_until
    later = await plane.approvals.request(draft("e" * 64))
    assert (await dana.get(f"/v1/approvals/{later.id}")).json()["waits_until"] is None


async def test_it_says_that_nobody_at_all_may_decide(
    airflow: httpx.AsyncClient, client_for: ClientFor, plane: Plane
) -> None:
    approval = await plane.approvals.request(draft())
    why = "no live key with the scope approvals:decide is of group:dba"
    assert (await airflow.get(f"/v1/approvals/{approval.id}")).json()["nobody_may_because"] == why
    assert (await airflow.get("/v1/approvals")).json()["items"][0]["nobody_may_because"] == why
    dana = client_for(await plane.key("dana", READ, DECIDE, user=True, groups=["dba"]))
    for client in (airflow, dana):
        assert (await client.get(f"/v1/approvals/{approval.id}")).json()["nobody_may_because"] is None


async def test_it_is_said_that_the_policy_is_no_longer_the_one_it_was_asked_under(
    dana: httpx.AsyncClient, plane: Plane
) -> None:
    current = await plane.approvals.request(draft("1" * 64, policy_version=plane.policy.current.version))
    older = await plane.approvals.request(draft("2" * 64, policy_version="older"))
    denied = await plane.approvals.request(draft("3" * 64, policy_version="older"))
    why = "the policy has changed since it was asked for: whoever asks again is judged anew, by a request of its own"

    async def said(approval: Approval) -> str | None:
        found: str | None = (await dana.get(f"/v1/approvals/{approval.id}")).json()["outdated_because"]
        return found

    assert [await said(one) for one in (current, older, denied)] == [None, why, why]
    for approval, approve in ((current, True), (older, True), (denied, False)):
        await dana.post(f"/v1/approvals/{approval.id}/decision", json={"approve": approve})
    assert [await said(one) for one in (current, older, denied)] == [None, why, None]


async def test_a_service_key_can_never_decide(client_for: ClientFor, plane: Plane) -> None:
    approval = await plane.approvals.request(draft())
    admin = client_for(await plane.key("admin-service", Scope.ADMIN, groups=["dba"]))
    refused = await admin.post(f"/v1/approvals/{approval.id}/decision", json={"approve": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


async def test_whoever_triggered_the_run_cannot_approve_it(dana: httpx.AsyncClient, plane: Plane) -> None:
    approval = await plane.approvals.request(draft(principal=task(triggering_user="dana")))
    refused = await dana.post(f"/v1/approvals/{approval.id}/decision", json={"approve": True})
    assert refused.status_code == 403


async def test_listing_filters(dana: httpx.AsyncClient, sam: httpx.AsyncClient, plane: Plane) -> None:
    first = await plane.approvals.request(draft("1" * 64))
    second = await plane.approvals.request(draft("2" * 64, target="billing-db"))
    key = (await plane.api_keys.list(live=True)).items
    dana_id = next(item.id for item in key if item.name == "dana")
    await plane.approvals.decide(first.id, dana_id, False)

    async def ids(client: httpx.AsyncClient, query: str) -> list[str]:
        return [item["id"] for item in (await client.get(f"/v1/approvals?{query}")).json()["items"]]

    assert await ids(dana, "") == [second.id, first.id]
    assert await ids(dana, "state=pending") == [second.id]
    assert await ids(dana, "state=pending&state=denied") == [second.id, first.id]
    assert await ids(dana, "state=expired&state=denied") == [first.id]
    assert await ids(dana, "target=billing-db") == [second.id]
    assert await ids(dana, "dag_id=etl&run_id=run-1&task_id=clean") == [second.id, first.id]
    assert await ids(dana, "dag_id=other") == []
    assert await ids(dana, "session=ses_1") == [second.id, first.id]
    assert await ids(dana, "mine=true") == [second.id]
    assert await ids(sam, "mine=true") == []
    assert (await dana.get("/v1/approvals?state=nonsense")).status_code == 422


async def test_pages_reach_everything_exactly_once(dana: httpx.AsyncClient, plane: Plane) -> None:
    made = [(await plane.approvals.request(draft(f"{number:064x}"))).id for number in range(7)]
    for query in ("", "&state=pending&state=denied", "&mine=true"):
        found, cursor = [], ""
        while True:
            page = (await dana.get(f"/v1/approvals?limit=3{query}{cursor}")).json()
            assert len(page["items"]) <= 3
            found += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == made[::-1]


async def test_a_long_poll_ends_with_the_decision(
    dana: httpx.AsyncClient, airflow: httpx.AsyncClient, plane: Plane
) -> None:
    approval = await plane.approvals.request(draft())
    listening = asyncio.create_task(plane.signals.run())
    await plane.signals.started()
    started = time.monotonic()
    waiting = asyncio.create_task(airflow.get(f"/v1/approvals/{approval.id}?wait=20"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await dana.post(f"/v1/approvals/{approval.id}/decision", json={"approve": True})
    response = await asyncio.wait_for(waiting, 5)
    listening.cancel()
    assert response.json()["state"] == "approved"
    assert time.monotonic() - started < 5


async def test_a_long_poll_ends_with_its_time(airflow: httpx.AsyncClient, plane: Plane) -> None:
    approval = await plane.approvals.request(draft())
    response = await airflow.get(f"/v1/approvals/{approval.id}?wait=0.2")
    assert response.json()["state"] == "pending"
    assert plane.approvals._waiters.count == 0  # nothing is left waiting
    for wait in ("-1", "61", "nan", "inf"):
        assert (await airflow.get(f"/v1/approvals/{approval.id}?wait={wait}")).status_code == 422


async def test_with_too_many_waiting_the_next_is_answered_at_once() -> None:
    polls = LongPolls(1)
    async with polls.place() as first, polls.place() as second:
        assert (first, second) == (True, False)
    async with polls.place() as third:
        assert third is True


@pytest.mark.parametrize("approval_id", ["apr_none", "apr_" + "0" * 32, "%00", "x" * 300])
async def test_an_approval_that_there_is_none_of(dana: httpx.AsyncClient, approval_id: str) -> None:
    assert (await dana.get(f"/v1/approvals/{approval_id}")).status_code == 404
    assert (await dana.get(f"/v1/approvals/{approval_id}/parameters")).status_code == 404
    assert (await dana.post(f"/v1/approvals/{approval_id}/decision", json={"approve": True})).status_code == 404


async def test_a_revoked_key_is_no_approver(client_for: ClientFor, plane: Plane) -> None:
    secret = await plane.key("eve", READ, DECIDE, user=True, groups=["dba"])
    approval = await plane.approvals.request(draft())
    await plane.api_keys.revoke(secret.partition(".")[0], "test", "left")
    answer = await client_for(secret).post(f"/v1/approvals/{approval.id}/decision", json={"approve": True})
    assert answer.status_code == 401
