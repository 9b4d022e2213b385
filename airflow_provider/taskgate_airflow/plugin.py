"""Airflow's plugin (entry point group `airflow.plugins`): ends an attempt's credentials with the attempt, and on an API
server whose secrets backend is ours, registers the middleware by which that backend knows which task asks. Links, the
nav entry and what is read of hooks' lineage are in `surface.py`.

It does nothing where no secrets backend of ours is configured. Without it, credentials of the worker form end when they
expire, and an API server denies every mapped connection.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from taskgate_airflow import attempt_end, task_report

SERVER_BACKEND = "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend"


class TaskgatePlugin(AirflowPlugin):
    """Registers the listener, and the middleware where it is needed."""

    name = "taskgate"
    listeners = [attempt_end, task_report]  # noqa: RUF012  Airflow's own declaration

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Called by Airflow once. Where nothing is configured it reads a few options and imports nothing."""
        from airflow.configuration import conf

        from taskgate_airflow.surface import extend

        extend(cls)
        if conf.get("secrets", "backend", fallback=None) == SERVER_BACKEND:
            from taskgate_airflow.api_server_middleware import ApiServerMiddleware

            cls.fastapi_root_middlewares = [{"name": "Taskgate", "middleware": ApiServerMiddleware}]
