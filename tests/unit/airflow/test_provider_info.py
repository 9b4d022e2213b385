from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import distribution
from importlib.resources import files
from typing import Any

import jsonschema

from taskgate_airflow import get_provider_info


def _modules(info: dict[str, Any]) -> list[str]:
    listed = [one for kind in ("operators", "sensors", "hooks", "triggers") for one in info[kind]]
    return [name for one in listed for name in one["python-modules"]]


def test_airflows_own_schema_accepts_it() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_package_name_is_the_distributions() -> None:
    assert get_provider_info()["package-name"] == distribution("taskgate").metadata["Name"]


def test_everything_it_names_can_be_imported() -> None:
    for name in _modules(get_provider_info()):
        assert importlib.import_module(name)
    for backend in get_provider_info()["secrets-backends"]:
        module, _, name = backend.rpartition(".")
        assert getattr(importlib.import_module(module), name)


def test_airflows_discovery_finds_it() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.providers["taskgate"].data["name"] == "Taskgate"
    assert "taskgate" in dict(manager.provider_configs)


def test_importing_the_package_imports_nothing_of_airflow() -> None:
    script = "import sys, taskgate_airflow; taskgate_airflow.get_provider_info(); print('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
