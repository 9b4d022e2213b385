"""What Airflow's own task runner shows of a real gateway: log lines, refusals, lineage, `@task.governed_sql`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.airflow_forms import worker_form
from tests.e2e.airflow_home import AirflowHome, DagResult
from tests.e2e.shop import Shop, shop


@pytest.fixture(scope="module")
def running_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), postgres18) as running:
        yield running


@pytest.fixture(scope="module")
def seen(running_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> DagResult:
    directory = tmp_path_factory.mktemp("airflow")
    dags = directory / "dags"
    dags.mkdir()
    (dags / "seen.py").write_text(Path(__file__).with_name("dags").joinpath("seen.py").read_text())
    home = directory / "home"
    airflow = AirflowHome(
        home,
        form=worker_form(
            home,
            url=running_shop.gateway.url,
            service_key=running_shop.service_key,
            connections={"orders_db": "orders-db"},
        ),
        dags=dags,
        environment={"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
    )
    with running_shop.approver(lambda approval: True):
        return airflow.run("seen")


def test_the_decorator_defers_and_runs_what_was_approved(seen: DagResult, running_shop: Shop) -> None:
    assert seen.tasks["asks"]["state"] == "success"
    assert "[DAG TEST] running trigger in line" in seen.log
    assert running_shop.query("SELECT count(*) FROM orders WHERE id = 10")[0][0] == 0
    (asked,) = [one for one in running_shop.decided if one.principal.name == "seen.asks"]
    assert asked.text == "DELETE FROM public.orders WHERE id = 10 AND status <> 'none'"


def test_a_stock_tasks_refusal_is_readable(seen: DagResult) -> None:
    assert seen.tasks["refused"]["state"] == "failed"
    line = next(one for one in seen.log.splitlines() if "Refused by the gateway" in one)
    assert "Schema changes go through migrations." in line
    assert "no-production-ddl" in line
    assert "ses_" in line
    assert "DETAIL:  rule=no-production-ddl" in seen.log  # the driver's own words, in the traceback


def test_lineage_names_the_session(seen: DagResult, running_shop: Shop) -> None:
    value = seen.tasks["lineage"]["value"]
    (facts,) = ast.literal_eval(value) if isinstance(value, str) else value
    with running_shop.client() as client:
        sessions = {one.id: one.principal.name for one in client.sessions()}
    assert sessions[facts["session_id"]] == "seen.lineage"
    assert facts["outcome"] == "ran"
    assert facts["sql"] == "SELECT count(*) FROM public.orders"


def test_each_tasks_log_says_what_its_attempt_did(seen: DagResult, running_shop: Shop) -> None:
    with running_shop.client() as client:
        sessions = {one.id: one for one in client.sessions()}
    customers = running_shop.query("SELECT count(*) FROM customers")[0][0]
    said = {
        line.split("Taskgate session ")[1].split()[0]: line
        for line in seen.log.splitlines()
        if "Taskgate session ses_" in line
    }
    of_task = {sessions[found].principal.name: line for found, line in said.items()}
    # BEGIN and COMMIT, which the driver sends, are statements too.
    assert f"3 statements allowed, 0 refused, {customers} rows, {customers} values masked" in of_task["seen.reads"]
    assert ", 1 refused, 0 rows" in of_task["seen.refused"]
    assert "3 statements allowed, 0 refused, 1 row, 0 values masked" in of_task["seen.lineage"]
    assert "values masked" in of_task["seen.asks"]
    asked = [line for line in seen.log.splitlines() if "Taskgate approval apr_" in line]
    assert len(asked) == 1
    assert running_shop.decided[0].id in asked[0]
    assert "approved by" in asked[0]
