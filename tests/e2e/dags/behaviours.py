"""Tasks for tests/e2e/test_airflow.py: each shows one behaviour of the provider in Airflow's own task runner."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import Connection, dag, task

from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator
from taskgate_airflow.secrets import TaskgateSecretsBackend
from taskgate_airflow.sensors import ApprovalSensor

OUT = Path(os.environ["TASKGATE_TEST_OUT"])
DELETE = "DELETE FROM public.orders WHERE id = %(id)s"


def _note_secrets() -> None:
    """The test greps for what only this process ever knows: every password that was handed to it."""
    original = TaskgateSecretsBackend.get_connection

    def noting(self: TaskgateSecretsBackend, *arguments: Any, **named: Any) -> Any:
        connection = original(self, *arguments, **named)
        if connection is not None:
            with (OUT / "secrets").open("a") as file:
                file.write(f"{connection.password}\n")
        return connection

    TaskgateSecretsBackend.get_connection = noting  # type: ignore[method-assign]


_note_secrets()


def _ask_again(context: Any) -> None:
    """A failure callback is no task any more: a governed connection is refused there."""
    try:
        Connection.get("orders_db")
    except Exception as error:  # noqa: BLE001  whatever it is, the test looks at it
        (OUT / "callback").write_text(f"{type(error).__name__}: {error}")
    else:
        (OUT / "callback").write_text("handed out")


@dag(schedule=None, catchup=False, default_args={"owner": "tests"})
def behaviours() -> None:
    GovernedSQLExecuteQueryOperator(
        task_id="denied", conn_id="orders_db", sql=DELETE, parameters={"id": 1}, retries=2, retry_delay=0
    )
    GovernedSQLExecuteQueryOperator(
        task_id="several",
        conn_id="orders_db",
        sql=[
            "DELETE FROM public.orders WHERE id = 2 RETURNING id",
            "SELECT count(*) FROM public.orders WHERE id <= 3",
            "DELETE FROM public.orders WHERE id = 3 RETURNING id",
        ],
    )
    GovernedSQLExecuteQueryOperator(task_id="ungoverned", conn_id="direct_db", sql="SELECT 1", retries=2, retry_delay=0)
    SQLExecuteQueryOperator(task_id="unmapped", conn_id="direct_db", sql="SELECT current_user")
    SQLExecuteQueryOperator(
        task_id="callback", conn_id="orders_db", sql="SELECT no_such", on_failure_callback=_ask_again
    )
    ApprovalSensor(task_id="waits_for_another", approval_id=os.environ.get("TASKGATE_TEST_APPROVAL", "apr_none"))

    @task
    def in_a_thread() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(Connection.get("orders_db").login or ""))
        thread.start()
        thread.join(30)
        return found[0][:3]

    in_a_thread()


@dag(schedule=None, catchup=False, default_args={"owner": "tests"})
def reads() -> None:
    SQLExecuteQueryOperator(task_id="read", conn_id="orders_db", sql="SELECT count(*) FROM public.orders")


behaviours()
reads()
