"""Whether tasks come back for what a human approves: a stock task fails when the rule's hold is over, and its retry
finds the grant."""

from __future__ import annotations

from collections.abc import Iterator

from taskgate_airflow.bypasses import TABLES, GovernedConnections
from taskgate_airflow.compat.metadata import ScheduledTask, scheduled_tasks, stored_connections
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Form, Setup
from taskgate_airflow.options import option

_NAMED = 5
_COME_BACK = ("GovernedSQLExecuteQueryOperator", "_GovernedSQLDecoratedOperator")  # they wait by themselves


def retries(setup: Setup) -> Iterator[Finding]:
    if setup.form is Form.NONE:
        return
    default = option("default_task_retries", "core") or "0"
    try:
        stored = [one.conn_id for one in stored_connections() if one.conn_type.startswith("governed_")]
        governed = GovernedConnections({*setup.connections, *stored})
        parameters = {bypass.connection for table in TABLES for bypass in table}
        without = [one for one in scheduled_tasks(sorted(parameters)) if _fails_for_good(one, governed)]
    except Exception as error:  # noqa: BLE001  a worker has no way there, and the driver's text may hold a password
        yield Finding(
            "retries", Level.WARN, f"DAGs cannot be read from here ({type(error).__name__})",
            "fine on a worker; run this where `airflow dags list` works",
        )  # fmt: skip
        return
    if not without:
        yield Finding("retries", Level.OK, "every stock task with a governed connection is retried")
        return
    named = ", ".join(f"{one.dag_id}.{one.task_id}" for one in without[:_NAMED])
    more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    yield Finding(
        "retries", Level.WARN,
        f"no retries ([core] default_task_retries is {default}): {named}{more}. Where a rule wants a human who takes "
        "longer than its hold, they fail for good",
        "give them retries=1 or more, or use GovernedSQLExecuteQueryOperator",
    )  # fmt: skip


def _fails_for_good(task: ScheduledTask, governed: GovernedConnections) -> bool:
    return (
        task.retries == 0
        and task.task_type not in _COME_BACK
        and any(conn_id in governed for conn_id in task.connections)
    )
