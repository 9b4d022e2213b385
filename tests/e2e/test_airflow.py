"""A real Airflow's tasks through a real gateway to a real PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.airflow_forms import worker_form
from tests.e2e.airflow_home import AirflowHome, DagResult
from tests.e2e.shop import EXAMPLE, Shop, shop

OLD = "status = 'cancelled' AND created_at < '2024-07-01'"
OLDER = "status = 'shipped' AND created_at < '2024-04-01'"


@pytest.fixture(scope="module")
def running_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), postgres18) as running:
        yield running


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def airflow(running_shop: Shop, out: Path, tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    directory = tmp_path_factory.mktemp("airflow")
    dags = directory / "dags"
    shutil.copytree(Path(__file__).with_name("dags"), dags)
    shutil.copy(EXAMPLE / "dags" / "orders_cleanup.py", dags)
    home = directory / "home"
    return AirflowHome(
        home,
        form=worker_form(
            home,
            url=running_shop.gateway.url,
            service_key=running_shop.service_key,
            connections={"orders_db": "orders-db"},
        ),
        dags=dags,
        environment={
            "AIRFLOW_CONN_DIRECT_DB": running_shop.direct_uri,
            "AIRFLOW_CONN_ORDERS_DB": running_shop.direct_uri,  # what must never be fallen back to
            "TASKGATE_TEST_OUT": str(out),
        },
    )


@pytest.fixture(scope="module")
def before(running_shop: Shop) -> dict[str, int]:
    return {where: running_shop.query(f"SELECT count(*) FROM orders WHERE {where}")[0][0] for where in (OLD, OLDER)}


@pytest.fixture(scope="module")
def example(airflow: AirflowHome, running_shop: Shop, before: dict[str, int]) -> DagResult:
    """The example's DAG, with an approver who says yes to everything."""
    with running_shop.approver(lambda approval: True):
        return airflow.run("orders_cleanup")


@pytest.fixture(scope="module")
def behaviours(airflow: AirflowHome, running_shop: Shop, example: DagResult) -> DagResult:
    """The other DAG; the approver denies what the task `denied` asks for."""
    airflow.environment["TASKGATE_TEST_APPROVAL"] = running_shop.decided[0].id
    running_shop.decided.clear()
    with running_shop.approver(lambda approval: "denied" not in approval.principal.name):
        return airflow.run("behaviours")


def test_the_example_runs_as_its_comments_say(example: DagResult) -> None:
    assert {name: one["state"] for name, one in example.tasks.items()} == {
        "read_customers": "success",
        "drop_orders": "failed",
        "delete_old_orders_stock": "success",
        "delete_old_orders_governed": "success",
    }
    assert example.state == "success"


def test_an_unchanged_select_gets_masked_rows(example: DagResult, running_shop: Shop) -> None:
    clear = running_shop.query("SELECT email, card, ssn FROM customers")
    seen = str(example.tasks["read_customers"]["value"])
    assert "[redacted]" in seen
    for values in clear:
        for value in values:
            assert value not in seen
            assert value not in example.log


def test_a_forbidden_statement_is_refused_with_a_reason(example: DagResult, running_shop: Shop) -> None:
    assert "Schema changes go through migrations." in example.log
    assert running_shop.query("SELECT to_regclass('public.orders') IS NOT NULL")[0][0]


def test_deletes_ran_exactly_where_they_were_approved(
    example: DagResult, running_shop: Shop, before: dict[str, int]
) -> None:
    assert all(count > 0 for count in before.values())
    for where in (OLD, OLDER):
        assert running_shop.query(f"SELECT count(*) FROM orders WHERE {where}")[0][0] == 0
    assert running_shop.query("SELECT count(*) FROM orders")[0][0] == 1000 - sum(before.values())


def test_the_governed_task_deferred(example: DagResult) -> None:
    assert "[DAG TEST] running trigger in line" in example.log
    assert "Waiting for approval of apr_" in example.log


