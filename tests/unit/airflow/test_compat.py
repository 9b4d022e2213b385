"""What is read of Airflow's inside, in the Airflow that is installed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowSecretsBackendAccessDenied, Process


def _comms(monkeypatch: pytest.MonkeyPatch, comms: object) -> None:
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)


def _trigger_comms() -> Any:
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder

    return TriggerCommsDecoder(async_writer=None, async_reader=None, socket=None)


def test_who_has_no_supervisor_to_ask_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compat.process() is Process.SERVER
    _comms(monkeypatch, None)
    assert compat.process() is Process.SERVER


def test_a_tasks_process_is_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    _comms(monkeypatch, object())
    assert compat.process() is Process.CLIENT


async def test_the_process_in_which_triggers_run_is_known_by_its_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    _comms(monkeypatch, _trigger_comms())
    assert compat.process() is Process.TRIGGER_RUNNER


def test_a_denial_stops_airflows_dispatcher() -> None:
    """From the next backend, and in the end from the stored password."""
    denial = compat.denied_on_the_api_server("Connection 'x' refused: why")
    assert isinstance(denial, AirflowSecretsBackendAccessDenied)
    assert str(denial) == "Connection 'x' refused: why"
    assert isinstance(denial, Exception) is compat.DENIAL_IS_AN_EXCEPTION


@pytest.mark.skipif(not compat.DENIAL_IS_AN_EXCEPTION, reason="Airflow 3.1: the middleware makes 403 of it")
def test_a_denial_is_403_on_the_api_server() -> None:
    from fastapi import HTTPException

    denial = compat.denied_on_the_api_server("why")
    assert isinstance(denial, HTTPException)
    assert denial.status_code == 403
    assert denial.detail == {"reason": "denied_by_taskgate", "message": "why"}


@pytest.mark.parametrize("missing", ["ti_id", "dag_id", "run_id", "task_id"])
def test_a_half_known_trigger_is_none(missing: str) -> None:
    bound = {"ti_id": "1", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3}
    with structlog.contextvars.bound_contextvars(**bound):
        assert compat.deferred_task() == compat.TaskInstanceKey("1", "d", "r", "t", 3)
    with structlog.contextvars.bound_contextvars(**{**bound, missing: None}):
        assert compat.deferred_task() is None
    assert compat.deferred_task() is None


def test_outside_an_event_loop_nothing_blocks_it() -> None:
    assert compat.in_event_loop() is False


async def test_synchronous_code_in_an_event_loop_can_only_wait_through_a_portal() -> None:
    import greenback

    assert compat.in_event_loop() is True
    with pytest.raises(RuntimeError, match="no greenback portal"):
        compat.awaited_from_sync(asyncio.sleep(0))
    await greenback.ensure_portal()
    assert compat.awaited_from_sync(asyncio.to_thread(lambda: 7)) == 7


def test_the_api_servers_paths_are_those_the_middleware_knows() -> None:
    """They are Airflow's own business: a version that moves them denies every connection."""
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    paths = {(method, route.path) for route in _routes(execution_api_router) for method in route.methods}
    assert ("GET", "/connections/{connection_id}") in paths
    assert ("PATCH", "/task-instances/{task_instance_id}/state") in paths
    assert any(method == "GET" and path.startswith("/variables/{variable_key") for method, path in paths)


def _routes(router: Any) -> list[SimpleNamespace]:
    found = []
    for route in router.routes:
        if hasattr(route, "methods") and hasattr(route, "path"):
            found.append(route)
    return found
