"""Airflow reads its home and configuration at import: both are set to a throw-away place before anything imports it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.control_api_stand_in import ControlApi, ControlApiServer

_HOME = tempfile.mkdtemp(prefix="taskgate-airflow-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.setdefault("AIRFLOW_HOME", _HOME)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO")


def airflow_exception(name: str) -> Any:
    """An exception of Airflow's, wherever this version keeps it."""
    import airflow.exceptions
    import airflow.sdk.exceptions

    return getattr(airflow.sdk.exceptions, name, None) or getattr(airflow.exceptions, name)


def forget_secrets_backends() -> None:
    """Airflow keeps what it has made of its configuration, from 3.3 on."""
    try:
        from airflow.sdk.configuration import clear_secrets_backends_cache
    except ImportError:
        return
    clear_secrets_backends_cache()


def a_collector() -> Any:
    """A hook lineage collector of this Airflow's; the test is skipped where that knows nothing but assets (3.1)."""
    found = pytest.importorskip("airflow.sdk.lineage", reason="this Airflow's lineage knows nothing but assets")
    return found.HookLineageCollector()


@pytest.fixture
def control_api() -> Iterator[ControlApiServer]:
    with ControlApiServer(ControlApi()) as server:
        yield server


@pytest.fixture
def api_key_file(control_api: ControlApiServer, tmp_path: Path) -> Path:
    file = tmp_path / "service-key"
    file.write_text(control_api.api.key("demo-airflow", kind="service", groups=()) + "\n")
    return file


@pytest.fixture
def backend_kwargs(control_api: ControlApiServer, api_key_file: Path) -> dict[str, Any]:
    return {
        "url": control_api.url,
        "api_key_file": str(api_key_file),
        "source": "demo-airflow",
        "connections": {"orders_db": "orders-db"},
    }


@pytest.fixture
def running_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The process runs this task instance, as far as `get_current_context` and the provider can tell."""
    from airflow.sdk.definitions._internal import contextmanager

    instance = SimpleNamespace(
        id="0197c0de-0000-7000-8000-000000000001",
        dag_id="orders_cleanup",
        run_id="manual__2026-11-23",
        task_id="delete_old_orders",
        map_index=-1,
        try_number=2,
        bundle_instance=SimpleNamespace(name="etl", version="4f2c"),
    )
    context = {
        "ti": instance,
        "dag_run": SimpleNamespace(run_type=SimpleNamespace(value="manual"), triggering_user_name="alice"),
        "task": SimpleNamespace(owner="data-team"),
        "dag": SimpleNamespace(tags={"demo", "orders"}),
    }
    contextmanager._CURRENT_CONTEXT.append(context)
    yield instance
    contextmanager._CURRENT_CONTEXT.remove(context)
