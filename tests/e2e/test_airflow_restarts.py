"""A wait for a human outlives what goes down meanwhile: the gateway, the triggerer, the scheduler."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.approval_runs import ask
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop

pytestmark = pytest.mark.timeout(400)


def gateway_killed(airflow: RealAirflow, shop: Shop) -> None:
    shop.gateway.kill()
    shop.gateway.start()


def triggerer_restarted(airflow: RealAirflow, shop: Shop) -> None:
    airflow.restart("triggerer")


def triggerer_killed(airflow: RealAirflow, shop: Shop) -> None:
    airflow.restart("triggerer", at_once=True)


def scheduler_restarted(airflow: RealAirflow, shop: Shop) -> None:
    airflow.restart("scheduler")


def scheduler_killed(airflow: RealAirflow, shop: Shop) -> None:
    airflow.restart("scheduler", at_once=True)


def api_server_killed(airflow: RealAirflow, shop: Shop) -> None:
    airflow.restart("api-server", at_once=True)


@pytest.mark.parametrize(
    "happens",
    [
        gateway_killed,
        pytest.param(triggerer_restarted, marks=pytest.mark.long),
        pytest.param(triggerer_killed, marks=pytest.mark.long),
        pytest.param(scheduler_restarted, marks=pytest.mark.long),
        pytest.param(scheduler_killed, marks=pytest.mark.long),
        pytest.param(api_server_killed, marks=pytest.mark.long),
    ],
)
def test_no_wait_is_lost(
    happens: Callable[[RealAirflow, Shop], None], real_airflow: RealAirflow, airflow_shop: Shop
) -> None:
    """In the triggerer, on Airflow's page, and of a stock task between two of its tries."""
    dags = {"approvals_trigger": "deferred", "approvals_page": "awaiting_input", "approvals_stock": "up_for_retry"}
    real_airflow.wait_for_dags(*dags)
    waits = [ask(real_airflow, airflow_shop, dag_id, state) for dag_id, state in dags.items()]
    asked = [one.waiting() for one in waits]
    happens(real_airflow, airflow_shop)
    assert [one.state(approval) for one, approval in zip(waits, asked, strict=True)] == ["pending"] * 3
    for one, approval in zip(waits, asked, strict=True):
        one.decide(approval)
    for one in waits:
        one.succeeds(120)
    for one, approval in zip(waits, asked, strict=True):
        assert [request.id for request in one.requests()] == [approval.id]


@pytest.mark.long
def test_what_is_decided_while_the_triggerer_is_down_is_not_missed(
    real_airflow: RealAirflow, airflow_shop: Shop
) -> None:
    real_airflow.wait_for_dags("approvals_trigger")
    waits = ask(real_airflow, airflow_shop, "approvals_trigger")
    approval = waits.waiting()
    real_airflow.stop_one("triggerer", at_once=True)
    try:
        waits.decide(approval)
    finally:
        real_airflow.start_one("triggerer")
    waits.succeeds(90)
