from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskgate_airflow import triggers
from taskgate_airflow.configuration import GatewayAccess
from taskgate_airflow.triggers import ApprovalTrigger
from tests.e2e.control_api_stand_in import ControlApiServer


@pytest.fixture(autouse=True)
def reaches_the_gateway(backend_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    access = GatewayAccess(backend_kwargs["url"], backend_kwargs["api_key_file"])
    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(lambda cls: access))
    monkeypatch.setattr(triggers, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(triggers, "_LONGEST_PAUSE", 0.05)


async def _event(trigger: ApprovalTrigger) -> dict[str, Any]:
    payload: dict[str, Any] = (await anext(aiter(trigger.run()))).payload
    return payload


def test_only_the_ids_are_serialised() -> None:
    path, kwargs = ApprovalTrigger("apr_1").serialize()
    assert path == "taskgate_airflow.triggers.ApprovalTrigger"
    assert kwargs == {"approval_ids": ["apr_1"]}
    assert ApprovalTrigger(**kwargs).serialize() == (path, kwargs)


async def test_it_fires_when_somebody_approves(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval()
    waiting = asyncio.create_task(_event(ApprovalTrigger(approval["id"])))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    control_api.api.decide(approval["id"], True, "user:dana", "fine")
    assert await asyncio.wait_for(waiting, 5) == {
        "state": "approved",
        "approvals": [approval["id"]],
        "approval": approval["id"],
        "decided_by": "user:dana",
        "comment": "fine",
    }


@pytest.mark.parametrize("state", ["denied", "expired", "withdrawn"])
async def test_it_fires_when_there_will_be_no_approval(control_api: ControlApiServer, state: str) -> None:
    approval = control_api.api.approval(state=state)
    assert (await _event(ApprovalTrigger(approval["id"])))["state"] == state


async def test_several_approvals_are_all_waited_for(control_api: ControlApiServer) -> None:
    first, second = control_api.api.approval(), control_api.api.approval()
    waiting = asyncio.create_task(_event(ApprovalTrigger([first["id"], second["id"]])))
    control_api.api.decide(first["id"], True, "user:dana")
    await asyncio.sleep(0.3)
    assert not waiting.done()
    control_api.api.decide(second["id"], True, "user:dana")
    assert (await asyncio.wait_for(waiting, 5))["state"] == "approved"


async def test_one_denial_ends_the_wait_for_all(control_api: ControlApiServer) -> None:
    denied, pending = control_api.api.approval(state="denied"), control_api.api.approval()
    event = await asyncio.wait_for(_event(ApprovalTrigger([denied["id"], pending["id"]])), 5)
    assert (event["state"], event["approval"]) == ("denied", denied["id"])


async def test_a_gateway_that_is_away_is_asked_again(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval(state="approved")
    control_api.api.broken = [500] * 25
    assert (await asyncio.wait_for(_event(ApprovalTrigger(approval["id"])), 20))["state"] == "approved"
    assert control_api.api.broken == []


async def test_an_approval_nobody_knows_ends_the_wait(control_api: ControlApiServer) -> None:
    event = await asyncio.wait_for(_event(ApprovalTrigger("apr_missing")), 20)
    assert event["state"] == "unknown"
    assert len(control_api.api.asked) == triggers._LOST_AFTER


async def test_a_short_loss_of_the_right_to_ask_is_survived(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval(state="approved")
    control_api.api.broken = [401, 403, 404]
    assert (await asyncio.wait_for(_event(ApprovalTrigger(approval["id"])), 20))["state"] == "approved"
