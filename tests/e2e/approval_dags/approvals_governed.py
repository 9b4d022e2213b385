"""The governed operator where a human has to decide, with retries, which a denial has to leave unused.

`approvals_trigger` waits in the triggerer; `approvals_page` asks on Airflow's own page, which its rule lets decide, and
`approvals_no_channel` as well, which its rule does not; `approvals_mapped` is three instances."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag
from approval_sql import CHANGE, PARAMS

from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

OPTIONS = {
    "schedule": None,
    "catchup": False,
    "params": PARAMS,
    "default_args": {
        "owner": "tests",
        "conn_id": "orders_db",
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
    },
}


@dag(**OPTIONS)
def approvals_trigger() -> None:
    GovernedSQLExecuteQueryOperator(task_id="changes", sql=CHANGE)


@dag(**OPTIONS)
def approvals_page() -> None:
    GovernedSQLExecuteQueryOperator(task_id="changes", sql=CHANGE, ask_in_airflow=True)


@dag(**OPTIONS)
def approvals_page_in_time() -> None:
    GovernedSQLExecuteQueryOperator(task_id="changes", sql=CHANGE, ask_in_airflow=True, approval_timeout=5)


@dag(**OPTIONS)
def approvals_no_channel() -> None:
    GovernedSQLExecuteQueryOperator(task_id="changes", sql=CHANGE, ask_in_airflow=True)


@dag(**OPTIONS)
def approvals_mapped() -> None:
    GovernedSQLExecuteQueryOperator.partial(
        task_id="changes", sql="UPDATE public.customers SET city = '{{ run_id }}' WHERE id = %(row)s"
    ).expand(parameters=[{"row": 191}, {"row": 192}, {"row": 193}])


approvals_trigger()
approvals_page()
approvals_page_in_time()
approvals_no_channel()
approvals_mapped()
