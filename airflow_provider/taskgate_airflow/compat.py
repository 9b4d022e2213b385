"""Everything of Airflow that is not its public interface, in one place: what a new Airflow version may break.

Written for Airflow 3.3 (task SDK 1.3). `AirflowSecretsBackendAccessDenied` is the only exception that stops Airflow
from trying the next secrets backend; the context list is what `get_current_context` reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.configuration import conf
from airflow.sdk.definitions._internal.contextmanager import _CURRENT_CONTEXT
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSecretsBackendAccessDenied,
    TaskDeferralTimeout,
)
from airflow.sdk.log import mask_secret

from taskgate.client.models import AttributeValue

__all__ = [
    "AirflowFailException",
    "AirflowSecretsBackendAccessDenied",
    "BaseSecretsBackend",
    "CurrentTask",
    "TaskDeferralTimeout",
    "configured",
    "connection_under_test",
    "current_task",
    "hook_lineage_collector",
    "mask_secret",
    "secrets_backends",
    "sql_decorated_operator",
]


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
    if not _CURRENT_CONTEXT:
        return None
    context: Any = _CURRENT_CONTEXT[-1]
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


def configured(section: str, option: str) -> str | None:
    """An option of airflow.cfg or its environment variable; None where it is not set or empty."""
    value = conf.get(section, option, fallback=None)
    return str(value) if value else None


def secrets_backends() -> list[Any]:
    """The secrets backends of this process in the order Airflow asks them (cached by Airflow)."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return list(ensure_secrets_backend_loaded())


def hook_lineage_collector() -> Any:
    """Where this process's hooks report what they touched. Collects nothing unless some plugin reads it."""
    from airflow.sdk.lineage import get_hook_lineage_collector

    return get_hook_lineage_collector()


def sql_decorated_operator() -> type:
    """What `@task.sql` makes of a function: its class is private to the provider."""
    from airflow.providers.common.sql.decorators.sql import _SQLDecoratedOperator

    found: type = _SQLDecoratedOperator
    return found


def connection_under_test(conn_id: str) -> Any:
    """The connection that Airflow's test button is about, as typed into the form: from the place where a worker's test
    puts it, else from the environment, where an API server's does. Asks no other secrets backend: one of ours would
    refuse it, since no task asks."""
    from airflow.sdk.execution_time.context import _preset_connections
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    preset = (_preset_connections.get() or {}).get(conn_id)
    return preset if preset is not None else EnvironmentVariablesBackend().get_connection(conn_id)
