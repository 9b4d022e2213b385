"""What examples/airflow configures is what the code takes. The DAG itself runs in tests/e2e."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from taskgate.demo.forms import SOURCE
from taskgate.settings import Settings
from taskgate_airflow.secrets import TaskgateSecretsBackend
from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend

EXAMPLE = Path(__file__).parents[3] / "examples" / "airflow"


@pytest.fixture(scope="module")
def airflow_env() -> dict[str, str]:
    return _environment("airflow.env")


def _environment(name: str) -> dict[str, str]:
    lines = [line for line in (EXAMPLE / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_gateway_takes_its_settings() -> None:
    settings = Settings.load(EXAMPLE / "taskgate.yaml")
    assert [target.name for target in settings.targets] == ["orders-db"]
    assert settings.policy == [EXAMPLE / "policy.yaml"]


def test_the_secrets_backend_takes_its_arguments(airflow_env: dict[str, str]) -> None:
    assert airflow_env["AIRFLOW__WORKERS__SECRETS_BACKEND"].endswith(TaskgateSecretsBackend.__name__)
    backend = TaskgateSecretsBackend(**json.loads(airflow_env["AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"]))
    assert backend._problem is None
    settings = Settings.load(EXAMPLE / "taskgate.yaml")
    assert backend.access is not None
    assert backend.access.url == f"http://127.0.0.1:{settings.api.port}"
    assert [one.target for one in backend._connections.values()] == [settings.targets[0].name]


def test_the_gateway_takes_the_server_forms_settings() -> None:
    settings = Settings.load(EXAMPLE / "verified" / "taskgate.yaml")
    assert settings.policy == [EXAMPLE / "verified" / "policy.yaml"]
    (airflow,) = settings.airflow
    assert airflow.source == SOURCE
    assert airflow.issuer == _environment("verified/airflow.env")["AIRFLOW__API_AUTH__JWT_ISSUER"]
    worker_form = Settings.load(EXAMPLE / "taskgate.yaml")
    assert settings.targets[0].model_dump(exclude={"secret", "catalog_secret"}) == worker_form.targets[0].model_dump(
        exclude={"secret", "catalog_secret"}
    )


def test_the_server_forms_backend_takes_its_arguments_and_no_key_is_every_components() -> None:
    environment = _environment("verified/airflow.env")
    assert environment["AIRFLOW__SECRETS__BACKEND"].endswith(TaskgateServerSecretsBackend.__name__)
    backend = TaskgateServerSecretsBackend(**json.loads(environment["AIRFLOW__SECRETS__BACKEND_KWARGS"]))
    assert backend._problem is None
    assert [one.target for one in backend._connections.values()] == ["orders-db"]
    assert not any("KEY" in name for name in environment)


def test_the_two_policies_differ_in_assurance_alone() -> None:
    worker_form = yaml.safe_load((EXAMPLE / "policy.yaml").read_text())
    server_form = yaml.safe_load((EXAMPLE / "verified" / "policy.yaml").read_text())
    assert "assurance" not in json.dumps(server_form)
    dropped = [
        rule["match"]["principals"].pop("assurance") for rule in worker_form["rules"] if "principals" in rule["match"]
    ]
    assert dropped == ["asserted", "asserted"]
    assert worker_form == server_form


@pytest.mark.parametrize("policy", ["policy.yaml", "verified/policy.yaml"])
def test_the_policys_own_tests_pass(policy: str) -> None:
    for command in ("check", "test"):
        done = subprocess.run(
            [sys.executable, "-m", "taskgate.cli", "policy", command, str(EXAMPLE / policy)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_names_what_is_there() -> None:
    named = re.findall(r"`([\w./]+\.(?:py|yaml|env))`", (EXAMPLE / "README.md").read_text())
    assert named
    for name in named:
        assert (EXAMPLE / name).is_file(), name
