"""Ask for an approval before anything is executed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, overload

from taskgate.client import Approval
from taskgate.postgres_refusals import ApprovalPending, allowed_unasked
from taskgate_prefect.approvals.asking import as_pending
from taskgate_prefect.async_connector import GovernedAsyncSqlAlchemyConnector
from taskgate_prefect.connector import GovernedSqlAlchemyConnector, Parameters


@overload
def request_approval(
    database: GovernedSqlAlchemyConnector, operation: str, parameters: Parameters | None = None
) -> Approval | None: ...


@overload
def request_approval(
    database: GovernedAsyncSqlAlchemyConnector, operation: str, parameters: Parameters | None = None
) -> Awaitable[Approval | None]: ...


def request_approval(
    database: GovernedSqlAlchemyConnector | GovernedAsyncSqlAlchemyConnector,
    operation: str,
    parameters: Parameters | None = None,
) -> Any:
    """
    Have a human asked about a statement now, and wait as the connector's statements do. Nothing is changed (a
    read that needs nobody does run): the connector's `execute` with the same operation and parameters, by any task of
    this flow run, finds the grant.

    Of an asynchronous connector it returns an awaitable. In a flow's body it asks again where the run is suspended
    later and starts over: in a task whose result is kept it does not.

    Returns the approval, or None where policy lets the statement through without a human. Raises ApprovalRefused, the
    driver's error where policy denies it, and ApprovalPending where the block says `raise`.

    Example:
        ```python
        from prefect import flow, task
        from taskgate_prefect import GovernedSqlAlchemyConnector, request_approval

        DELETE = "DELETE FROM orders WHERE created_at < :day"

        @task
        def may_delete(day: str) -> None:
            with GovernedSqlAlchemyConnector.load("orders") as database:
                request_approval(database, DELETE, {"day": day})

        @flow
        def clean(day: str) -> None:
            may_delete(day)
            export_to_archive(day)
            with GovernedSqlAlchemyConnector.load("orders") as database:
                database.execute(DELETE, {"day": day})
        ```
    """
    if isinstance(database, GovernedAsyncSqlAlchemyConnector):
        return _arequest(database, operation, parameters)
    asking = database.asking(database.logger)
    try:
        with database.asking_session(asking.running) as ask:
            ask(operation, parameters)
    except Exception as error:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
        pending = _needs(error)
    else:
        return None
    return asking.up_front(pending, database.look(asking.running)) if pending else None


async def _arequest(
    database: GovernedAsyncSqlAlchemyConnector, operation: str, parameters: Parameters | None
) -> Approval | None:
    asking = database.asking(database.logger)
    try:
        async with database.asking_session(asking.running) as ask:
            await ask(operation, parameters)
    except Exception as error:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
        pending = _needs(error)
    else:
        return None
    return await asking.aup_front(pending, database.alook(asking.running)) if pending else None


def _needs(error: Exception) -> ApprovalPending | None:
    """What a human has to be asked for; None where nobody has to. Raises anything else."""
    pending = as_pending(error)
    if pending is None and not allowed_unasked(error):
        raise error
    return pending
