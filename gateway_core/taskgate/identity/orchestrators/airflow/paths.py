"""Where Airflow's REST API keeps things. Authors choose the names of DAGs, runs and tasks: each is one segment."""

from __future__ import annotations

from urllib.parse import quote

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.faults import OrchestratorAway


def dag_path(task: TaskKey) -> str:
    return f"/dags/{_part(task.dag_id)}"


def run_path(task: TaskKey) -> str:
    return f"{dag_path(task)}/dagRuns/{_part(task.run_id)}"


def instance_path(task: TaskKey) -> str:
    return f"{run_path(task)}/taskInstances/{_part(task.task_id)}/{task.map_index}"


def _part(value: str) -> str:
    """`~` would mean every DAG or run, and dots another resource."""
    if value in ("", ".", "..", "~"):
        raise OrchestratorAway("there is no such DAG, run or task")
    return quote(value, safe="")
