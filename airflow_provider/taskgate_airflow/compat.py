"""Everything of Airflow that is not its public interface, in one place: what a new Airflow version may break.

Written for Airflow 3.3 (task SDK 1.3); 3.1 and 3.2 as far as they go (docs/airflow.md has the table). Secrets backends
are imported in the middle of Airflow's own import of its configuration: what is imported at the top must bear that.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cache
from typing import Any, NoReturn, TypeVar
from uuid import UUID

try:
    from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
except ImportError:  # 3.1
    from airflow.secrets.base_secrets import BaseSecretsBackend  # type: ignore[assignment]

try:
    from airflow.sdk.exceptions import AirflowFailException, TaskDeferralTimeout
except ImportError:  # 3.1
    from airflow.exceptions import AirflowFailException, TaskDeferralTimeout  # type: ignore[no-redef]

try:
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

    DENIAL_IS_AN_EXCEPTION = True
except ImportError:  # before task SDK 1.2.2

    class AirflowSecretsBackendAccessDenied(BaseException):  # type: ignore[no-redef]
        """Airflow's dispatcher catches every Exception here, and asks the next backend, in the end its own database
        with the real password. What is no Exception ends the task instead, as TaskDeferred does."""

    DENIAL_IS_AN_EXCEPTION = False

from airflow.sdk.log import mask_secret
from airflow.version import version as airflow_version

from taskgate.domain import AttributeValue
from taskgate_airflow.rewriting import ConnectionFields

__all__ = [
    "DENIAL_IS_AN_EXCEPTION",
    "TRIGGERS_SAY_WHOSE_THEY_ARE",
    "AirflowFailException",
    "AirflowSecretsBackendAccessDenied",
    "BaseSecretsBackend",
    "CurrentTask",
    "Process",
    "TaskDeferralTimeout",
    "TaskInstanceKey",
    "aconnection_of_the_api_server",
    "as_connection",
    "avariable_of_the_api_server",
    "awaited_from_sync",
    "can_park",
    "configured",
    "connection_of_the_api_server",
    "connection_under_test",
    "current_task",
    "deferred_task",
    "denied_on_the_api_server",
    "description",
    "hook_lineage_collector",
    "in_event_loop",
    "mask_secret",
    "next_connection",
    "park",
    "process",
    "secrets_backends",
    "server_secrets_backends",
    "sql_decorated_operator",
    "task_instance_key",
    "variable_of_the_api_server",
]

Result = TypeVar("Result")

TRIGGERS_SAY_WHOSE_THEY_ARE = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 2)
"""Whether a triggerer says in a trigger's context which task instance waits for it."""


class Process(Enum):
    """What asks for a connection, as far as it matters who may answer."""

    CLIENT = "a process that asks the API server: a task's, or one that parses DAGs"
    TRIGGER_RUNNER = "the triggerer's, in which triggers run"
    SERVER = "API server, scheduler, the supervisors of DAG processor and triggerer, command line, anything unknown"


def process() -> Process:
    """Which of them this is. Only who has a supervisor to ask is a client; the unknown is a server, which denies."""
    comms = getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)
    if comms is None:
        return Process.SERVER
    decoder = getattr(sys.modules.get("airflow.jobs.triggerer_job_runner"), "TriggerCommsDecoder", None)
    return Process.TRIGGER_RUNNER if decoder is not None and isinstance(comms, decoder) else Process.CLIENT


# --- who runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskInstanceKey:
    """Which task instance, as Airflow's REST API addresses it. `id` is its uuid, new for every try, kept across
    deferral."""

    id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class CurrentTask:
    """The task instance this process runs right now. `id` is its uuid, new for every try, kept across deferral.

    `attributes` holds what Airflow says of the run and the task: `run_type`, `triggering_user`, `bundle`,
    `bundle_version` are Airflow's own; `owner` and `tags` were chosen by the DAG's author."""

    id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    attributes: dict[str, AttributeValue] = field(default_factory=dict)


def current_task() -> CurrentTask | None:
    """The running task instance, or None outside a task's execution (parsing, callbacks, the triggerer, servers).

    A context without an id, DAG, run and task is no task: None too, never a half-known identity."""
    contexts = getattr(sys.modules.get("airflow.sdk.definitions._internal.contextmanager"), "_CURRENT_CONTEXT", None)
    if not contexts:
        return None
    context: Any = contexts[-1]
    instance = context.get("ti")
    identity = [getattr(instance, name, None) for name in ("id", "dag_id", "run_id", "task_id")]
    if not all(identity):
        return None
    map_index = getattr(instance, "map_index", None)
    return CurrentTask(
        id=str(identity[0]),
        dag_id=str(identity[1]),
        run_id=str(identity[2]),
        task_id=str(identity[3]),
        map_index=-1 if map_index is None else int(map_index),
        try_number=max(int(getattr(instance, "try_number", None) or 1), 1),
        attributes=_attributes(context, instance),
    )


