"""examples/prefect in the key form: its blocks as they are saved, and its flow run in this process with them."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.states import State

from taskgate.demo.data import DATABASE
from taskgate_prefect import GovernedSqlAlchemyConnector, TaskgateGateway
from tests.integration.prefect.governed_prefect import SOURCE, GovernedPrefect

EXAMPLE = Path(__file__).parents[3] / "examples" / "prefect"


@pytest.fixture
def orders_come_back(governed: GovernedPrefect) -> Iterator[None]:
    """Other tests look for orders that the example deletes."""
    with psycopg.connect(governed.shop.server.dsn(DATABASE), autocommit=True) as connection:
        kept = connection.execute("SELECT json_agg(o)::text FROM orders o").fetchone()
        yield
        connection.execute(
            "INSERT INTO orders SELECT * FROM json_populate_recordset(NULL::orders, %s::json) ON CONFLICT DO NOTHING",
            kept,
        )


def _save(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name in ("TASKGATE_URL", "TASKGATE_SOURCE", "TASKGATE_API_KEY", "TASKGATE_DASHBOARD_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    runpy.run_path(str(EXAMPLE / "blocks.py"), run_name="__main__")


def test_in_the_worker_form_the_blocks_hold_nothing(governed: GovernedPrefect, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(monkeypatch, TASKGATE_URL="http://127.0.0.1:1", TASKGATE_DASHBOARD_URL="http://127.0.0.1:2")
    gateway = TaskgateGateway.load("taskgate")
    assert (gateway.url, gateway.source, gateway.api_key) == (None, None, None)
    orders = GovernedSqlAlchemyConnector.load("orders")
    assert orders.target == "orders-db"
    assert orders.gateway.dashboard_url == "http://127.0.0.1:2"


def test_in_the_key_form_the_flow_runs(
    governed: GovernedPrefect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, orders_come_back: None
) -> None:
    url, key = governed.shop.gateway.url, governed.service_key
    _save(monkeypatch, TASKGATE_URL=url, TASKGATE_SOURCE=SOURCE, TASKGATE_API_KEY=key)
    flow = runpy.run_path(str(EXAMPLE / "orders_cleanup.py"))["orders_cleanup"]
    old = "status = 'cancelled' AND created_at < '2024-07-01' OR status = 'shipped' AND created_at < '2024-04-01'"
    before = governed.count(old)
    with governed.deciding(), temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        state: State[int] = flow(return_state=True)
    assert state.is_completed(), state
    assert state.result(raise_on_failure=False) == before > 0
    assert governed.count(old) == 0
    assert [one.principal.name.rpartition(".")[2] for one in governed.decided] == [
        "delete_cancelled_orders", "delete_shipped_orders",
    ]  # fmt: skip
    assert governed.count() > 0, "the refused DROP has dropped nothing"
