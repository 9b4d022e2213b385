from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.configuration import GatewayAccess
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
