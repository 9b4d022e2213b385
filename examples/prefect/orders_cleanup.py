"""A flow that reaches the shop's database through Taskgate: its tasks load a block named `orders` and know no password.

Its results are kept (`persist_result`), so that a run of its deployment can be suspended while a human is asked, and
start again without repeating what was done.
"""

from __future__ import annotations

from prefect import flow, task

from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector
from taskgate_prefect import request_approval

DELETE = "DELETE FROM public.orders WHERE status = :status AND created_at < CAST(:before AS timestamptz)"


@task
def read_customers() -> list[list[object]]:
    """Allowed; e-mail addresses, card and social security numbers arrive masked."""
    with SqlAlchemyConnector.load("orders") as database:
        rows = database.fetch_all("SELECT id, name, email, card, ssn, city FROM public.customers ORDER BY id LIMIT 5")
    return [list(row) for row in rows]


@task
def drop_orders() -> None:
    """Refused by a rule, with the reason in the run's log."""
    with SqlAlchemyConnector.load("orders") as database:
        database.execute("DROP TABLE public.orders")


@task
def delete_cancelled_orders(before: str) -> int:
    """Waits until somebody approves exactly this statement with these parameters. The flow run is suspended meanwhile:
    no process waits, and a worker starts it again afterwards."""
    with SqlAlchemyConnector.load("orders") as database:
        return database.execute(DELETE, parameters={"status": "cancelled", "before": before}).rowcount


@task(persist_result=False)
def delete_shipped_orders(before: str) -> int:
    """Asks before anything is executed. This task's result is not kept, so the flow run is only paused: its process
    waits, and holds no connection."""
    shipped = {"status": "shipped", "before": before}
    with SqlAlchemyConnector.load("orders") as database:
        request_approval(database, DELETE, shipped)
        return database.execute(DELETE, parameters=shipped).rowcount


@flow(persist_result=True, result_serializer="json")
def orders_cleanup(cancelled_before: str = "2024-07-01", shipped_before: str = "2024-04-01") -> int:
    read_customers()
    drop_orders(return_state=True)  # fails, and the flow goes on
    return delete_cancelled_orders(cancelled_before) + delete_shipped_orders(shipped_before)
