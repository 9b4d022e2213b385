"""Airflow's configuration as the doctor reads it, set by environment variables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from taskgate_airflow.doctor.form import SERVER_BACKEND, WORKER_BACKEND, Setup

Configure = Callable[..., Setup]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """`configure("worker" | "server" | "none", arguments, taskgate__option=…)`."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__TASKGATE__", "AIRFLOW_CONN_"))]:
        monkeypatch.delenv(name)

    def configured(form: str = "none", arguments: dict[str, Any] | None = None, **options: str) -> Setup:
        backend, kwargs, value = {
            "worker": ("WORKERS__SECRETS_BACKEND", "WORKERS__SECRETS_BACKEND_KWARGS", WORKER_BACKEND),
            "server": ("SECRETS__BACKEND", "SECRETS__BACKEND_KWARGS", SERVER_BACKEND),
            "none": ("", "", ""),
        }[form]
        if backend:
            monkeypatch.setenv(f"AIRFLOW__{backend}", value)
            monkeypatch.setenv(f"AIRFLOW__{kwargs}", json.dumps(arguments or {}))
        for name, option in options.items():
            monkeypatch.setenv(f"AIRFLOW__{name.upper()}", option)
        return Setup.of_this_airflow()

    return configured
