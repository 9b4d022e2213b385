from __future__ import annotations

import pytest

from taskgate_airflow.options import ControlApi, control_api, flag, option


def test_what_is_not_set_or_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert option("url") is None
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "")
    assert option("url") is None


@pytest.mark.parametrize(
    ("value", "expected"), [("True", True), ("on", True), (" yes ", True), ("False", False), ("", False), ("2", False)]
)
def test_flags(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__ENFORCE_POLICY", value)
    assert flag("enforce_policy") is expected


def test_the_control_api_is_the_options_or_our_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_api() is None
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"url": "https://a", "ca_file": "/ca"}')
    assert control_api() is None  # somebody else's backend
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend")
    assert control_api() == ControlApi("https://a", "/ca")
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "https://b")
    assert control_api() == ControlApi("https://b", None)


@pytest.mark.parametrize("arguments", ["", "no json", "[1]", "{}"])
def test_arguments_that_cannot_be_read_say_nothing(monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "taskgate_airflow.secrets.TaskgateSecretsBackend")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", arguments)
    assert control_api() is None
