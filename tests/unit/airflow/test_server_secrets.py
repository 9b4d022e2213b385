"""The server form's backend in the API server's process; the others: test_server_secrets_in_clients.py. Airflow's API
server itself: tests/integration/airflow."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow import compat, gateway_silence, server_secrets
from taskgate_airflow.compat import AirflowSecretsBackendAccessDenied, Process, TaskInstanceKey
from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend
from taskgate_airflow.task_token import TaskToken, describing, presented
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.test_task_token import ATTEMPT, jwt

TOKEN = TaskToken(jwt({"sub": ATTEMPT}), ATTEMPT)
INSTANCE = TaskInstanceKey(ATTEMPT, "orders_cleanup", "manual__1", "delete_old_orders", 4)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An API server: what Airflow has stored, and one task instance in its database."""
    stored: dict[str, Any] = {}
    monkeypatch.setattr(compat, "process", lambda: Process.SERVER)
    monkeypatch.setattr(compat, "next_connection", lambda after, conn_id, team_name: stored.get(conn_id))
    monkeypatch.setattr(compat, "task_instance_key", lambda ti_id: INSTANCE if ti_id == ATTEMPT else None)
    return stored


def _stored(conn_type: str = "governed_postgres", **more: Any) -> SimpleNamespace:
    given = {"login": None, "password": None, "extra": json.dumps({"target": "orders-db"}), **more}
    return SimpleNamespace(conn_type=conn_type, **given)


def denied(backend: TaskgateServerSecretsBackend, conn_id: str = "orders_db") -> str:
    with pytest.raises(AirflowSecretsBackendAccessDenied) as caught:
        backend.get_connection(conn_id)
    return str(caught.value)


def test_a_task_that_proves_itself_gets_a_connection(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs, host="lb.internal", sslrootcert="/etc/ca.pem")
    with presented(TOKEN):
        connection = backend.get_connection("orders_db")
    assert (connection.conn_type, connection.host, connection.port) == ("postgres", "lb.internal", 6432)
    assert connection.login == control_api.api.issued[0]["user"]
    assert connection.extra_dejson == {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}
    _, _, body = control_api.api.asked[0]
    assert "ttl" not in body
    assert body["principal"] == {
        "kind": "airflow_task",
        "source": "demo-airflow",
        "dag_id": "orders_cleanup",
        "run_id": "manual__1",
        "task_id": "delete_old_orders",
        "map_index": 4,
        "token": TOKEN.text,
    }