def _attributes(context: Any, instance: Any) -> dict[str, AttributeValue]:
    run = context.get("dag_run")
    run_type = getattr(run, "run_type", None)
    bundle = getattr(instance, "bundle_instance", None)
    found = {
        "run_type": getattr(run_type, "value", run_type),
        "triggering_user": getattr(run, "triggering_user_name", None),
        "bundle": getattr(bundle, "name", None),
        "bundle_version": getattr(bundle, "version", None),
        "owner": getattr(context.get("task"), "owner", None),
    }
    attributes: dict[str, AttributeValue] = {name: str(value) for name, value in found.items() if value}
    if tags := getattr(context.get("dag"), "tags", None):
        attributes["tags"] = tuple(sorted(str(tag) for tag in tags))
    return attributes


def deferred_task() -> TaskInstanceKey | None:
    """The task instance whose trigger asks, in the triggerer; None where the triggerer does not say (a trigger that no
    task waits for, a thread without the trigger's context, Airflow 3.1)."""
    import structlog

    bound = structlog.contextvars.get_contextvars()
    identity = [bound.get(name) for name in ("ti_id", "dag_id", "run_id", "task_id")]
    if not all(identity):
        return None
    map_index = bound.get("map_index")
    ti_id, dag_id, run_id, task_id = (str(one) for one in identity)
    return TaskInstanceKey(ti_id, dag_id, run_id, task_id, -1 if map_index is None else int(map_index))


def task_instance_key(ti_id: str) -> TaskInstanceKey | None:
    """The task instance of that uuid in Airflow's own database (server processes only); None for one that does not
    exist, or no longer: a try that was superseded has another uuid."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    try:
        wanted: Any = UUID(ti_id)
    except ValueError:
        return None
    if TaskInstance.id.type.python_type is str:  # 3.1
        wanted = str(wanted)
    columns = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    with create_session() as session:
        row = session.execute(select(*columns).where(TaskInstance.id == wanted)).one_or_none()
    return None if row is None else TaskInstanceKey(ti_id, row[0], row[1], row[2], int(row[3]))


# --- configuration ----------------------------------------------------------------------------------------------------


def configured(section: str, option: str) -> str | None:
    """An option of airflow.cfg or its environment variable; None where it is not set or empty."""
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # 3.1
        from airflow.configuration import conf
    value = conf.get(section, option, fallback=None)
    return str(value) if value else None


def secrets_backends() -> list[Any]:
    """The secrets backends of this process in the order Airflow asks them (cached by Airflow)."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return list(ensure_secrets_backend_loaded())


def server_secrets_backends() -> list[Any]:
    """Those that a server asks, `[secrets] backend` first (cached by Airflow)."""
    from airflow.configuration import ensure_secrets_loaded

    return list(ensure_secrets_loaded())


# --- connections ------------------------------------------------------------------------------------------------------


def as_connection(backend: Any, conn_id: str, fields: ConnectionFields) -> Any:
    """One of Airflow's connections, of the class that this process wants of `backend`: a server's or the task SDK's.
    Its password is masked in logs from here on."""
    mask_secret(fields.password)
    wanted = getattr(backend, "_get_connection_class", _server_connection)()  # 3.1 has none
    return wanted(
        conn_id=conn_id,
        conn_type=fields.conn_type,
        host=fields.host,
        port=fields.port,
        login=fields.login,
        password=fields.password,
        schema=fields.schema,
        extra=json.dumps(dict(fields.extra)) if fields.extra else None,
    )


def description(backend: Any, conn_id: str, conn_type: str, extra: Mapping[str, Any]) -> Any:
    """One of Airflow's connections that says what it stands for and holds nothing to connect with."""
    wanted = getattr(backend, "_get_connection_class", _server_connection)()
    return wanted(conn_id=conn_id, conn_type=conn_type, extra=json.dumps(dict(extra)))


def _server_connection() -> Any:
    from airflow.models.connection import Connection

    return Connection


def next_connection(after: Any, conn_id: str, team_name: str | None) -> Any:
    """What a server would answer were `after` not there: from its environment or its database. None for neither."""
    for backend in server_secrets_backends():
        if type(backend) is type(after):
            continue
        asked: dict[str, Any] = {"conn_id": conn_id}
        if team_name is not None:
            asked["team_name"] = team_name
        if (found := backend.get_connection(**asked)) is not None:
            return found
    return None


