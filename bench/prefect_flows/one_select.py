"""What is measured: tasks that open a connector, run one statement and close it, the stock one and the governed one in
turn, in one flow run: at once after another, so that Prefect still records the one while the next begins, or apart."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from prefect import flow, task
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver

from taskgate_prefect import GovernedSqlAlchemyConnector, TaskgateGateway

_SELECT = "SELECT count(*) FROM public.orders"


def stock() -> SqlAlchemyConnector:
    return SqlAlchemyConnector(
        connection_info=ConnectionComponents(
            driver=SyncDriver.POSTGRESQL_PSYCOPG2, username=os.environ["SHOP_USER"], host="127.0.0.1",
            password=os.environ["SHOP_PASSWORD"], port=int(os.environ["SHOP_PORT"]), database=os.environ["SHOP_DB"],
        )
    )  # fmt: skip


def governed() -> GovernedSqlAlchemyConnector:
    """With a key where the environment has one, else as the run that its worker has registered."""
    gateway = TaskgateGateway()
    if key := os.environ.get("SERVICE_KEY"):
        gateway = TaskgateGateway(url=os.environ["TASKGATE_URL"], source=os.environ["TASKGATE_SOURCE"], api_key=key)
    return GovernedSqlAlchemyConnector(gateway=gateway, target="orders-db", driver="psycopg2")


@task
def select_stock() -> int:
    with stock() as database:
        return int(database.fetch_one(_SELECT)[0])


@task
def select_governed() -> int:
    with governed() as database:
        return int(database.fetch_one(_SELECT)[0])


@flow
def one_select(rounds: int, pause: float, result: str) -> None:
    took: dict[str, list[float]] = {"stock": [], "governed": []}
    tasks = {"stock": select_stock, "governed": select_governed}
    for number in range(rounds):
        for name in sorted(tasks, reverse=bool(number % 2)):
            time.sleep(pause)
            started = time.perf_counter()
            tasks[name]()
            took[name].append(time.perf_counter() - started)
    Path(result).write_text(json.dumps(took))
