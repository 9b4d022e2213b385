from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskgate_airflow import feed, triggers
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.triggers import ApprovalTrigger
from tests.e2e.control_api_stand_in import ControlApiServer


@pytest.fixture(autouse=True)
def reaches_the_gateway(backend_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    access = GatewayAccess(backend_kwargs["url"], backend_kwargs["api_key_file"])
    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(lambda cls: access))
    monkeypatch.setattr(triggers, "_AT_LEAST", 0.0)
    monkeypatch.setattr(feed, "_PAUSE", 0.02)
    monkeypatch.setattr(feed, "_LOOK_FOR_UNKNOWN", 0.05)


async def _event(trigger: ApprovalTrigger) -> dict[str, Any]:
    payload: dict[str, Any] = (await anext(aiter(trigger.run()))).payload
    return payload


def test_only_the_ids_are_serialised() -> None:
    path, kwargs = ApprovalTrigger("apr_1").serialize()
    assert path == "taskgate_airflow.triggers.ApprovalTrigger"
    assert kwargs == {"approval_ids": ["apr_1"]}
    assert ApprovalTrigger(**kwargs).serialize() == (path, kwargs)
    assert getattr(ApprovalTrigger, "supports_triggerer_queue", True)  # Airflow 3.1 has no such thing


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
    event = await asyncio.wait_for(_event(ApprovalTrigger(["apr_missing", control_api.api.approval()["id"]])), 20)
    assert (event["state"], event["approval"]) == ("unknown", "apr_missing")


async def test_nothing_to_wait_for_is_no_approval() -> None:
    assert (await asyncio.wait_for(_event(ApprovalTrigger([])), 5))["state"] == "unknown"


async def test_a_short_loss_of_the_right_to_ask_is_survived(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval(state="approved")
    control_api.api.broken = [401, 403, 404]
    assert (await asyncio.wait_for(_event(ApprovalTrigger(approval["id"])), 20))["state"] == "approved"


async def test_a_key_that_may_only_watch_is_enough(control_api: ControlApiServer) -> None:
    for key in control_api.api.keys.values():
        key["scopes"] = ["approvals:watch"]
    approval = control_api.api.approval(state="denied")
    assert (await asyncio.wait_for(_event(ApprovalTrigger(approval["id"])), 5))["state"] == "denied"


async def test_all_triggers_of_a_loop_wait_on_one_connection(control_api: ControlApiServer) -> None:
    api = control_api.api
    approvals = [api.approval()["id"] for _ in range(20)]
    waiting = [asyncio.create_task(_event(ApprovalTrigger([one, approvals[0]]))) for one in approvals]
    while not api.streams:
        await asyncio.sleep(0.01)
    for one in approvals:
        api.decide(one, True, "user:dana")
    assert {event["state"] for event in await asyncio.wait_for(asyncio.gather(*waiting), 10)} == {"approved"}
    assert [path for _, path, _ in api.asked].count("/v1/approvals/watch") == 1


async def test_a_trigger_that_is_cancelled_withdraws_nothing_and_leaves_no_connection(
    control_api: ControlApiServer,
) -> None:
    api = control_api.api
    trigger = ApprovalTrigger([api.approval()["id"], api.approval()["id"]])
    waiting = asyncio.create_task(_event(trigger))
    while not api.streams:
        await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if hasattr(trigger, "on_kill"):  # what Airflow calls of a task that is cleared or marked, from 3.3 on
        await trigger.on_kill()
    await trigger.cleanup()
    for _ in range(200):
        if not api.streams:
            break
        await asyncio.sleep(0.02)
    assert api.streams == 0
    assert {(method, path) for method, path, _ in api.asked} <= {
        ("GET", "/v1/approvals/watch"), ("POST", "/v1/approvals/states"),
    }  # fmt: skip


async def test_a_triggerer_that_is_not_configured_yet_fails_no_task(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_CONFIGURED_EVERY", 0.02)
    access, missing = GatewayAccess.from_airflow(), 3

    def configured(cls: type[GatewayAccess]) -> GatewayAccess:
        nonlocal missing
        if missing:
            missing -= 1
            raise NotConfigured("url missing")
        return access

    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(configured))
    approval = control_api.api.approval(state="approved")
    assert (await asyncio.wait_for(_event(ApprovalTrigger(approval["id"])), 5))["state"] == "approved"
    assert missing == 0


async def test_a_decision_that_is_there_at_once_waits_until_the_scheduler_knows_that_the_task_deferred(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_AT_LEAST", 0.5)
    approval = control_api.api.approval(state="approved")
    started = asyncio.get_running_loop().time()
    assert (await _event(ApprovalTrigger(approval["id"])))["state"] == "approved"
    assert 0.45 < asyncio.get_running_loop().time() - started < 3
