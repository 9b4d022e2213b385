from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow.doctor import loaded as module
from taskgate_airflow.doctor.finding import Level
from taskgate_airflow.doctor.loaded import loaded
from tests.unit.airflow.doctor.conftest import Configure


@pytest.fixture
def airflow_has(monkeypatch: pytest.MonkeyPatch) -> Any:
    def has(plugin: Any = None, policies: set[str] | None = None) -> None:
        monkeypatch.setattr(module, "loaded_plugin", lambda name: plugin)
        monkeypatch.setattr(module, "loaded_policies", lambda: policies or set())

    return has


def _levels(setup: Any) -> dict[str, Level]:
    return {one.check: one.level for one in loaded(setup)}


def test_the_server_form_rests_on_the_middleware(configure: Configure, airflow_has: Any) -> None:
    setup = configure("server", taskgate__api_key_file="/key")
    airflow_has(None)
    assert _levels(setup) == {"plugin": Level.FAIL, "cluster policy": Level.OK, "triggerer": Level.OK}
    airflow_has(SimpleNamespace(fastapi_root_middlewares=[]))
    assert _levels(setup)["plugin"] is Level.FAIL
    airflow_has(SimpleNamespace(fastapi_root_middlewares=[{}]))
    assert _levels(setup)["plugin"] is Level.OK


def test_the_worker_form_only_ends_later_without_it(configure: Configure, airflow_has: Any) -> None:
    setup = configure("worker")
    airflow_has(None)
    assert _levels(setup) == {"plugin": Level.WARN, "cluster policy": Level.OK}
    airflow_has(SimpleNamespace(fastapi_root_middlewares=[]))
    assert _levels(setup)["plugin"] is Level.OK


def test_a_triggerer_without_a_key(configure: Configure, airflow_has: Any) -> None:
    airflow_has(SimpleNamespace(fastapi_root_middlewares=[{}]))
    assert _levels(configure("server"))["triggerer"] is Level.WARN


def test_the_policy_where_it_is_on(configure: Configure, airflow_has: Any) -> None:
    on = {"taskgate__enforce_policy": "True"}
    airflow_has(None)
    assert _levels(configure(**on))["cluster policy"] is Level.FAIL
    airflow_has(None, {"taskgate_airflow.policies"})
    assert _levels(configure(**on))["cluster policy"] is Level.WARN
    assert _levels(configure(**on, taskgate__governed_connections="a"))["cluster policy"] is Level.OK


def test_airflow_really_loads_the_plugin() -> None:
    from taskgate_airflow.compat.metadata import loaded_plugin, loaded_policies

    assert loaded_plugin("taskgate") is not None
    assert loaded_plugin("nobody's") is None
    assert isinstance(loaded_policies(), set)
