"""The dashboard's pages on a real gateway: what tests/unit/dashboard checks on a stand-in holds there too."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from taskgate.client import Client, SessionFilter, TaskClaim
from taskgate.demo.postgres_server import PostgresServer
from taskgate.recording.verify import verify
from taskgate_dashboard.bundle_view import _bundle
from tests.e2e.shop import Shop, shop
from tests.unit.dashboard.conftest import APP, html

DELETE = "DELETE FROM public.orders WHERE status = %s AND id < 100"


@pytest.fixture(scope="module")
def running_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), postgres18) as running:
        yield running


def _connect(running_shop: Shop, task_id: str) -> psycopg.Connection:
    claim = TaskClaim(
        source="demo-airflow",
        dag_id="orders_cleanup",
        run_id="manual__1",
        task_id=task_id,
        attempt_id=f"attempt-{task_id}",
        attributes={"owner": "data-team", "triggering_user": "alice"},
    )
    with Client(running_shop.gateway.url, running_shop.service_key) as client:
        credential = client.issue_credential("orders-db", principal=claim)
    return psycopg.connect(credential.dsn.get_secret_value(), autocommit=True)


@pytest.fixture(scope="module")
def used(running_shop: Shop) -> Shop:
    """A session that read masked rows, and one that was refused."""
    with _connect(running_shop, "read_customers") as reading:
        reading.execute("SELECT id, email, ssn FROM public.customers ORDER BY id LIMIT 3").fetchall()
    with _connect(running_shop, "drop_orders") as dropping, pytest.raises(psycopg.errors.InsufficientPrivilege):
        dropping.execute("DROP TABLE public.orders")
    return running_shop


@pytest.fixture
def open_page(used: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    monkeypatch.setenv("TASKGATE_URL", used.gateway.url)

    def opened(page: str = "approvals", **query: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=30).run()
        app.text_input[0].set_value(used.dana)
        app.button[0].click().run()
        app.switch_page(f"views/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return opened


def _press(app: AppTest, key: str) -> AppTest:
    return next(button for button in app.button if button.key == key).click().run()


def test_a_waiting_delete_is_decided_here(used: Shop, open_page: Callable[..., AppTest]) -> None:
    deleted: list[int] = []

    def delete() -> None:
        with _connect(used, "delete_old_orders") as connection:
            deleted.append(connection.execute(DELETE, ("cancelled",)).rowcount)

    expected = used.query("SELECT count(*) FROM orders WHERE status = 'cancelled' AND id < 100")[0][0]
    waiting = threading.Thread(target=delete)
    waiting.start()
    with used.client() as client:
        deadline = time.monotonic() + 20
        while not (pending := list(client.approvals(state=["pending"]))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    approval = pending[0]
    app = open_page(id=approval.id)
    assert not app.exception
    shown = html(app)
    for text in ("WHERE status = $1 AND id &lt; 100", "cancelled", "delete_old_orders", approval.digest, "alice"):
        assert text in shown, text
    assert re.search(r"connection waiting, \d+ min .*? left", shown)
    _press(app, "approve")
    _press(app, "confirm")
    waiting.join(20)
    assert deleted == [expected]
    assert expected > 0
    app.run()
    assert "Approved by" in app.success[0].value


def test_the_timeline_shows_what_happened(used: Shop, open_page: Callable[..., AppTest]) -> None:
    with used.client() as client:
        sessions = {one.principal.name.partition(".")[2]: one.id for one in client.sessions()}
    shown = html(open_page("timeline", id=sessions["read_customers"]))
    assert "SELECT id, email, ssn FROM public.customers ORDER BY id LIMIT 3" in shown
    assert "sql.select public.customers" in shown
    assert "rule tasks-read-the-shop" in shown
    assert "SELECT 3, 3 rows" in shown
    assert "3 masked by ssn" in shown
    refused = html(open_page("timeline", id=sessions["drop_orders"]))
    assert "DROP TABLE public.orders" in refused
    assert "Schema changes go through migrations." in refused


def test_a_session_bundle_verifies_offline(used: Shop, tmp_path: Path) -> None:
    with used.client() as client:
        session_id = next(client.sessions(SessionFilter(name="read_customers"))).id
        (tmp_path / "bundle.zip").write_bytes(_bundle(client, session_id))
    assert verify(tmp_path / "bundle.zip", sessions=[session_id]).ok


def test_sessions_are_found_and_verified(used: Shop, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions")
    assert {"read_customers", "drop_orders"} <= set(app.dataframe[0].value["Task"])
    app.text_input(key="name").set_value("cleanup DROP_").run()
    assert list(app.dataframe[0].value["Task"]) == ["drop_orders"]
    app.text_input(key="person").set_value("ALI").run()
    assert list(app.dataframe[0].value["Person"]) == ["alice"]
    app = open_page("verification")
    next(button for button in app.button if button.label.startswith("Verify these")).click().run()
    assert not app.exception
    assert not app.error, [error.value for error in app.error]
    assert "recordings intact" in app.success[0].value
