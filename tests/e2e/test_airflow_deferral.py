"""The governed operator in Airflow's real processes: scheduler, executor, API server and a triggerer of its own.

`dag.test()` runs a trigger in the task's process and drops what the operator keeps for itself; this does not."""

from __future__ import annotations

import json

import pytest

from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def _pending(shop: Shop, task_id: str) -> str | None:
    with shop.client() as client:
        return next((one.id for one in client.approvals(state=["pending"], task_id=task_id)), None)


def _live_sessions(shop: Shop, task_id: str) -> list[str]:
    with shop.client() as client:
        return [one.id for one in client.live_sessions() if task_id in one.principal.name]


def _approve(shop: Shop, approval_id: str) -> None:
    with shop.client() as client:
        client.approve(approval_id)


def test_a_deferred_task_holds_no_worker_and_resumes_once_approved(
    real_airflow: RealAirflow, airflow_shop: Shop
) -> None:
    stock, governed = "delete_old_orders_stock", "delete_old_orders_governed"
    real_airflow.wait_for_dags("orders_cleanup")
    run = real_airflow.admin.trigger("orders_cleanup")

    _approve(airflow_shop, real_airflow.until(lambda: _pending(airflow_shop, stock), 60))
    waiting = run.wait(governed, "deferred", 60)
    waiting_for = _pending(airflow_shop, governed)
    assert waiting_for is not None
    assert waiting.trigger is not None  # its kwargs are not shown to anybody
    assert waiting.trigger["classpath"] == "taskgate_airflow.triggers.ApprovalTrigger"
    assert airflow_shop.service_key not in json.dumps(waiting.trigger)
    assert real_airflow.metadata.containing(waiting_for) >= {"trigger"}  # what is looked through below
    assert real_airflow.metadata.containing(airflow_shop.service_key) == set()
    assert _live_sessions(airflow_shop, governed) == []  # its credential lives on, as long as this attempt does

    _approve(airflow_shop, waiting_for)
    run.wait(governed, "success", 60)
    assert {one.task_id: (one.state, one.try_number) for one in run.tasks()} == {
        "read_customers": ("success", 1),
        "drop_orders": ("failed", 1),
        stock: ("success", 1),
        governed: ("success", 1),
    }
