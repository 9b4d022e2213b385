from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer
from airflow.providers.common.sql.operators.sql import SQLCheckOperator, SQLExecuteQueryOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Connection, task

from taskgate_airflow import bypasses, policies
from taskgate_airflow.bypasses import GovernedConnections, configured_connections, governed_connections
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

ELSEWHERE = {"connection": Connection(conn_id="x", conn_type="postgres", host="db")}
_Mapped = SQLExecuteQueryOperator.partial
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    governed_connections.cache_clear()
    yield
    governed_connections.cache_clear()


@pytest.fixture
def enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__ENFORCE_POLICY", "True")
    monkeypatch.setenv("AIRFLOW__TASKGATE__GOVERNED_CONNECTIONS", "orders_db, finance_*")


def _rejected(task: Any) -> str:
    with pytest.raises(AirflowClusterPolicyViolation) as violation:
        policies.task_policy(task)
    return str(violation.value)


def _sql(**more: Any) -> SQLExecuteQueryOperator:
    return SQLExecuteQueryOperator(task_id="t", sql="SELECT 1", **more)


def test_it_is_inert_until_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__GOVERNED_CONNECTIONS", "orders_db")
    policies.task_policy(_sql(conn_id="orders_db", hook_params=dict(ELSEWHERE)))


def test_a_connection_object_past_the_gateway_is_named(enforced: None) -> None:
    with DAG("etl", schedule=None):
        said = _rejected(_sql(conn_id="orders_db", hook_params=dict(ELSEWHERE)))
    assert said.startswith("Task etl.t: hook_params['connection'] would take connection 'orders_db' past Taskgate: ")


@pytest.mark.parametrize(
    "task",
    [
        SQLCheckOperator(task_id="t", sql="SELECT 1", conn_id="finance_eu", hook_params=dict(ELSEWHERE)),
        SqlSensor(task_id="t", sql="SELECT 1", conn_id="orders_db", hook_params=dict(ELSEWHERE)),
        GovernedSQLExecuteQueryOperator(task_id="t", sql="S", conn_id="orders_db", hook_params=dict(ELSEWHERE)),
        GenericTransfer(
            task_id="t", sql="S", destination_table="d", source_conn_id="other", destination_conn_id="orders_db",
            destination_hook_params=dict(ELSEWHERE),
        ),
        _Mapped(task_id="t", conn_id="orders_db", hook_params=dict(ELSEWHERE)).expand(sql=["S"]),
        _Mapped(task_id="t", conn_id="orders_db", sql="S").expand(hook_params=[{}, ELSEWHERE]),
        _Mapped(task_id="t", hook_params=dict(ELSEWHERE), sql="S").expand(conn_id=["a", "orders_db"]),
        _Mapped(task_id="t", sql="S").expand_kwargs(
            [{"conn_id": "a"}, {"conn_id": "orders_db", "hook_params": ELSEWHERE}]
        ),
    ],
    ids=lambda task: f"{task.task_type}{'-mapped' if hasattr(task, 'partial_kwargs') else ''}",
)  # fmt: skip
def test_every_stock_operator_and_sensor_that_takes_one(enforced: None, task: Any) -> None:
    assert "hook_params['connection']" in _rejected(task)


def test_parameters_that_only_a_run_knows_are_rejected(enforced: None) -> None:
    with DAG("etl", schedule=None):

        @task
        def made() -> dict[str, Any]:
            return {}

        said = _rejected(_sql(conn_id="orders_db", hook_params=made()))
    assert "hook_params (only known when it runs)" in said


def test_a_decorated_task_is_a_task(enforced: None) -> None:
    with DAG("etl", schedule=None):

        @task.sql(conn_id="orders_db", hook_params=dict(ELSEWHERE))
        def query() -> str:
            return "SELECT 1"

        assert "Task etl.query" in _rejected(query().operator)