def test_sessions_are_those_of_the_attempts(example: DagResult, running_shop: Shop) -> None:
    with running_shop.client() as client:
        found = {one.principal.name for one in client.sessions()}
        session = next(one for one in client.sessions() if one.principal.name == "orders_cleanup.read_customers")
    assert found >= {f"orders_cleanup.{task_id}" for task_id in example.tasks}
    assert session.principal.attempt is not None
    assert session.principal.attempt.task.source == "demo-airflow"
    assert session.principal.assurance == "asserted"
    assert session.principal.attributes["owner"] == "data-team"


def test_credentials_end_with_their_attempt(example: DagResult, running_shop: Shop) -> None:
    with running_shop.client() as client:
        credentials = [one for one in client.credentials() if "orders_cleanup" in one.principal.name]
    assert len(credentials) == 5  # one a task, and another for the resumed half of the governed one
    assert all(one.revoked_at for one in credentials)


def test_a_denial_fails_the_task_with_who_and_why_and_is_not_retried(behaviours: DagResult, running_shop: Shop) -> None:
    assert (behaviours.tasks["denied"]["state"], behaviours.tasks["denied"]["tries"]) == ("failed", 1)
    assert "was denied by" in behaviours.log
    assert "dana: by the test" in behaviours.log
    assert running_shop.query("SELECT count(*) FROM orders WHERE id = 1")[0][0] == 1


def test_several_statements_are_asked_for_at_once_and_once(behaviours: DagResult, running_shop: Shop) -> None:
    assert behaviours.tasks["several"]["state"] == "success"
    asked = [one.text for one in running_shop.decided if "several" in one.principal.name]
    assert sorted(asked) == [
        "DELETE FROM public.orders WHERE id = 2 RETURNING id",
        "DELETE FROM public.orders WHERE id = 3 RETURNING id",
    ]
    assert running_shop.query("SELECT count(*) FROM orders WHERE id IN (2, 3)")[0][0] == 0


def test_an_unmapped_connection_passes_untouched(behaviours: DagResult) -> None:
    assert behaviours.tasks["unmapped"]["state"] == "success"
    assert "taskgate_app" in str(behaviours.tasks["unmapped"]["value"])


def test_the_governed_operator_refuses_a_direct_connection(behaviours: DagResult) -> None:
    assert (behaviours.tasks["ungoverned"]["state"], behaviours.tasks["ungoverned"]["tries"]) == ("failed", 1)
    assert "does not go through Taskgate" in behaviours.log


def test_a_callback_is_no_task(behaviours: DagResult, out: Path) -> None:
    assert (out / "callback").read_text().startswith("AirflowSecretsBackendAccessDenied")


def test_a_thread_of_the_task_is_the_task(behaviours: DagResult) -> None:
    assert behaviours.tasks["in_a_thread"] == {"state": "success", "tries": 1, "value": "tg_"}


def test_the_sensor_passes_what_is_approved(behaviours: DagResult) -> None:
    assert behaviours.tasks["waits_for_another"]["state"] == "success"


def test_al_05_no_secret_reaches_logs_xcom_or_the_metadata_database(
    example: DagResult, behaviours: DagResult, airflow: AirflowHome, running_shop: Shop, out: Path
) -> None:
    secrets = set((out / "secrets").read_text().split())
    assert len(secrets) >= 8
    key_file = airflow.directory / "service-key"
    files = [file for file in airflow.directory.rglob("*") if file.is_file() and file != key_file]
    assert any(file.suffix == ".db" for file in files)
    for file in files:
        # At DEBUG, the supervisor that `dag.test()` runs in the same process logs the very values it is told to mask,
        # of every connection there is. Everything else is looked at, at DEBUG.
        content = b"\n".join(line for line in file.read_bytes().split(b"\n") if b"msg=MaskSecret(" not in line)
        for secret in [*secrets, running_shop.service_key, running_shop.dana]:
            assert secret.encode() not in content, file


def test_a_gateway_that_is_away_fails_closed(behaviours: DagResult, airflow: AirflowHome, running_shop: Shop) -> None:
    """A stored connection with the real password stands right behind ours; last, since it stops the gateway."""
    running_shop.gateway.stop()
    result = airflow.run("reads")
    assert result.tasks["read"]["state"] == "failed"
    assert result.tasks["read"]["value"] is None
    assert "Connection 'orders_db' refused" in result.log
    running_shop.gateway.start()