def test_it_is_asked_for_once_an_attempt_and_lives_through_callbacks(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    server: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose end was posted gets no other from the gateway, but keeps what it held: as long as callbacks may use it."""
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    with presented(TOKEN):
        first = backend.get_connection("orders_db")
        backend.tell_posted([ATTEMPT])
        control_api.api.refuses = "the attempt is over"
        assert backend.get_connection("orders_db").login == first.login
        much_later = time.monotonic() + 61
        monkeypatch.setattr("taskgate_airflow.handed_out.time.monotonic", lambda: much_later)
        assert "the attempt is over" in denied(backend)
    assert control_api.api.posted == [ATTEMPT]


def test_an_unmapped_connection_is_left_to_airflow(backend_kwargs: dict[str, Any], server: dict[str, Any]) -> None:
    server["plain_db"] = SimpleNamespace(conn_type="postgres", login="app", password="p", extra=None)
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    for conn_id in ("plain_db", "nothing_db"):
        assert backend.get_connection(conn_id) is None
        assert backend.get_conn_value(conn_id) is None
    assert backend.get_variable("orders_db") is None
    assert backend.get_config("orders_db") is None


def test_a_server_without_a_task_denies(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    server["stored_db"] = SimpleNamespace(
        conn_type="governed_postgres", login=None, password=None, extra='{"target":"t"}'
    )
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    for conn_id in ("orders_db", "stored_db"):
        assert "only handed to a running task" in denied(backend, conn_id)
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="only handed out as a connection"):
        backend.get_conn_value("orders_db")
    assert control_api.api.asked == []


def test_a_token_of_no_task_instance_isdenied(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    unknown = "0197c0de-0000-7000-8000-000000000999"
    with presented(TaskToken(jwt({"sub": unknown}), unknown)):
        assert "does not know the task instance" in denied(TaskgateServerSecretsBackend(**backend_kwargs))
    assert control_api.api.asked == []


def test_stored_connections_alone_are_enough(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    del backend_kwargs["connections"]
    extra = json.dumps({"target": "orders-db", "port": 7000})
    server["stored_db"] = _stored(login="app", password="s3cret", extra=extra)
    with presented(TOKEN):
        connection = TaskgateServerSecretsBackend(**backend_kwargs).get_connection("stored_db")
    assert (connection.conn_type, connection.port) == ("postgres", 7000)
    assert connection.login == control_api.api.issued[0]["user"]
    assert connection.password != "s3cret"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 503])
def test_every_answer_but_a_credential_denies(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    server: dict[str, Any],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskgate.client.sync.time.sleep", lambda _: None)
    control_api.api.broken = [status] * 10
    with presented(TOKEN):
        says = denied(TaskgateServerSecretsBackend(**backend_kwargs))
    assert "did not issue a credential for target orders-db" in says


def test_the_extra_of_another_protocol_isdenied(backend_kwargs: dict[str, Any], server: dict[str, Any]) -> None:
    server["gopher_db"] = _stored("governed_gopher")
    with presented(TOKEN):
        says = denied(TaskgateServerSecretsBackend(**backend_kwargs), "gopher_db")
    assert "speaks postgres, and the connection is for gopher" in says


def test_a_bug_of_ours_denies_too(
    backend_kwargs: dict[str, Any], server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "next_connection", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in denied(TaskgateServerSecretsBackend(**backend_kwargs), "any_db")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": None}, "url missing"),
        ({"source": ""}, "source missing"),
        ({"url": None, "source": None}, "url and source missing"),
        ({"ttl": "soon"}, "soon"),
        ({"connections": "{not json"}, "connections is no JSON"),
        ({"connections": {"orders_db": ""}}, "connection orders_db"),
        ({"connections": {"orders_db": {"target": "x", "extra": {"resource": "r"}}}}, "would break the driver"),
        ({"conections": {"orders_db": "orders-db"}}, "unknown arguments: conections"),
    ],
)
@pytest.mark.parametrize("where", [Process.SERVER, Process.TRIGGER_RUNNER])
def test_wrong_arguments_deny_every_connection(
    backend_kwargs: dict[str, Any],
    change: dict[str, Any],
    says: str,
    where: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compat, "process", lambda: where)
    backend = TaskgateServerSecretsBackend(**{**backend_kwargs, **change})
    for conn_id in ("orders_db", "something_else"):
        assert says in denied(backend, conn_id)
        with pytest.raises(AirflowSecretsBackendAccessDenied):
            backend.get_conn_value(conn_id)


def test_no_arguments_at_all_deny() -> None:
    """What Airflow makes of arguments it cannot parse."""
    assert "url and source missing" in denied(TaskgateServerSecretsBackend())


def test_the_servers_key_may_stand_in_its_own_section(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    server: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key_file = backend_kwargs.pop("api_key_file")
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    with presented(TOKEN):
        assert "has no key: api_key_file is missing" in denied(backend)
        monkeypatch.setenv("AIRFLOW__TASKGATE__API_KEY_FILE", key_file)
        assert backend.get_connection("orders_db").login == control_api.api.issued[0]["user"]


def test_a_rotated_key_is_picked_up(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    with presented(TOKEN):
        backend.get_connection("orders_db")
        old = Path(backend_kwargs["api_key_file"]).read_text().strip()
        Path(backend_kwargs["api_key_file"]).write_text(control_api.api.key("rotated", kind="service"))
        del control_api.api.keys[old]
        backend._handed_out.take_all()
        backend.get_connection("orders_db")
    assert len(control_api.api.issued) == 2


def test_a_task_may_ask_why_it_was_refused_and_no_other_task_may(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    control_api.api.refuses = "rule no-night-shift: not at night"
    with presented(TOKEN):
        denied(backend)
        assert "not at night" in str(backend.get_variable("taskgate:refusal:orders_db"))
        assert backend.get_variable("taskgate:refusal:other_db") is None
    assert backend.get_variable("taskgate:refusal:orders_db") is None
    denied(backend)
    assert "only handed to a running task" in str(backend.get_variable("taskgate:refusal:orders_db"))
    other = "0197c0de-0000-7000-8000-000000000002"
    with presented(TaskToken(jwt({"sub": other}), other)):
        assert backend.get_variable("taskgate:refusal:orders_db") is None


def test_what_was_none_of_ours_a_moment_ago_waits_for_nobody(
    backend_kwargs: dict[str, Any], server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    assert backend.may_wait("plain_db") is True
    backend.get_connection("plain_db")
    assert backend.may_wait("plain_db") is False
    assert backend.may_wait("orders_db") is True
    later = time.monotonic() + 61
    monkeypatch.setattr(server_secrets, "time", SimpleNamespace(monotonic=lambda: later))
    assert backend.may_wait("plain_db") is True
    assert TaskgateServerSecretsBackend().may_wait("orders_db") is False


def test_a_stored_connection_is_known_to_be_mapped_once_it_was_looked_up(
    backend_kwargs: dict[str, Any], server: dict[str, Any]
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    assert backend.knows_mapped("orders_db")
    assert not backend.knows_mapped("stored_db")
    server["stored_db"] = _stored()
    with presented(TOKEN):
        backend.get_connection("stored_db")
    assert backend.knows_mapped("stored_db")
    server["stored_db"] = _stored("postgres")
    backend.get_connection("stored_db")
    assert not backend.knows_mapped("stored_db")


def test_a_gateway_that_hangs_is_given_up_once_for_all_who_ask(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    server: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold = control_api.api.hold = threading.Event()
    backend = TaskgateServerSecretsBackend(**{**backend_kwargs, "timeout": 1.2})
    try:
        with presented(TOKEN):
            denied(backend)
            started = time.monotonic()
            assert "has not answered a moment ago" in denied(backend)
            assert time.monotonic() - started < 0.5
            later = time.monotonic() + 4
            monkeypatch.setattr(gateway_silence, "time", SimpleNamespace(monotonic=lambda: later))
            hold.set()
            assert backend.get_connection("orders_db") is not None
    finally:
        hold.set()


def test_nothing_of_it_is_in_a_repr_or_log(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    server: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    with presented(TOKEN):
        backend.get_connection("orders_db")
        control_api.api.refuses = "no"
        backend._handed_out.take_all()
        denied(backend)
    secrets = (
        TOKEN.text,
        control_api.api.issued[0]["password"],
        Path(backend_kwargs["api_key_file"]).read_text().strip(),
    )
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in repr(vars(backend))


def test_airflows_connection_test_is_told_what_a_connection_stands_for_and_gets_nothing_to_connect_with(
    backend_kwargs: dict[str, Any], server: dict[str, Any], control_api: ControlApiServer
) -> None:
    server["stored_db"] = SimpleNamespace(
        conn_type="governed_postgres", login="app", password="hunter22", extra=json.dumps({"target": "orders-db"})
    )
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    with describing():
        for conn_id in ("orders_db", "stored_db"):
            found = backend.get_connection(conn_id)
            assert (found.conn_type, found.extra_dejson["target"]) == ("governed_postgres", "orders-db")
            assert (found.host, found.login, found.password) == (None, None, None)
        assert backend.get_connection("other") is None
    assert control_api.api.issued == []
    with pytest.raises(AirflowSecretsBackendAccessDenied):
        backend.get_connection("orders_db")
