"""Approvals as events of a Prefect's, which a stand-in takes; the real one is in tests/e2e."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.notifiers.prefect_events import PrefectEvents
from taskgate.domain import Approval
from taskgate.secrets.secret import Secret
from taskgate.settings_prefect import PrefectSettings
from taskgate.store.database import Database
from tests.integration.approvals.setting import Gateway, draft
from tests.integration.approvals.test_outbox import delivering, until
from tests.integration.approvals.test_prefect_resumes import RUN, flow_run

KEY = "canary-prefect-key"


async def fetch(reference: str) -> Secret:
    return Secret(KEY)


class Prefect:
    """Takes events, or answers `status`."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in json.loads(request.content)]

    def notifier(self, source: str = "prod") -> PrefectEvents:
        settings = PrefectSettings(source=source, url="https://prefect.example/api", api_key="env:KEY")
        return PrefectEvents(settings, fetch, transport=httpx.MockTransport(self))


async def test_what_a_flow_run_asks_and_is_told_become_events(database: Database) -> None:
    prefect, other = Prefect(), Prefect()
    notifiers = [prefect.notifier(), other.notifier("elsewhere")]
    box = Outbox(database, notifiers, lambda approval_id: f"https://gate/{approval_id}", interval=0.02)
    gateway = Gateway(database, outbox=box)
    dana = await gateway.person("dana")
    async with delivering(box), gateway.running():
        approval = await gateway.approvals.request(draft(principal=flow_run()))
        await gateway.approvals.decide(approval.id, dana.id, True, "canary comment")
        await until(lambda: len(prefect.events) == 2)
    assert {str(request.url) for request in prefect.requests} == {"https://prefect.example/api/events"}
    assert [one["event"] for one in prefect.events] == ["taskgate.approval.requested", "taskgate.approval.approved"]
    for one in prefect.events:
        assert one["resource"]["prefect.resource.id"] == f"taskgate.approval.{approval.id}"
        assert one["related"] == [
            {
                "prefect.resource.id": f"prefect.flow-run.{RUN}",
                "prefect.resource.role": "flow-run",
                "prefect.resource.name": "wakeful-crow",
            }
        ]
        assert one["payload"]["url"] == f"https://gate/{approval.id}"
    sent = b"".join(request.content for request in prefect.requests)
    for hidden in (b"DELETE FROM", b"canary-parameter", b"canary comment"):
        assert hidden not in sent
    assert {request.headers["authorization"] for request in prefect.requests} == {f"Bearer {KEY}"}
    assert other.requests == []


def about(approval: Approval) -> Notification:
    return Notification.about("ntf_0199b1c2d3e47000800000000000000a", "approval.decided", approval, None)


async def test_an_event_that_is_delivered_twice_is_one(database: Database) -> None:
    prefect = Prefect()
    approval = await Gateway(database).approvals.request(draft(principal=flow_run()))
    for _ in range(2):
        await prefect.notifier().deliver(about(approval))
    assert {one["id"] for one in prefect.events} == {str(UUID("0199b1c2d3e47000800000000000000a"))}


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_prefect_that_takes_none_is_tried_again(database: Database, status: int) -> None:
    approval = await Gateway(database).approvals.request(draft(principal=flow_run()))
    with pytest.raises(DeliveryFault) as failed:
        await Prefect(status).notifier().deliver(about(approval))
    assert KEY not in str(failed.value)
