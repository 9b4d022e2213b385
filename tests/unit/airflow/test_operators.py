from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator
from taskgate_airflow.refusals import ApprovalPending
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.conftest import airflow_exception


class _Hook:
    """Stands in for the hook: refuses as often as it is told, then answers."""

    def __init__(self, *refusals: tuple[str, ...]) -> None:
        self.refusals = list(refusals)
        self.descriptions: list[Any] = [None]
        self.runs: list[dict[str, Any]] = []
        self.asked: tuple[str, ...] = ()

    def task_token(self) -> str:
        raise AirflowFailException("there is no gateway here")

    def run(self, **kwargs: Any) -> Any:
        self.runs.append(kwargs)
        if self.refusals:
            raise ApprovalPending(self.refusals.pop(0), "rule r wants a human")
        return [(3,)]


def _operator(hook: _Hook, monkeypatch: pytest.MonkeyPatch, **more: Any) -> GovernedSQLExecuteQueryOperator:
    operator = GovernedSQLExecuteQueryOperator(task_id="t", conn_id="orders_db", sql="DELETE FROM orders", **more)
    monkeypatch.setattr(operator, "get_db_hook", lambda: hook)
    return operator


def _deferral(operator: GovernedSQLExecuteQueryOperator, call: Any) -> Any:
    with pytest.raises(airflow_exception("TaskDeferred")) as deferred:
        call()
    return deferred.value


def test_what_is_allowed_runs_like_the_stock_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _Hook()
    operator = _operator(hook, monkeypatch, parameters=(1,), autocommit=True, split_statements=True, return_last=False)
    operator.execute({})
    assert hook.runs[0]["parameters"] == (1,)
    assert hook.runs[0]["autocommit"] is True
    assert hook.runs[0]["split_statements"] is True
    assert hook.runs[0]["return_last"] is False


def test_a_pending_refusal_defers_on_the_ids_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = _operator(_Hook(("apr_1", "apr_2")), monkeypatch, approval_timeout=60)
    deferred = _deferral(operator, lambda: operator.execute({}))
    assert deferred.trigger.serialize()[1] == {"approval_ids": ["apr_1", "apr_2"]}
    assert deferred.method_name == "execute_approved"
    assert deferred.kwargs == {"asked": [], "rounds": 1, "waiting_for": ["apr_1", "apr_2"]}
    assert deferred.timeout == timedelta(seconds=60)


def test_once_approved_it_executes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _Hook()
    operator = _operator(hook, monkeypatch)
    event = {"state": "approved", "approvals": ["apr_1"], "approval": "apr_1"}
    assert operator.execute_approved({}, event, asked=[], rounds=1) == [(3,)]
    assert len(hook.runs) == 1


@pytest.mark.parametrize("state", ["denied", "expired", "withdrawn", "unknown"])
def test_a_denial_fails_without_executing(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    hook = _Hook()
    operator = _operator(hook, monkeypatch)
    with pytest.raises(AirflowFailException):
        operator.execute_approved({}, {"state": state, "approval": "apr_1", "approvals": ["apr_1"]})
    assert hook.runs == []


def test_it_asks_who_decided_and_why_with_its_own_credential(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker knows the address and has no key."""
    api = control_api.api
    monkeypatch.setattr(compat, "configured", lambda section, name: control_api.url if name == "url" else None)
    monkeypatch.setattr(compat, "secrets_backends", list)
    hook = _Hook()
    monkeypatch.setattr(hook, "task_token", lambda: api.key("tg_1", kind="task"))
    approved, denied = api.approval(), api.approval()
    api.decide(approved["id"], True, "user:dana")
    api.decide(denied["id"], False, "user:lee", "wrong month")
    operator = _operator(hook, monkeypatch)
    event = {"state": "denied", "approvals": [approved["id"], denied["id"]], "approval": denied["id"]}
    with pytest.raises(AirflowFailException, match=f"^Approval {denied['id']} was denied by user:lee: wrong month$"):
        operator.execute_approved({}, event)
    event = {"state": "approved", "approvals": [approved["id"]], "approval": approved["id"]}
    assert operator.execute_approved({}, event) == [(3,)]
    assert {path for _, path, _ in api.asked} == {f"/v1/attempt/approvals/{one['id']}" for one in (approved, denied)}
    assert "Approved by user:dana; executing again" in capsys.readouterr().out


def test_an_event_without_a_state_is_no_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowFailException):
        _operator(_Hook(), monkeypatch).execute_approved({}, None)


def test_approved_and_refused_again_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = _operator(_Hook(("apr_1",)), monkeypatch)
    with pytest.raises(AirflowFailException, match="Approved, and still refused"):
        operator.execute_approved({}, {"state": "approved", "approvals": ["apr_1"]})


def test_another_statement_may_ask_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = _operator(_Hook(("apr_2",)), monkeypatch)
    event = {"state": "approved", "approvals": ["apr_1"]}
    deferred = _deferral(operator, lambda: operator.execute_approved({}, event, asked=[], rounds=1))
    assert deferred.kwargs == {"asked": ["apr_1"], "rounds": 2, "waiting_for": ["apr_2"]}
    assert "Approved so far: apr_1. This asks for more" in capsys.readouterr().out


def test_sql_that_changes_with_every_rendering_ends_after_five_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = _operator(_Hook(("apr_6",)), monkeypatch)
    with pytest.raises(AirflowFailException, match="change with every rendering"):
        operator.execute_approved({}, {"state": "approved", "approvals": ["apr_5"]}, asked=["apr_1"], rounds=4)


def test_nobody_in_time_fails_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = _operator(_Hook(), monkeypatch, approval_timeout=300)
    with pytest.raises(AirflowFailException, match="Nobody decided within 0:05:00"):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_other_deferral_failures_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(airflow_exception("TaskDeferralError")):
        _operator(_Hook(), monkeypatch).resume_execution("__fail__", {"error": "Trigger failure"}, {})


def test_it_brings_its_own_hook_and_stays_templated() -> None:
    hook = GovernedSQLExecuteQueryOperator.get_hook("orders_db", {"options": "-c search_path=app"})
    assert isinstance(hook, GovernedPostgresHook)
    assert hook.options == "-c search_path=app"
    assert {"sql", "parameters", "conn_id"} <= set(GovernedSQLExecuteQueryOperator.template_fields)
