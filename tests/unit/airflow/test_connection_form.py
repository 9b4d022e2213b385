from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.connection_form import CONNECTION_TYPE, FORM_FIELDS
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.mapping import read_mapping

STORED = {"conn_type": CONNECTION_TYPE, "extra": json.dumps({"target": "orders-db", "sslmode": "verify-full"})}


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection as the form stores it, and nothing that hands out credentials."""
    monkeypatch.setenv("AIRFLOW_CONN_STORED", json.dumps(STORED))
    return "stored"


@pytest.mark.skipif(version("apache-airflow-core") < "3.2", reason="this Airflow reads forms from hooks only")
def test_airflow_draws_the_form_without_a_warning() -> None:
    """In a process of its own: what warns does so once, when the providers are first looked at."""
    script = """
import json, warnings
warnings.simplefilter("always")
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hook = manager.hooks["governed_postgres"]
fields = {
    widget.field_name: [widget.is_sensitive, widget.field["schema"]]
    for name, widget in manager.connection_form_widgets.items() if name.startswith("extra__governed_postgres__")
}
print(json.dumps({
    "hook": [hook.hook_class_name, hook.connection_id_attribute_name, hook.package_name, hook.connection_testable],
    "name": hook.hook_name, "postgres": manager.hooks["postgres"].hook_class_name,
    "fields": fields, "behaviour": manager.field_behaviours["governed_postgres"],
}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=110, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    for word in ("governed_postgres", "taskgate", "already registered", "GovernedPostgresHook"):
        assert word not in done.stderr.replace(str(Path(__file__).parents[3]), "")
    assert found["hook"] == ["taskgate_airflow.hooks.GovernedPostgresHook", "postgres_conn_id", "taskgate", True]
    assert found["name"] == GovernedPostgresHook.hook_name
    assert found["postgres"] == "airflow.providers.postgres.hooks.postgres.PostgresHook"
    assert list(found["fields"]) == ["target", "host", "port", "sslmode", "sslrootcert"]
    assert not any(sensitive for sensitive, _ in found["fields"].values())
    assert found["fields"]["target"][1]["type"] == "string"  # without "null": the form asks for it
    assert set(found["behaviour"]["hidden_fields"]) == {"host", "port", "login", "password", "schema", "extra"}
    assert found["behaviour"]["placeholders"] == {"extra__governed_postgres__target": "orders-db"}


def test_its_fields_are_the_words_of_the_mapping() -> None:
    given = {"target": "orders-db", "host": "gw.example", "port": 6432}
    assert set(given) | {"sslmode", "sslrootcert"} == set(FORM_FIELDS)
    assert read_mapping({"orders_db": given})["orders_db"].host == "gw.example"


def test_the_sdk_finds_the_hook_by_the_type(stored: str) -> None:
    from airflow.sdk import BaseHook

    hook = BaseHook.get_hook(stored)
    assert isinstance(hook, GovernedPostgresHook)
    assert hook.get_conn_id() == stored


def test_without_a_credential_it_fails_closed(stored: str) -> None:
    for use in ("get_conn", "get_uri", "get_sqlalchemy_engine"):
        with pytest.raises(AirflowFailException, match="holds no credential.*configure Taskgate's secrets backend"):
            getattr(GovernedPostgresHook(postgres_conn_id=stored), use)()


def test_a_stock_operator_on_it_fails_closed(stored: str) -> None:
    """BaseSQLOperator hands the hook every extra."""
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

    operator = SQLExecuteQueryOperator(task_id="t", conn_id=stored, sql="SELECT 1")
    with pytest.raises(AirflowFailException, match="'stored' names a Taskgate target"):
        operator.execute({})


def test_a_login_typed_into_it_is_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORED", json.dumps(STORED | {"login": "tg_x", "password": "y", "host": "db"}))
    with pytest.raises(AirflowFailException, match="holds no credential"):
        GovernedPostgresHook(postgres_conn_id="stored").get_conn()


def test_extras_that_lead_elsewhere_reach_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"host": "elsewhere", "port": "1", "target": "orders-db", "sslmode": "disable"}
    connection = {"conn_type": "postgres", "login": "tg_x", "password": "y", "host": "gw", "port": 6432}
    monkeypatch.setenv("AIRFLOW_CONN_STORED", json.dumps(connection | {"extra": json.dumps(extra)}))
    hook, seen = GovernedPostgresHook(postgres_conn_id="stored"), {}

    def connect(arguments: dict[str, Any]) -> None:
        seen.update(arguments)

    monkeypatch.setattr(hook, "_create_connection", connect)
    hook.get_conn()
    assert (seen["host"], seen["port"], seen["sslmode"]) == ("gw", 6432, "disable")
    assert "target" not in seen
    assert set(hook.sqlalchemy_url.query) == {"sslmode", "options"}
