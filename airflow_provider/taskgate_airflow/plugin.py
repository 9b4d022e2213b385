"""Ends an attempt's credentials with the attempt: Airflow's plugin (entry point group `airflow.plugins`).

Without it they end when they expire. It does nothing where the secrets backend is not ours, or has issued nothing.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from taskgate_airflow import attempt_end


class TaskgatePlugin(AirflowPlugin):
    """Registers the listener."""

    name = "taskgate"
    listeners = [attempt_end]  # noqa: RUF012  Airflow's own declaration
