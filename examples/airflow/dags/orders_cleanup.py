"""Four tasks that reach the shop's database through Taskgate. Only the last one knows that there is such a thing.

The connection `orders_db` is stored nowhere: the worker's secrets backend answers with an endpoint of the gateway and a
credential that dies with the attempt (airflow.env).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag

from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

DELETE = "DELETE FROM public.orders WHERE status = %(status)s AND created_at < %(before)s::timestamptz"


@dag(schedule=None, catchup=False, tags=["demo"], default_args={"owner": "data-team", "conn_id": "orders_db"})
def orders_cleanup() -> None:
    # Allowed; e-mail addresses, card and social security numbers arrive masked.
    read_customers = SQLExecuteQueryOperator(
        task_id="read_customers",
        sql="SELECT id, name, email, card, ssn, city FROM public.customers ORDER BY id LIMIT 5",
        show_return_value_in_logs=True,
    )

    # Refused by a rule, with the reason in the task's log.
    drop_orders = SQLExecuteQueryOperator(task_id="drop_orders", sql="DROP TABLE public.orders")

    # Waits on its connection until somebody approves exactly this statement with these parameters.
    delete_stock = SQLExecuteQueryOperator(
        task_id="delete_old_orders_stock",
        sql=DELETE,
        parameters={"status": "cancelled", "before": "2024-07-01"},
        trigger_rule="all_done",
    )

    # Waits in the triggerer and holds no worker.
    delete_governed = GovernedSQLExecuteQueryOperator(
        task_id="delete_old_orders_governed",
        sql=DELETE,
        parameters={"status": "shipped", "before": "2024-04-01"},
        approval_timeout=timedelta(hours=1),
    )

    read_customers >> drop_orders >> delete_stock >> delete_governed


orders_cleanup()
