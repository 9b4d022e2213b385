"""What examples/airflow configures is what the code takes. The DAG itself runs in tests/e2e."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskgate.settings import Settings
from taskgate_airflow.secrets import TaskgateSecretsBackend

EXAMPLE = Path(__file__).parents[3] / "examples" / "airflow"


@pytest.fixture(scope="module")
def airflow_env() -> dict[str, str]:
    lines = [line for line in (EXAMPLE / "airflow.env").read_text().splitlines() if line and not line.startswith("#")]
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


def test_the_policys_own_tests_pass() -> None:
    for command in ("check", "test"):
        done = subprocess.run(
            [sys.executable, "-m", "taskgate.cli", "policy", command, str(EXAMPLE / "policy.yaml")],
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
