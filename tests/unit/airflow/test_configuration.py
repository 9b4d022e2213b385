from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgate_airflow.configuration import GatewayAccess, KeptClient, NotConfigured, task_client
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.conftest import forget_secrets_backends


@pytest.fixture(autouse=True)
def fresh_backends() -> Iterator[None]:
    forget_secrets_backends()
    yield
    forget_secrets_backends()


@pytest.fixture
def configured_backend(backend_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "taskgate_airflow.secrets.TaskgateSecretsBackend")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", json.dumps(backend_kwargs))


@pytest.mark.usefixtures("configured_backend")
def test_the_secrets_backends_address_and_key_serve_triggers_and_sensors(
    control_api: ControlApiServer, api_key_file: Path
) -> None:
    access = GatewayAccess.from_airflow()
    assert (access.url, access.api_key_file) == (control_api.url, str(api_key_file))
    with access.client() as client:
        assert client.whoami().name == "demo-airflow"


@pytest.mark.usefixtures("configured_backend")
def test_the_taskgate_section_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "https://taskgate.example")
    assert GatewayAccess.from_airflow().url == "https://taskgate.example"


def test_the_taskgate_section_is_enough(monkeypatch: pytest.MonkeyPatch, api_key_file: Path) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "https://taskgate.example")
    monkeypatch.setenv("AIRFLOW__TASKGATE__API_KEY_FILE", str(api_key_file))
    assert GatewayAccess.from_airflow() == GatewayAccess("https://taskgate.example", str(api_key_file))


def test_in_the_server_form_the_address_is_shared_and_the_key_is_not(
    backend_kwargs: dict[str, Any], api_key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer reads the same arguments as the API server, and has a key of its own."""
    backend_kwargs["api_key_file"] = "/run/secrets/the-api-servers"
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(backend_kwargs))
    with pytest.raises(NotConfigured, match="api_key_file missing"):
        GatewayAccess.from_airflow()
    monkeypatch.setenv("AIRFLOW__TASKGATE__API_KEY_FILE", str(api_key_file))
    access = GatewayAccess.from_airflow()
    assert (access.url, access.api_key_file) == (backend_kwargs["url"], str(api_key_file))


def test_a_kept_client_is_made_anew_for_another_key(control_api: ControlApiServer, api_key_file: Path) -> None:
    kept = KeptClient(GatewayAccess(control_api.url, str(api_key_file)), tries=1)
    first = kept.get()
    assert kept.get() is first
    api_key_file.write_text(control_api.api.key("rotated", kind="service"))
    assert kept.get().whoami().name == "rotated"
    api_key_file.unlink()
    with pytest.raises(NotConfigured, match="cannot read"):
        kept.get()


def test_nothing_configured_says_what_to_set() -> None:
    with pytest.raises(NotConfigured, match="url and api_key_file missing"):
        GatewayAccess.from_airflow()


def test_an_empty_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    with pytest.raises(NotConfigured, match="is empty"):
        GatewayAccess("http://127.0.0.1:1", str(tmp_path / "key")).client()


def test_a_task_needs_the_address_and_no_key(control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotConfigured, match="url missing"):
        task_client("tg_1.secret")
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", control_api.url)
    approval = control_api.api.approval()
    with task_client(control_api.api.key("tg_1", kind="task")) as client:
        assert client.attempt_approval(approval["id"]).id == approval["id"]


@pytest.mark.usefixtures("configured_backend")
def test_a_task_finds_the_address_where_its_connections_come_from(control_api: ControlApiServer) -> None:
    with task_client("tg_1.secret") as client:
        assert client.url == control_api.url


def test_one_call_of_a_feed_takes_no_longer_than_it_may(api_key_file: Path) -> None:
    slow, quick = (GatewayAccess("http://127.0.0.1:1", str(api_key_file), timeout=seconds) for seconds in (30.0, 2.0))
    assert slow.async_client(timeout=5.0)._timeout == 5.0
    assert quick.async_client(timeout=5.0)._timeout == 2.0
    assert slow.async_client()._timeout == 30.0
