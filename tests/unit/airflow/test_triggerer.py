"""Airflow's own trigger runner: from where in a trigger the task that waits can be told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from taskgate_airflow import compat
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.conftest import forget_secrets_backends

if not compat.TRIGGERS_SAY_WHOSE_THEY_ARE:
    pytest.skip("this Airflow's triggerer does not say which task waits", allow_module_level=True)

ATTEMPTS = [f"0197c0de-0000-7000-8000-00000000000{number}" for number in (1, 2)]


class _Asking(BaseTrigger):
    def __init__(self, ask: Callable[[], Any], attempt: str) -> None:
        super().__init__()
        self._ask = ask
        self.task_instance = SimpleNamespace(
            id=attempt,
            dag_id="orders_cleanup",
            run_id="manual__1",
            task_id="wait",
            try_number=1,
            map_index=-1,
            context_carrier=None,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "x", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            yield TriggerEvent((await self._ask()).login)
        except compat.AirflowSecretsBackendAccessDenied as denied:
            yield TriggerEvent(str(denied))


@pytest.fixture(autouse=True)
def configured(backend_kwargs: dict[str, Any], api_key_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(backend_kwargs))
    monkeypatch.setenv("AIRFLOW__TASKGATE__API_KEY_FILE", str(api_key_file))
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", "postgresql://app:stored-password@db.internal/shop")
    comms = TriggerCommsDecoder(async_writer=None, async_reader=None, socket=None)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    forget_secrets_backends()
    yield
    forget_secrets_backends()


async def _ran(*triggers: BaseTrigger) -> list[Any]:
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    runner = TriggerRunner()
    for number, _ in enumerate(triggers):
        runner.triggers[number] = {"name": f"t{number}", "events": 0, "task": None, "is_watcher": False}
    running = [asyncio.create_task(runner.run_trigger(number, one)) for number, one in enumerate(triggers)]
    await asyncio.gather(*running)
    return [(entry.event if hasattr(entry, "event") else entry[1]).payload for entry in runner.events]


async def _async_hook() -> Any:
    from airflow.sdk import BaseHook

    return await BaseHook.aget_connection("orders_db")


async def _sync_hook_in_the_loop() -> Any:
    from airflow.sdk import BaseHook

    return BaseHook.get_connection("orders_db")


async def _sync_to_async() -> Any:
    from airflow.sdk import BaseHook
    from asgiref.sync import sync_to_async

    return await sync_to_async(BaseHook.get_connection)("orders_db")


async def _thread() -> Any:
    from airflow.sdk import BaseHook

    return await asyncio.to_thread(BaseHook.get_connection, "orders_db")


async def _bare_executor() -> Any:
    from airflow.sdk import BaseHook

    return await asyncio.get_running_loop().run_in_executor(None, BaseHook.get_connection, "orders_db")


@pytest.mark.parametrize("ask", [_async_hook, _sync_hook_in_the_loop, _sync_to_async, _thread])
async def test_a_trigger_is_told_from_its_neighbours(control_api: ControlApiServer, ask: Callable[[], Any]) -> None:
    logins = await _ran(*(_Asking(ask, attempt) for attempt in ATTEMPTS))
    issued = {one["principal"]["attempt"]["id"]: one["user"] for one in control_api.api.issued}
    assert set(issued) == set(ATTEMPTS)
    assert sorted(logins) == sorted(issued.values())
    assert {body["principal"]["kind"] for _, _, body in control_api.api.asked} == {"airflow_deferred_task"}


async def test_a_thread_without_the_triggers_context_is_denied(control_api: ControlApiServer) -> None:
    """And not given the connection in the triggerer's environment."""
    (said,) = await _ran(_Asking(_bare_executor, ATTEMPTS[0]))
    assert "only handed to a trigger that a task waits for" in said
    assert control_api.api.asked == []


async def test_a_synchronous_call_leaves_the_other_triggers_running(control_api: ControlApiServer) -> None:
    import threading

    control_api.api.hold = threading.Event()
    waiting = asyncio.create_task(_ran(_Asking(_sync_hook_in_the_loop, ATTEMPTS[0])))
    for _ in range(200):
        await asyncio.sleep(0.01)
        if control_api.api.at_once:
            break
    assert control_api.api.at_once == 1
    control_api.api.hold.set()
    assert await asyncio.wait_for(waiting, 10) == [control_api.api.issued[0]["user"]]


async def test_without_a_portal_it_is_denied_rather_than_blocking(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_DISABLE_GREENBACK_PORTAL", "true")
    (said,) = await _ran(_Asking(_sync_hook_in_the_loop, ATTEMPTS[0]))
    assert "use aget_connection" in said
    assert control_api.api.asked == []
