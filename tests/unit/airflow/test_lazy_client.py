"""What a task's process imports of ours where it never asks the gateway: not the client, which costs 0.2 s of CPU."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import airflow.sdk
import taskgate_airflow.server_secrets, taskgate_airflow.task_report, taskgate_airflow.plugin, taskgate_airflow.policies
print([name for name in ("taskgate.client", "httpx", "taskgate_airflow.hooks") if name in sys.modules])
"""


def test_the_server_forms_backend_imports_no_client() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=110)
    found = eval(done.stdout.splitlines()[-1])
    # Airflow's task SDK imports httpx by itself; what counts is ours.
    assert [name for name in found if name != "httpx"] == []
