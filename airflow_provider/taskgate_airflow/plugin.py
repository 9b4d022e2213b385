"""Ends an attempt's credentials with the attempt: Airflow's plugin (entry point group `airflow.plugins`).

Without it they end when they expire. It does nothing where the secrets backend is not ours, or has issued nothing.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from taskgate_airflow import attempt_end, task_report


class TaskgatePlugin(AirflowPlugin):
    """Registers the listener."""

    name = "taskgate"
    listeners = [attempt_end, task_report]  # noqa: RUF012  Airflow's own declaration

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Links, the nav entry and the reader of lineage, where they are configured."""
        from taskgate_airflow.surface import extend

        extend(cls)
