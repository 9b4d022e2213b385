"""Cluster policy (entry point group `airflow.policy`): rejects tasks that would take a governed connection elsewhere.

Inert until `[taskgate] enforce_policy` is on. It runs wherever a DAG is parsed, for each task, so it imports nothing of
any provider and looks at parameters only. Advisory by its nature: code of a DAG runs in the same process and can undo
it. The walls are that no password is stored, and the network.
"""

from __future__ import annotations

from typing import Any

from pluggy import HookimplMarker

hookimpl = HookimplMarker("airflow.policy")


@hookimpl
def task_policy(task: Any) -> None:
    """Raises AirflowClusterPolicyViolation, which keeps the whole DAG from being loaded, naming task, connection and
    parameter."""
    from taskgate_airflow.bypasses import governed_connections, problems

    governed = governed_connections()
    if governed is None:
        return
    if found := problems(task, governed):
        from airflow.exceptions import AirflowClusterPolicyViolation

        raise AirflowClusterPolicyViolation("\n".join(found))
