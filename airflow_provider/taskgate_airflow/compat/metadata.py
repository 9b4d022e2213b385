"""The part of `compat` that reads Airflow's own database and plugins: for the command line, never for a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredConnection:
    """A row of Airflow's `connection` table, without anything secret: which fields hold something. `extra`: its keys;
    None where it cannot be read (another Fernet key)."""

    conn_id: str
    conn_type: str
    login: bool
    password: bool
    extra: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """A task of a DAG as Airflow last stored it. `connections`: what its parameters of those names hold."""

    dag_id: str
    task_id: str
    task_type: str
    retries: int
    connections: frozenset[str]


def stored_connections() -> list[StoredConnection]:
    """Every connection in Airflow's database. Raises whatever the database does where it cannot be reached."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    _must_exist()
    with create_session() as session:
        return [
            StoredConnection(
                str(row.conn_id), str(row.conn_type or ""), bool(row.login), bool(row._password), _keys(row)
            )
            for row in session.scalars(select(Connection).order_by(Connection.conn_id))
        ]


def _must_exist() -> None:
    """SQLite makes the file that it does not find. Raises FileNotFoundError."""
    from airflow.configuration import conf
    from sqlalchemy.engine import make_url

    url = make_url(conf.get_mandatory_value("database", "sql_alchemy_conn"))
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise FileNotFoundError(url.database)


def _keys(row: Any) -> frozenset[str] | None:
    if not row._extra:
        return frozenset()
    try:
        return frozenset(row.extra_dejson)
    except Exception:  # noqa: BLE001  whatever cannot be decrypted is still there
        return None


def scheduled_tasks(connection_parameters: Iterable[str]) -> Iterator[ScheduledTask]:
    """Every task of every DAG that is not stale. Raises whatever the database does where it cannot be reached."""
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    _must_exist()
    names = tuple(connection_parameters)
    with create_session() as session:
        current = set(session.scalars(select(DagModel.dag_id).where(DagModel.is_stale.is_(False))))
        dags = SerializedDagModel.read_all_dags(session=session)
    for dag_id in sorted(current & set(dags)):
        for task in dags[dag_id].tasks:
            partial = getattr(task, "partial_kwargs", None) or {}
            values = [partial.get(name, getattr(task, name, None)) for name in names]
            yield ScheduledTask(
                dag_id,
                str(task.task_id),
                str(task.task_type),
                int(task.retries or 0),
                frozenset(value for value in values if isinstance(value, str)),
            )


def loaded_plugin(name: str) -> Any:
    """The plugin of that name as this Airflow loads it; None where it loads none."""
    from airflow import plugins_manager

    if hasattr(plugins_manager, "_get_plugins"):
        plugins, _ = plugins_manager._get_plugins()
    else:  # 3.1
        plugins_manager.ensure_plugins_loaded()
        plugins = getattr(plugins_manager, "plugins", None) or []
    return next((plugin for plugin in plugins if plugin.name == name), None)


def loaded_policies() -> set[str]:
    """The modules of the cluster policies that this Airflow has registered."""
    from airflow import settings

    manager = getattr(settings, "get_policy_plugin_manager", lambda: getattr(settings, "POLICY_PLUGIN_MANAGER", None))()
    return {getattr(plugin, "__name__", "") for plugin in (manager.get_plugins() if manager else ())}
