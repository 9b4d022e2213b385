"""Flows whose statements wait for a human, with connectors that hold no key but where the worker's environment has
one."""

from __future__ import annotations

import os
from typing import Literal

from noting import note
from prefect import flow, task

from taskgate_prefect import GovernedSqlAlchemyConnector, TaskgateGateway

DELETE = "DELETE FROM orders WHERE id = :id"
Wait = Literal["automatic", "pause", "raise"]


def gateway() -> TaskgateGateway:
    if key := os.environ.get("TASKGATE_API_KEY"):
        return TaskgateGateway(url=os.environ["TASKGATE_URL"], source=os.environ["TASKGATE_SOURCE"], api_key=key)
    return TaskgateGateway()


def deletes(order: int, wait: Wait) -> int:
    note("try", order=order)
    with GovernedSqlAlchemyConnector(gateway=gateway(), target="orders-db", approval_wait=wait) as database:
        return int(database.execute(DELETE, {"id": order}).rowcount)


@task
def prepares(order: int) -> int:
    note("prepares", order=order)
    return order


@task
def deletes_once(order: int, wait: Wait) -> int:
    return deletes(order, wait)


@task(retries=20, retry_delay_seconds=1)
def deletes_in_tries(order: int) -> int:
    return deletes(order, "raise")


@flow(persist_result=True)
def cleans(order: int, wait: Wait = "automatic") -> None:
    note("deleted", rows=deletes_once(prepares(order), wait))


@flow
def tries_again(order: int) -> None:
    note("deleted", rows=deletes_in_tries(order))
