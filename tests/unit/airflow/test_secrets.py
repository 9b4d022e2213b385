from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow import secrets
from taskgate_airflow.compat import AirflowSecretsBackendAccessDenied
from taskgate_airflow.secrets import TaskgateSecretsBackend
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.conftest import forget_secrets_backends


def test_a_mapped_connection_becomes_an_endpoint_of_the_gateway(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace
) -> None:
    connection = TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")
    issued = control_api.api.issued[0]
    assert connection.conn_type == "postgres"
    assert (connection.host, connection.port, connection.schema) == ("127.0.0.1", 6432, "shop")
    assert (connection.login, connection.password) == (issued["user"], issued["password"])
    assert connection.extra is None


def test_the_claim_names_the_attempt_and_what_airflow_says_of_the_run(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace
) -> None:
    TaskgateSecretsBackend(**backend_kwargs, ttl=600).get_connection("orders_db")
    _, _, body = control_api.api.asked[0]
    assert body["target"] == "orders-db"
    assert body["ttl"] == 600
    assert body["principal"] == {
        "kind": "task",
        "source": "demo-airflow",
        "dag_id": "orders_cleanup",
        "run_id": "manual__2026-11-23",
        "task_id": "delete_old_orders",
        "map_index": -1,
        "try_number": 2,
        "attempt_id": running_task.id,
        "attributes": {
            "run_type": "manual",
            "triggering_user": "alice",
            "bundle": "etl",
            "bundle_version": "4f2c",
            "owner": "data-team",
            "tags": ["demo", "orders"],
        },
    }


def test_an_unmapped_connection_is_left_alone_even_outside_a_task(backend_kwargs: dict[str, Any]) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    assert backend.get_connection("something_else") is None
    assert backend.get_conn_value("something_else") is None
    assert backend.get_variable("orders_db") is None
    assert backend.get_config("orders_db") is None


def test_a_mapped_connection_is_denied_outside_a_task(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any]
) -> None:
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="only handed to a running task"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")
    assert control_api.api.asked == []


def test_a_half_known_task_is_no_task(backend_kwargs: dict[str, Any], running_task: SimpleNamespace) -> None:
    running_task.run_id = None
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="only handed to a running task"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


def test_one_credential_an_attempt_and_connection(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace
) -> None:
    backend_kwargs["connections"] = {"orders_db": "orders-db", "reports_db": "reports-db"}
    backend = TaskgateSecretsBackend(**backend_kwargs)
    first = backend.get_connection("orders_db")
    assert backend.get_connection("orders_db").login == first.login
    assert backend.get_connection("reports_db").login != first.login
    running_task.id = "0197c0de-0000-7000-8000-000000000002"
    assert backend.get_connection("orders_db").login != first.login
    assert len(control_api.api.issued) == 3


def test_threads_of_one_attempt_share_a_credential(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace
) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    logins: list[str] = []
    threads = [
        threading.Thread(target=lambda: logins.append(backend.get_connection("orders_db").login)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(logins) == 8
    assert len(set(logins)) == 1
    assert len(control_api.api.issued) == 1


def test_a_credential_near_its_end_is_renewed(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    running_task: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    control_api.api.ttl = 200
    backend.get_connection("orders_db")
    started = time.monotonic()
    monkeypatch.setattr("taskgate_airflow.handed_out.time.monotonic", lambda: started + 170)
    backend.get_connection("orders_db")
    assert len(control_api.api.issued) == 1
    monkeypatch.setattr("taskgate_airflow.handed_out.time.monotonic", lambda: started + 181)
    backend.get_connection("orders_db")
    assert len(control_api.api.issued) == 2


def test_host_and_port_may_be_the_sites_own(backend_kwargs: dict[str, Any], running_task: SimpleNamespace) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs, host="gw.internal", port=16432, sslmode="verify-full")
    connection = backend.get_connection("orders_db")
    assert (connection.host, connection.port) == ("gw.internal", 16432)
    assert connection.extra_dejson == {"sslmode": "verify-full"}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 503])
