from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = """
import sys, time, airflow.plugins_manager
started = time.process_time()
from taskgate_airflow.plugin import TaskgatePlugin
TaskgatePlugin.on_load()
took = time.process_time() - started
import json
print(json.dumps({"took": took, "middlewares": [one["middleware"].__name__ for one in
    TaskgatePlugin.fastapi_root_middlewares], "loaded": [name for name in sys.modules if name.startswith("taskgate")]}))
"""


def _loaded(tmp_path: Path, **environment: str) -> dict[str, Any]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**own, "AIRFLOW_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_where_nothing_is_configured_it_adds_nothing_and_costs_nothing(tmp_path: Path) -> None:
    answer = _loaded(tmp_path)
    assert answer["middlewares"] == []
    assert not {"taskgate_airflow.compat", "taskgate.client"} & set(answer["loaded"])
    assert answer["took"] < 0.05


def test_where_another_secrets_backend_is_configured_it_adds_nothing(tmp_path: Path) -> None:
    other = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    assert _loaded(tmp_path, AIRFLOW__SECRETS__BACKEND=other)["middlewares"] == []


def test_where_ours_is_it_adds_the_middleware(tmp_path: Path) -> None:
    ours = "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend"
    assert _loaded(tmp_path, AIRFLOW__SECRETS__BACKEND=ours)["middlewares"] == ["ApiServerMiddleware"]


def test_what_it_shows_is_extended_in_every_airflow(tmp_path: Path) -> None:
    ours = "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend"
    shows = {"AIRFLOW__TASKGATE__URL": "http://127.0.0.1:1", "AIRFLOW__TASKGATE__DASHBOARD_URL": "http://127.0.0.1:2"}
    answer = _loaded(tmp_path, AIRFLOW__SECRETS__BACKEND=ours, **shows)
    assert answer["middlewares"] == ["ApiServerMiddleware"]


@pytest.mark.parametrize("module", ["doctor.__main__", "secrets", "hooks"])
def test_whatever_is_imported_first_airflow_can_load_our_backend(tmp_path: Path, module: str) -> None:
    """Airflow imports the secrets backend while it is being imported itself, perhaps by us."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    backend = {
        "AIRFLOW__SECRETS__BACKEND": "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"url": "http://127.0.0.1:1", "source": "prod"}),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import taskgate_airflow.{module}"],
        env={**own, "AIRFLOW_HOME": str(tmp_path), **backend},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_name_it_looks_for_is_the_classs() -> None:
    from taskgate_airflow.plugin import SERVER_BACKEND
    from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend

    assert f"{TaskgateServerSecretsBackend.__module__}.{TaskgateServerSecretsBackend.__name__}" == SERVER_BACKEND


@pytest.mark.parametrize("module", ["taskgate_airflow.server_secrets", "taskgate_airflow.secrets"])
def test_a_secrets_backend_adds_less_than_half_a_second_to_an_import_of_airflow(module: str) -> None:
    """Every process that parses a DAG imports it."""
    before = "import time, airflow.sdk.log, airflow.secrets.base_secrets; started = time.process_time()"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}; import {module}; print(time.process_time() - started)"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert float(done.stdout.splitlines()[-1]) < 0.5
