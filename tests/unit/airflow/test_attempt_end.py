from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow import attempt_end, compat
from taskgate_airflow.plugin import TaskgatePlugin
from taskgate_airflow.secrets import TaskgateSecretsBackend
from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend
from tests.e2e.control_api_stand_in import ControlApiServer


def test_what_the_task_was_issued_is_revoked(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    running_task: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    login = backend.get_connection("orders_db").login
    monkeypatch.setattr(compat, "secrets_backends", lambda: [object(), backend])
    attempt_end.before_stopping(component=None)
    attempt_end.before_stopping(component=None)
    assert control_api.api.revoked == [login]


def test_a_gateway_that_is_away_fails_no_task(
    control_api: ControlApiServer,
    backend_kwargs: dict[str, Any],
    running_task: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = TaskgateSecretsBackend(**backend_kwargs)
    backend.get_connection("orders_db")
    control_api.api.broken = [403]
    monkeypatch.setattr(compat, "secrets_backends", lambda: [backend])
    attempt_end.before_stopping(component=None)
    assert control_api.api.revoked == []


def test_in_the_server_form_a_worker_has_nothing_to_revoke(
    control_api: ControlApiServer, backend_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TaskgateServerSecretsBackend(**backend_kwargs)
    monkeypatch.setattr(compat, "secrets_backends", lambda: [backend])
    attempt_end.before_stopping(component=None)
    assert control_api.api.asked == []


def test_a_bug_of_ours_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "secrets_backends", lambda: 1 / 0)
    attempt_end.before_stopping(component=None)


def test_airflow_accepts_the_listener() -> None:
    try:
        from airflow.sdk.listener import get_listener_manager
    except ImportError:  # 3.1
        from airflow.listeners.listener import get_listener_manager

    manager = get_listener_manager()
    manager.add_listener(TaskgatePlugin.listeners[0])
    assert any(hook.plugin is attempt_end for hook in manager.hook.before_stopping.get_hookimpls())
