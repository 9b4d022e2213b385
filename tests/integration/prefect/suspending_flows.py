"""Flows that processes of their own run, with the connectors that a test has saved as `suspending`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from taskgate_prefect import GovernedAsyncSqlAlchemyConnector, GovernedSqlAlchemyConnector, request_approval

_UPDATE = "UPDATE orders SET status = 'seen' WHERE id = :id"
_TOUCH = "UPDATE customers SET city = city || '+' WHERE id = :id"


def mark(text: str) -> None:
    with Path(os.environ["TASKGATE_TEST_MARKS"]).open("a") as marks:
        marks.write(f"{text}\n")


@task
def prepares(number: int) -> int:
    mark(f"prepares {number}")
    return number


@task(retries=2)
def updates(order: int) -> int:
    mark(f"updates {order}")
    with GovernedSqlAlchemyConnector.load("suspending") as database:
        database.fetch_all("SELECT 1")
        return int(database.execute(_UPDATE, {"id": order}).rowcount)


@task
def given(database: GovernedSqlAlchemyConnector, order: int) -> int:
    mark(f"given {order}")
    return int(database.execute(_UPDATE, {"id": order}).rowcount)


@task
async def aupdates(order: int) -> int:
    mark(f"aupdates {order}")
    async with await GovernedAsyncSqlAlchemyConnector.load("suspending") as database:
        return int((await database.execute(_UPDATE, {"id": order})).rowcount)


@flow(persist_result=True)
def in_a_task() -> int:
    return updates(prepares(100))


@flow(persist_result=True)
def in_the_body() -> int:
    prepares(101)
    with GovernedSqlAlchemyConnector.load("suspending") as database:
        return int(database.execute(_UPDATE, {"id": 101}).rowcount)


@flow(persist_result=True)
async def asynchronously() -> list[int]:
    return await asyncio.gather(aupdates(102), aupdates(103))


@flow(persist_result=True, task_runner=ThreadPoolTaskRunner(max_workers=3))
def on_threads() -> list[int]:
    return updates.map([104, 105]).result() + [updates.submit(prepares.submit(106)).result()]


@flow(persist_result=True)
def with_a_block_as_parameter() -> int:
    database = GovernedSqlAlchemyConnector.load("suspending")
    first = given(database, 107)
    with database:
        return first + given(database, 108)


@flow(persist_result=True)
def after_a_write() -> int:
    with GovernedSqlAlchemyConnector.load("suspending") as database:
        database.execute(_TOUCH, {"id": 7})
        return int(database.execute(_UPDATE, {"id": 109}).rowcount)


@flow
def without_results() -> int:
    return updates(110)


@flow(persist_result=True, task_runner=ProcessPoolTaskRunner(max_workers=2))
def in_processes() -> list[int]:
    return [future.result() for future in (updates.submit(111), updates.submit(112))]


@task
def asks(order: int) -> None:
    mark(f"asks {order}")
    with GovernedSqlAlchemyConnector.load("suspending") as database:
        request_approval(database, _UPDATE, {"id": order})


@flow(persist_result=True)
def asking_up_front() -> int:
    asks(113)
    return updates(113)