def connection_of_the_api_server(conn_id: str) -> Any:
    """What the API server answers this client process; None where it refuses, knows none or cannot be asked."""
    with suppress(AirflowSecretsBackendAccessDenied):
        return _execution_api().get_connection(conn_id)
    return None


async def aconnection_of_the_api_server(conn_id: str) -> Any:
    """The same from an event loop."""
    with suppress(AirflowSecretsBackendAccessDenied):
        return await _execution_api().aget_connection(conn_id)
    return None


def variable_of_the_api_server(key: str) -> str | None:
    """A variable, as the API server answers this client process; None where it does not."""
    with suppress(AirflowSecretsBackendAccessDenied):
        value: str | None = _execution_api().get_variable(key)
        return value
    return None


async def avariable_of_the_api_server(key: str) -> str | None:
    """The same from an event loop."""
    with suppress(AirflowSecretsBackendAccessDenied):
        value: str | None = await _execution_api().aget_variable(key)
        return value
    return None


def _execution_api() -> Any:
    from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend

    return ExecutionAPISecretsBackend()


def denied_on_the_api_server(message: str) -> BaseException:
    """A denial that the API server makes 403 of. A plain one would be 500, which workers ask again for 15 seconds."""
    if not DENIAL_IS_AN_EXCEPTION:
        return AirflowSecretsBackendAccessDenied(message)  # made 403 by TaskTokenMiddleware
    denial: BaseException = _http_denial()(message)
    return denial


@cache
def _http_denial() -> Any:
    from fastapi import HTTPException  # a server has it; a worker need not

    class ConnectionDenied(AirflowSecretsBackendAccessDenied, HTTPException):
        def __init__(self, message: str) -> None:
            HTTPException.__init__(self, 403, detail={"reason": "denied_by_taskgate", "message": message})
            self.message = message

        def __str__(self) -> str:
            return self.message

    return ConnectionDenied


def in_event_loop() -> bool:
    """Whether this is called, synchronously, from code that runs in an event loop: to block is to block all of it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def awaited_from_sync(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs `work` for synchronous code in a trigger's event loop, where the other triggers go on meanwhile. Raises
    RuntimeError where the triggerer gave it no way to (AIRFLOW_DISABLE_GREENBACK_PORTAL)."""
    import greenback

    if not greenback.has_portal():
        work.close()
        raise RuntimeError("no greenback portal")
    result: Result = greenback.await_(work)
    return result


# --- hooks and operators ----------------------------------------------------------------------------------------------


def hook_lineage_collector() -> Any:
    """Where this process's hooks report what they touched. Collects nothing unless some plugin reads it."""
    from airflow.sdk.lineage import get_hook_lineage_collector

    return get_hook_lineage_collector()


def sql_decorated_operator() -> type:
    """What `@task.sql` makes of a function: its class is private to the provider."""
    from airflow.providers.common.sql.decorators.sql import _SQLDecoratedOperator

    found: type = _SQLDecoratedOperator
    return found


# --- waiting for humans -----------------------------------------------------------------------------------------------


def can_park() -> bool:
    """Whether a task can wait on Airflow's own page without a trigger: since 3.3."""
    from airflow.sdk import exceptions

    return hasattr(exceptions, "TaskAwaitingInput")


def park(
    instance_id: Any, subject: str, body: str, options: Sequence[str], *, method_name: str, kwargs: dict[str, Any],
    timeout: timedelta | None,
) -> NoReturn:  # fmt: skip
    """Ask on Airflow's own page and wait there, in the state awaiting_input: no trigger, no worker, no pool slot.
    Raises what makes the task wait."""
    from airflow.sdk.exceptions import TaskAwaitingInput
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    # Without `params` the row is refused (422), although the function says that they may be left out.
    upsert_hitl_detail(ti_id=instance_id, options=list(options), subject=subject, body=body, params={})
    raise TaskAwaitingInput(method_name=method_name, kwargs=kwargs, timeout=timeout)


def connection_under_test(conn_id: str) -> Any:
    """The connection that Airflow's test button is about, as typed into the form: from the place where a worker's test
    puts it, else from the environment, where an API server's does. Asks no other secrets backend: one of ours would
    refuse it, since no task asks."""
    from airflow.sdk.execution_time.context import _preset_connections
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    preset = (_preset_connections.get() or {}).get(conn_id)
    return preset if preset is not None else EnvironmentVariablesBackend().get_connection(conn_id)
