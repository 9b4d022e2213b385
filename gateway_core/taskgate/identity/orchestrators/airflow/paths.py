"""Where Airflow's REST API keeps things. Authors choose the names of DAGs, runs and tasks: each is one segment."""

from __future__ import annotations

from urllib.parse import quote

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.faults import OrchestratorAway

_NO_NAMES = frozenset({"", ".", "..", "~"})
"""What would be another address: `~` means every DAG or run, and dots another resource."""


def addressable(task: TaskKey) -> bool:
    """Whether the API can be asked about this one; what it cannot be asked about does not exist."""
    return _NO_NAMES.isdisjoint({task.dag_id, task.run_id, task.task_id})


def dag_path(task: TaskKey) -> str:
    return f"/dags/{_part(task.dag_id)}"


def run_path(task: TaskKey) -> str:
    return f"{dag_path(task)}/dagRuns/{_part(task.run_id)}"


def instance_path(task: TaskKey) -> str:
    return f"{run_path(task)}/taskInstances/{_part(task.task_id)}/{task.map_index}"


def _part(value: str) -> str:
    if value in _NO_NAMES:
        raise OrchestratorAway("there is no such DAG, run or task")
    return quote(value, safe="")
