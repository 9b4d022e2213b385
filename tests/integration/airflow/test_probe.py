"""Airflow's test button, in both places where Airflow runs it, against a real gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from taskgate_airflow.hooks import GovernedPostgresHook
from tests.e2e.shop import Shop

EXTRA = {"target": "orders-db", "host": None, "port": None, "sslmode": "disable", "sslrootcert": ""}


@pytest.fixture(scope="module")
def probe_key(running_shop: Shop) -> str:
    return running_shop.gateway.api_key(PrincipalKind.SERVICE, "airflow-probe", [Scope.CREDENTIALS_ISSUE])


@pytest.fixture
def key_file(running_shop: Shop, probe_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The API server's configuration. No rule of the shop's policy names the probe."""
    file = tmp_path / "probe"
    file.write_text(probe_key)
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", running_shop.gateway.url)
    monkeypatch.setenv("AIRFLOW__TASKGATE__PROBE_KEY_FILE", str(file))
    return file


def _on_the_api_server(monkeypatch: pytest.MonkeyPatch, **extra: Any) -> tuple[bool, str]:
    """As `POST /api/v2/connections/test` does it, under a random id in the environment."""
    from airflow.models.connection import Connection

    connection = Connection(conn_id="xk3d", conn_type="governed_postgres", extra=json.dumps(EXTRA | extra))
    monkeypatch.setenv("AIRFLOW_CONN_XK3D", connection.get_uri())
    found: tuple[bool, str] = connection.test_connection()
    return found


def _on_a_worker(monkeypatch: pytest.MonkeyPatch, **extra: Any) -> tuple[bool, str]:
    """As `supervise_connection_test` does it, under its own id. No worker of an Airflow before 3.3 tests connections:
    there it is the API server's test once more."""
    from airflow.sdk import Connection

    if not hasattr(Connection, "test_connection"):
        return _on_the_api_server(monkeypatch, **extra)
    connection = Connection(conn_id="orders_db", conn_type="governed_postgres", extra=json.dumps(EXTRA | extra))
    return connection.test_connection()


def test_it_goes_through_the_gateway_as_the_probe(
    running_shop: Shop, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for works, said in (_on_the_api_server(monkeypatch), _on_a_worker(monkeypatch)):
        assert works, said
        assert said.startswith("Through Taskgate at 127.0.0.1:")
        assert " to target orders-db as airflow-probe, session ses_" in said
        with running_shop.client() as client:
            session = client.session(said.rsplit(" ", 1)[1])
        assert (session.principal.kind, session.principal.name) == ("service", "airflow-probe")


def test_a_connection_that_is_mapped_is_tested_all_the_same(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secrets backend of ours refuses it, since no task asks: it is not asked."""
    monkeypatch.setattr(GovernedPostgresHook, "get_connection", lambda *_: pytest.fail("a backend was asked"))
    assert _on_a_worker(monkeypatch)[0]
    assert _on_the_api_server(monkeypatch)[0]


def test_the_probe_reads_nothing(running_shop: Shop, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskgate.client import Client

    with Client(running_shop.gateway.url, key_file.read_text()) as client:
        dsn = client.issue_credential("orders-db", ttl=60).dsn.get_secret_value()
    import psycopg

    with (
        psycopg.connect(dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="no rule allows"),
    ):
        connection.execute("SELECT * FROM customers")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"target": "no-such"}, "did not issue a credential for target no-such"),
        ({"target": ""}, "it names no target"),
        ({"port": 1}, "issued a credential, but through 127.0.0.1:1: "),
        ({"sslmode": "verify-full"}, "issued a credential, but through 127.0.0.1:"),
    ],
)
def test_what_does_not_work_is_said(
    key_file: Path, probe_key: str, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], said: str
) -> None:
    works, message = _on_the_api_server(monkeypatch, **extra)
    assert not works
    assert said in message
    assert probe_key not in message


def test_without_configuration_it_says_what_to_set(
    key_file: Path, probe_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file.write_text("tgk_wrong\n")
    works, message = _on_a_worker(monkeypatch)
    assert not works
    assert "tgk_wrong" not in message
    key_file.unlink()
    assert "cannot read Taskgate's API key" in _on_a_worker(monkeypatch)[1]
    monkeypatch.setenv("AIRFLOW__TASKGATE__PROBE_KEY_FILE", "")
    assert "[taskgate] probe_key_file" in _on_a_worker(monkeypatch)[1]
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "")
    assert "[taskgate] url" in _on_a_worker(monkeypatch)[1]


def test_a_credential_that_was_handed_out_is_not_tested(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hook in a task: its connection is the gateway's already."""
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", "postgres://tg_x:secret@127.0.0.1:1/orders-db")
    works, message = GovernedPostgresHook(postgres_conn_id="orders_db").test_connection()
    assert not works
    assert "only a connection of type governed_postgres" in message
    assert "secret" not in message


def test_the_probes_credential_ends_with_the_test_where_it_may_revoke(
    running_shop: Shop, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file.write_text(
        running_shop.gateway.api_key(
            PrincipalKind.SERVICE, "revoking-probe", [Scope.CREDENTIALS_ISSUE, Scope.CREDENTIALS_REVOKE]
        )
    )
    assert _on_a_worker(monkeypatch)[0]
    with running_shop.client() as client:
        credentials = [one for one in client.credentials() if one.principal.name == "revoking-probe"]
    assert len(credentials) == 1
    assert credentials[0].revoked_at is not None
