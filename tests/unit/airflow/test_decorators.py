from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator
from tests.unit.airflow.test_operators import _deferral, _Hook

RAN: list[str] = []


@pytest.fixture
def operator() -> Any:
    from airflow.sdk import DAG, task

    RAN.clear()

    @task.governed_sql(conn_id="orders_db", approval_timeout=timedelta(minutes=5), retries=0)
    def delete(status: str) -> str:
        RAN.append(status)
        return f"DELETE FROM orders WHERE status = '{status}' AND day = '{{{{ params.day }}}}'"

    with DAG("decorated", schedule=None, params={"day": "2026-11-29"}):
        return delete("old").operator


def _context(operator: Any) -> dict[str, Any]:
    return {"params": {"day": "2026-11-29"}, "task": operator, "ti": None}


def test_airflow_registers_it_by_name(operator: Any) -> None:
    assert isinstance(operator, GovernedSQLExecuteQueryOperator)
    assert operator.custom_operator_name == "@task.governed_sql"
    assert operator.approval_timeout == timedelta(minutes=5)
    assert operator.conn_id == "orders_db"


def test_what_the_function_returns_is_rendered_and_run(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _Hook()
    monkeypatch.setattr(operator, "get_db_hook", lambda: hook)
    operator.execute(_context(operator))
    assert hook.runs[0]["sql"] == "DELETE FROM orders WHERE status = 'old' AND day = '2026-11-29'"


def test_it_defers_and_runs_the_same_again(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _Hook(("apr_1",))
    monkeypatch.setattr(operator, "get_db_hook", lambda: hook)
    deferred = _deferral(operator, lambda: operator.execute(_context(operator)))
    assert deferred.method_name == "execute_approved"
    assert deferred.timeout == timedelta(minutes=5)
    event = {"state": "approved", "approvals": ["apr_1"], "decided_by": "dana"}
    operator.execute_approved(_context(operator), event=event, **deferred.kwargs)
    assert RAN == ["old", "old"]
    assert hook.runs[0]["sql"] == hook.runs[1]["sql"]
    assert hook.asked == ("apr_1",)


def test_a_denial_runs_nothing_more(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "get_db_hook", lambda: pytest.fail("nothing may run"))
    with pytest.raises(AirflowFailException, match="denied by dana"):
        operator.execute_approved(
            _context(operator), event={"state": "denied", "approval": "apr_1", "decided_by": "dana"}
        )
    assert RAN == []


def test_what_is_no_sql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import DAG, task

    @task.governed_sql(conn_id="orders_db")
    def nothing() -> str:
        return " "

    with DAG("decorated", schedule=None):
        operator = nothing().operator
    with pytest.raises(TypeError, match="non-empty"):
        operator.execute(_context(operator))
