from __future__ import annotations

import pytest

from taskgate_airflow.compat.metadata import ScheduledTask, StoredConnection
from taskgate_airflow.doctor import retries as module
from taskgate_airflow.doctor.finding import Level
from taskgate_airflow.doctor.retries import retries
from tests.unit.airflow.doctor.conftest import Configure

MAPPED = {"connections": {"orders_db": "orders-db"}}


def _task(
    task_id: str, conn_id: str = "orders_db", *, retries: int = 0, task_type: str = "SQLCheckOperator"
) -> ScheduledTask:
    return ScheduledTask("etl", task_id, task_type, retries, frozenset({conn_id}))


def _dags(monkeypatch: pytest.MonkeyPatch, *tasks: ScheduledTask) -> None:
    monkeypatch.setattr(module, "scheduled_tasks", lambda parameters: iter(tasks))
    stored = [StoredConnection("form", "governed_postgres", False, False, frozenset({"target"}))]
    monkeypatch.setattr(module, "stored_connections", lambda: stored)


def test_stock_tasks_that_fail_for_good_are_named(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    _dags(
        monkeypatch,
        _task("a"),
        _task("b", "form"),
        _task("retried", retries=1),
        _task("elsewhere", "other"),
        _task("waits", task_type="GovernedSQLExecuteQueryOperator"),
        _task("waits_too", task_type="_GovernedSQLDecoratedOperator"),
    )
    (finding,) = retries(configure("worker", MAPPED, core__default_task_retries="0"))
    assert finding.level is Level.WARN
    assert "default_task_retries is 0): etl.a, etl.b. Where" in finding.found


def test_many_are_counted(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    _dags(monkeypatch, *(_task(f"t{number}") for number in range(8)))
    (finding,) = retries(configure("worker", MAPPED))
    assert "etl.t4 and 3 more" in finding.found


def test_all_come_back(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    _dags(monkeypatch, _task("retried", retries=2))
    (finding,) = retries(configure("worker", MAPPED))
    assert finding.level is Level.OK
    assert list(retries(configure())) != []  # still the worker's: configured above
    monkeypatch.delenv("AIRFLOW__WORKERS__SECRETS_BACKEND")
    assert list(retries(configure())) == []


def test_the_governed_operators_names_are_theirs() -> None:
    from taskgate_airflow.decorators import _GovernedSQLDecoratedOperator
    from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

    assert (GovernedSQLExecuteQueryOperator.__name__, _GovernedSQLDecoratedOperator.__name__) == module._COME_BACK