def test_every_answer_but_a_credential_denies(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace, status: int
) -> None:
    control_api.api.broken = [status] * 10
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="did not issue a credential for target orders-db"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


def test_a_gateway_that_is_away_denies(
    backend_kwargs: dict[str, Any], running_task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend_kwargs["url"] = "http://127.0.0.1:9"
    monkeypatch.setattr("taskgate.client.sync.time.sleep", lambda _: None)
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="cannot reach"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


def test_a_missing_key_file_denies(
    backend_kwargs: dict[str, Any], running_task: SimpleNamespace, api_key_file: Path
) -> None:
    api_key_file.unlink()
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="cannot read Taskgate's API key"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


def test_a_key_in_clear_over_the_network_denies(backend_kwargs: dict[str, Any], running_task: SimpleNamespace) -> None:
    backend_kwargs["url"] = "http://gateway.example"
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="in clear"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


def test_a_bug_of_ours_denies_too(
    backend_kwargs: dict[str, Any], running_task: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "current_task", lambda: 1 / 0)
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="ZeroDivisionError"):
        TaskgateSecretsBackend(**backend_kwargs).get_connection("orders_db")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"connections": None}, "connections missing"),
        ({"connections": {}}, "connections missing"),
        ({"url": None}, "url missing"),
        ({"api_key_file": ""}, "api_key_file missing"),
        ({"source": None}, "source missing"),
        ({"ttl": "soon"}, "soon"),
        ({"conections": {"orders_db": "orders-db"}}, "unknown arguments: conections"),
        ({"connections": {"orders_db": {"target": "x", "extra": {"resource": "r"}}}}, "would break the driver"),
    ],
)
def test_wrong_arguments_deny_every_connection(
    backend_kwargs: dict[str, Any], running_task: SimpleNamespace, change: dict[str, Any], says: str
) -> None:
    backend = TaskgateSecretsBackend(**{**backend_kwargs, **change})
    for conn_id in ("orders_db", "something_else"):
        with pytest.raises(AirflowSecretsBackendAccessDenied, match=says):
            backend.get_connection(conn_id)
        with pytest.raises(AirflowSecretsBackendAccessDenied):
            backend.get_conn_value(conn_id)


def test_no_arguments_at_all_deny(running_task: SimpleNamespace) -> None:
    """What Airflow makes of arguments it cannot parse."""
    with pytest.raises(AirflowSecretsBackendAccessDenied):
        TaskgateSecretsBackend().get_connection("orders_db")


def test_the_secret_is_masked_and_in_no_repr(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    running_task: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow.sdk.log import redact

    caplog.set_level(logging.DEBUG)
    backend = TaskgateSecretsBackend(**backend_kwargs)
    backend.get_connection("orders_db")
    secret = control_api.api.issued[0]["password"]
    assert secret not in str(redact(f"password is {secret}"))
    assert secret not in caplog.text
    assert secret not in repr(backend)
    assert secret not in repr(backend._issued.find(running_task.id, "orders_db"))
    assert Path(backend_kwargs["api_key_file"]).read_text().strip() not in repr(vars(backend))


def test_what_was_issued_can_be_revoked_at_the_end(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], running_task: SimpleNamespace
) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    first = backend.get_connection("orders_db")
    backend.revoke_issued("attempt over")
    assert control_api.api.revoked == [first.login]
    assert backend.get_connection("orders_db").login != first.login


def test_airflow_itself_fails_closed_with_it(
    backend_kwargs: dict[str, Any], control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's own dispatcher, with a stored connection behind ours that must not be reached."""
    import json

    from airflow.sdk import Connection

    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "taskgate_airflow.secrets.TaskgateSecretsBackend")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", json.dumps(backend_kwargs))
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", "postgresql://app:stored-password@db.internal/shop")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_DB", "postgresql://app:stored-password@db.internal/shop")
    forget_secrets_backends()
    try:
        with pytest.raises(AirflowSecretsBackendAccessDenied):
            Connection.get("orders_db")
        assert Connection.get("other_db").host == "db.internal"
    finally:
        forget_secrets_backends()
