"""`@task.governed_sql`: a function returns the SQL; while a human decides about it no worker is held.

@task.governed_sql(conn_id="orders_db", approval_timeout=timedelta(hours=1))
def delete_old_orders(day: str) -> str:
    return f"DELETE FROM public.orders WHERE created_at < '{day}'"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import task_decorator_factory

from taskgate_airflow.compat import sql_decorated_operator
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

if TYPE_CHECKING:
    from airflow.providers.common.sql.decorators.sql import _SQLDecoratedOperator
else:
    _SQLDecoratedOperator = sql_decorated_operator()


class _GovernedSQLDecoratedOperator(_SQLDecoratedOperator, GovernedSQLExecuteQueryOperator):
    """`@task.sql`'s operator with the governed one in the stock one's place.

    The function runs again when the task resumes: it has to return the same SQL, which is what was approved."""

    custom_operator_name = "@task.governed_sql"


def governed_sql_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """As `@task.sql`, with everything GovernedSQLExecuteQueryOperator takes. For PostgreSQL connections that are
    mapped to a target.

    :param python_callable: the function; it returns a statement, or a list of them.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_GovernedSQLDecoratedOperator, **kwargs
    )
