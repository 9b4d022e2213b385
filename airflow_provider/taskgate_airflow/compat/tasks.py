"""Which task instance runs, or waits, here."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from taskgate.domain import AttributeValue


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
