from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskgate.client import NotPermitted
from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.sensors import ApprovalSensor
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.conftest import airflow_exception


@pytest.fixture(autouse=True)
def reaches_the_gateway(backend_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    access = GatewayAccess(backend_kwargs["url"], backend_kwargs["api_key_file"])
    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(lambda cls: access))


def _sensor(approval_id: str, **more: Any) -> ApprovalSensor:
    return ApprovalSensor(task_id="wait", approval_id=approval_id, **more)


def test_an_approval_already_given_needs_no_deferral(control_api: ControlApiServer) -> None:
    assert _sensor(control_api.api.approval(state="approved")["id"]).execute({}) is None


def test_a_pending_one_defers_with_nothing_but_the_id(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval()
    with pytest.raises(airflow_exception("TaskDeferred")) as deferred:
        _sensor(approval["id"], timeout=90).execute({})
    assert deferred.value.trigger.serialize()[1] == {"approval_ids": [approval["id"]]}
    assert deferred.value.timeout == timedelta(seconds=90)


def _not_configured(cls: type[GatewayAccess]) -> GatewayAccess:
    raise NotConfigured("Taskgate is not configured: api_key_file missing")


def test_a_worker_without_a_key_leaves_it_to_the_triggerer(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(_not_configured))
    with pytest.raises(airflow_exception("TaskDeferred")):
        _sensor("apr_1").execute({})
    sensor = _sensor("apr_1")
    sensor.execute_complete({}, {"state": "approved", "approval": "apr_1", "approvals": ["apr_1"]})
    with pytest.raises(AirflowFailException, match=r"^Approval apr_1 was denied$"):
        sensor.execute_complete({}, {"state": "denied", "approval": "apr_1", "approvals": ["apr_1"]})
    with pytest.raises(NotConfigured):
        _sensor("apr_1", deferrable=False).poke({})
    assert control_api.api.asked == []


def test_a_key_that_may_only_watch_says_the_state(control_api: ControlApiServer) -> None:
    for key in control_api.api.keys.values():
        key["scopes"] = ["approvals:watch"]
    approval = control_api.api.approval()
    sensor = _sensor(approval["id"], deferrable=False)
    assert sensor.poke({}) is False
    control_api.api.decide(approval["id"], False, "user:dana", "wrong month")
    with pytest.raises(AirflowFailException, match=f"^Approval {approval['id']} was denied$"):
        sensor.poke({})
    with pytest.raises(AirflowFailException, match="is not known to Taskgate"):
        _sensor("apr_missing").poke({})
    for key in control_api.api.keys.values():
        key["scopes"] = ["credentials:issue"]
    with pytest.raises(NotPermitted):
        sensor.poke({})


def test_a_key_that_may_read_says_who_and_why(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval()
    control_api.api.decide(approval["id"], False, "user:dana", "wrong month")
    event = {"state": "denied", "approval": approval["id"], "approvals": [approval["id"]]}
    for call in (lambda: _sensor(approval["id"]).execute_complete({}, event), lambda: _sensor(approval["id"]).poke({})):
        with pytest.raises(AirflowFailException, match="was denied by user:dana: wrong month"):
            call()


def test_one_that_there_is_not_is_not_waited_for(control_api: ControlApiServer) -> None:
    with pytest.raises(AirflowFailException, match="is not known to Taskgate"):
        _sensor("apr_missing").execute({})


@pytest.mark.parametrize("state", ["denied", "expired", "withdrawn"])
def test_a_refusal_is_not_retried(control_api: ControlApiServer, state: str) -> None:
    approval = control_api.api.approval(state=state)
    with pytest.raises(AirflowFailException):
        _sensor(approval["id"]).execute({})
    with pytest.raises(AirflowFailException):
        _sensor(approval["id"]).execute_complete({}, {"state": state, "approval": approval["id"]})


def test_on_a_worker_it_pokes(control_api: ControlApiServer) -> None:
    approval = control_api.api.approval()
    sensor = _sensor(approval["id"], deferrable=False)
    assert sensor.poke({}) is False
    control_api.api.decide(approval["id"], True, "user:dana")
    assert sensor.poke({}) is True


def test_a_gateway_that_is_away_is_not_decided_yet(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgate.client.sync.time.sleep", lambda _: None)
    control_api.api.broken = [503] * 4
    assert _sensor(control_api.api.approval(state="approved")["id"]).poke({}) is False


def test_nobody_in_time_fails_without_retries(control_api: ControlApiServer) -> None:
    with pytest.raises(airflow_exception("AirflowSensorTimeout")):
        _sensor("apr_1").resume_execution("__fail__", {"error": "Trigger timeout"}, {})