@pytest.mark.parametrize(
    "task",
    [
        _sql(conn_id="orders_db", database="other", hook_params={"options": "-c search_path=x", "schema": "s"}),
        _sql(conn_id="orders_db"),
        _sql(conn_id="other", hook_params=dict(ELSEWHERE)),
        _sql(conn_id="{{ params.conn_id }}", hook_params=dict(ELSEWHERE)),
        SqlSensor(task_id="t", sql="SELECT 1", conn_id="orders_db"),
        GenericTransfer(
            task_id="t", sql="S", destination_table="d", source_conn_id="other", destination_conn_id="orders_db",
            source_hook_params=dict(ELSEWHERE),
        ),
        BashOperator(task_id="t", bash_command="true"),
        BashOperator.partial(task_id="t").expand(bash_command=["true"]),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_stays_on_the_way_passes(enforced: None, task: Any) -> None:
    policies.task_policy(task)


def test_a_pod_that_sets_the_connection_itself(enforced: None) -> None:
    def pod(name: str) -> dict[str, Any]:
        variable = SimpleNamespace(name=name, value="postgres://db")
        return {"pod_override": SimpleNamespace(spec=SimpleNamespace(containers=[SimpleNamespace(env=[variable])]))}

    executor_config = pod("AIRFLOW_CONN_FINANCE_EU")
    said = _rejected(SimpleNamespace(task_id="t", dag_id="etl", executor_config=executor_config))
    assert "executor_config['pod_override'] with AIRFLOW_CONN_FINANCE_EU" in said
    policies.task_policy(SimpleNamespace(task_id="t", executor_config=pod("AIRFLOW_CONN_OTHER")))
    policies.task_policy(SimpleNamespace(task_id="t", executor_config=pod("PATH")))


def test_ids_come_from_the_secrets_backends_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", '{"connections": {"a": "x", "b": {"target": "y"}}}')
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"connections": "{\\"c\\": \\"z\\"}"}')
    monkeypatch.setenv("AIRFLOW__TASKGATE__GOVERNED_CONNECTIONS", "d")
    assert configured_connections() == ["a", "b", "c", "d"]
    for unreadable in ("no json", "[]", '{"connections": 5}', '{"connections": "x"}'):
        monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", unreadable)
        assert configured_connections() == ["c", "d"]


def test_switched_on_without_any_id_it_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__ENFORCE_POLICY", "true")
    assert "connection 'whatever'" in _rejected(_sql(conn_id="whatever", hook_params=dict(ELSEWHERE)))


def test_another_protocols_table_is_one_more(enforced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = (bypasses.Bypass("ssh_conn_id", "remote_host", None, "the hook would connect there with the credential"),)
    monkeypatch.setattr(bypasses, "TABLES", (*bypasses.TABLES, ssh))
    said = _rejected(SimpleNamespace(task_id="t", dag_id="d", ssh_conn_id="orders_db", remote_host="10.0.0.1"))
    assert said.startswith("Task d.t: remote_host would take connection 'orders_db'")
    policies.task_policy(SimpleNamespace(task_id="t", dag_id="d", ssh_conn_id="orders_db", remote_host=None))


def test_patterns() -> None:
    governed = GovernedConnections(["orders_db", "finance_*"])
    assert "orders_db" in governed
    assert "finance_" in governed
    assert "orders" not in governed
    assert None not in governed
    assert governed.in_variable("AIRFLOW_CONN_ORDERS_DB") == "orders_db"
    assert governed.in_variable("airflow_conn_finance_x") == "finance_*"
    assert governed.in_variable("AIRFLOW_CONN_X") is None


def test_it_costs_under_a_millisecond_a_task(enforced: None) -> None:
    tasks = [_sql(conn_id="orders_db", hook_params={"options": "-c x=y"})] * 500
    started = time.process_time()
    for one in tasks:
        policies.task_policy(one)
    assert (time.process_time() - started) / len(tasks) < 0.001


def test_its_import_costs_under_twenty_milliseconds_and_no_provider() -> None:
    script = (
        "import sys, time, pluggy; started = time.process_time(); before = set(sys.modules)\n"
        "import taskgate_airflow.policies, taskgate_airflow.bypasses\n"
        "print(time.process_time() - started, any(name.startswith('airflow') for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    took, imported = done.stdout.split()
    assert float(took) < 0.020
    assert imported == "False"


def test_airflow_loads_it_by_its_entry_point_and_rejects_the_dag(tmp_path: Path) -> None:
    """With the entry point as pyproject.toml declares it, in a process of its own."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["airflow.policy"]
    installed = tmp_path / "policy_of_this_tree-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: policy-of-this-tree\nVersion: 1\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (installed / "entry_points.txt").write_text(f"[airflow.policy]\n{lines}")
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "dag.py").write_text(
        "from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator\n"
        "from airflow.sdk import DAG, Connection\n"
        "with DAG('etl', schedule=None):\n"
        "    SQLExecuteQueryOperator(task_id='t', sql='SELECT 1', conn_id='orders_db',\n"
        "                            hook_params={'connection': Connection(conn_id='x', conn_type='postgres')})\n"
    )
    script = (
        "try:\n    from airflow.dag_processing.dagbag import DagBag\n"
        "except ImportError:  # before 3.2\n    from airflow.models.dagbag import DagBag\n"
        f"bag = DagBag(dag_folder={str(dags)!r}, bundle_path=None)\n"
        "print(list(bag.dags), list(bag.import_errors.values()))"
    )
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "AIRFLOW__TASKGATE__ENFORCE_POLICY": "True",
        "AIRFLOW__TASKGATE__GOVERNED_CONNECTIONS": "orders_db",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert said.startswith('[] ["AirflowClusterPolicyViolation: Task etl.t: hook_params[')
