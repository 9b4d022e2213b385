"""Airflow's connections: made, and asked for past our own backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow.sdk.log import mask_secret

from taskgate_airflow.compat.configuration import server_secrets_backends
from taskgate_airflow.compat.denials import AirflowSecretsBackendAccessDenied
from taskgate_airflow.rewriting import ConnectionFields


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


def connection_under_test(conn_id: str) -> Any:
    """The connection that Airflow's test button is about, as typed into the form: from the place where a worker's test
    puts it, else from the environment, where an API server's does. Asks no other secrets backend: one of ours would
    refuse it, since no task asks."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    try:
        from airflow.sdk.execution_time.context import _preset_connections
    except ImportError:  # before 3.3, where only the API server tests
        preset = None
    else:
        preset = (_preset_connections.get() or {}).get(conn_id)
    return preset if preset is not None else EnvironmentVariablesBackend().get_connection(conn_id)
