"""`taskgate doctor airflow` over an Airflow home of its own, with DAGs and connections in its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskgate.cli.exit_codes import ExitCode
from tests.e2e.shop import Shop

_DAG = """
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.sdk import DAG, task
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

with DAG("etl", schedule=None):
    SQLExecuteQueryOperator(task_id="once", conn_id="orders_db", sql="SELECT 1")
    SQLExecuteQueryOperator(task_id="again", conn_id="orders_db", sql="SELECT 1", retries=2)
    SQLExecuteQueryOperator(task_id="elsewhere", conn_id="other", sql="SELECT 1")
    SQLExecuteQueryOperator.partial(task_id="mapped", conn_id="orders_db").expand(sql=["SELECT 1"])
    SqlSensor(task_id="senses", conn_id="stored_form", sql="SELECT 1")
    GovernedSQLExecuteQueryOperator(task_id="waits", conn_id="orders_db", sql="SELECT 1")

    @task.governed_sql(conn_id="orders_db")
    def waits_too():
        return "SELECT 1"

    waits_too()
"""
_FILL = """
import sys
from pathlib import Path
try:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    known = {"bundle_name": "dags-folder"}
except ImportError:  # 3.1
    from airflow.models.dagbag import DagBag, sync_bag_to_db
    known = {}
from airflow.models.connection import Connection
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session

with create_session() as session:
    session.add(DagBundleModel(name="dags-folder"))
    session.add(Connection(conn_id="orders_db", conn_type="postgres", login="app", password="stored-password-9Kx"))
    session.add(Connection(conn_id="stored_form", conn_type="governed_postgres", extra='{"target": "orders-db"}'))
    session.add(Connection(conn_id="other", conn_type="postgres", login="app", password="of-nobodys-business"))
bag = DagBag(dag_folder=sys.argv[1], bundle_path=Path(sys.argv[1]), **known)
assert not bag.import_errors, bag.import_errors
sync_bag_to_db(bag, "dags-folder", None)
"""


@pytest.fixture(scope="module")
def home(running_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an Airflow in the worker form."""
    directory = tmp_path_factory.mktemp("doctor")
    dags = directory / "dags"
    dags.mkdir()
    (dags / "etl.py").write_text(_DAG)
    key = directory / "key"
    key.touch(mode=0o600)
    key.write_text(running_shop.service_key)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}
    arguments = {
        "url": running_shop.gateway.url,
        "api_key_file": str(key),
        "source": "demo-airflow",
        "connections": {"orders_db": "orders-db"},
    }
    environment = own | {
        "AIRFLOW_HOME": str(directory / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "taskgate_airflow.secrets.TaskgateSecretsBackend",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": json.dumps(arguments),
    }
    _run([sys.executable, "-m", "airflow", "db", "migrate"], environment)
    _run([sys.executable, "-c", _FILL, str(dags)], environment)
    return environment


def _run(command: list[str], environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _doctor(environment: dict[str, str], code: int) -> dict[str, list[dict[str, Any]]]:
    text = _run([sys.executable, "-m", "taskgate.cli", "doctor", "airflow", "--json"], environment, code)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(text):
        found.setdefault(one["check"], []).append(one)
    assert all(one["do"] for ones in found.values() for one in ones if one["level"] != "ok")
    return found


def test_what_leads_around_is_found_and_named(home: dict[str, str]) -> None:
    found = _doctor(home | {"AIRFLOW_CONN_ORDERS_DB": "postgres://app:in-the-environment@db/x"}, ExitCode.FAILED)
    assert found["form"][0]["found"].startswith("worker: ")
    assert [one["level"] for one in found["gateway"]] == ["ok"]
    assert [one["level"] for one in found["the worker form's key"]] == ["ok"]
    assert [one["level"] for one in found["environment"]] == ["fail"]
    (stored,) = found["stored connections"]
    assert stored["found"] == "orders_db (postgres) is stored with a login, a password"
    (without_retries,) = found["retries"]
    assert without_retries["level"] == "warn"
    assert "etl.once, etl.mapped, etl.senses. Where" in without_retries["found"]
    assert found["plugin"][0]["level"] == "ok"
    said = json.dumps(found)
    for secret in ("stored-password-9Kx", "in-the-environment", "of-nobodys-business"):
        assert secret not in said


def test_once_it_is_put_right_it_says_so(home: dict[str, str]) -> None:
    delete = [sys.executable, "-m", "airflow", "connections", "delete", "orders_db"]
    _run(delete, home)
    found = _doctor(home, ExitCode.DONE)
    assert "fail" not in {one["level"] for ones in found.values() for one in ones}
    assert found["stored connections"][0]["found"] == "1 governed ones in Airflow, none with a secret"


def test_text_for_people_where_only_the_light_client_is(home: dict[str, str], tmp_path: Path) -> None:
    """As a module, without the gateway's command line: what a worker has."""
    elsewhere = home | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/none.db"}
    text = _run([sys.executable, "-m", "taskgate_airflow.doctor"], elsewhere)
    assert "warn  stored connections" in text
    assert "→ fine on a worker" in text
    assert not (tmp_path / "none.db").exists()  # it changes nothing


def test_without_airflow_it_says_where_to_run_it(tmp_path: Path) -> None:
    """Of the command line: an interpreter that finds no Airflow."""
    script = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'airflow' else real(name, *rest)\n"
        "from taskgate.cli import main\n"
        "sys.argv = ['taskgate', 'doctor', 'airflow']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ExitCode.USAGE
    assert "python -m taskgate_airflow.doctor" in done.stderr
