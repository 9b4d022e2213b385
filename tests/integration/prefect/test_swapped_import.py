"""A flow of prefect-sqlalchemy's and the same flow governed: one import apart, with equal results."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect_sqlalchemy import SqlAlchemyConnector

from tests.integration.prefect.governed_prefect import GovernedPrefect

STOCK = '''\
from prefect import flow, task
from prefect_sqlalchemy import SqlAlchemyConnector


@task
def add_customers(customers: list[dict]) -> None:
    with SqlAlchemyConnector.load("shop") as database:
        database.execute(
            "INSERT INTO customers (id, name, email, card, ssn) VALUES (:id, 'Marvin', 'm@example.org', '', '')",
            parameters=customers[0],
        )
        database.execute_many(
            "UPDATE customers SET name = :name WHERE id = :id",
            seq_of_parameters=[{"id": one["id"], "name": f"Ford {one['id']}"} for one in customers],
        )


@task
def read() -> dict:
    with SqlAlchemyConnector.load("shop", validate=False) as database:
        names = "SELECT id, name FROM customers WHERE id > :id ORDER BY id"
        found = {
            "one": database.fetch_one(names, parameters={"id": 0}),
            "next": database.fetch_one(names, parameters={"id": 0}),
            "many": database.fetch_many(names, parameters={"id": 0}, size=2),
            "by default": database.fetch_many(names, parameters={"id": 0}),
            "streamed": database.fetch_many("SELECT id FROM orders ORDER BY id", size=3, stream_results=True),
            "all": len(database.fetch_all("SELECT * FROM orders")),
            "none": database.fetch_one("SELECT id FROM orders WHERE false"),
        }
        database.reset_connections()
        found["again"] = database.fetch_one(names, parameters={"id": 0})
        with database.get_connection(begin=False) as connection:
            found["connection"] = connection.exec_driver_sql("SELECT 1").scalar()
        with database.get_client("engine").connect() as connection:
            found["engine"] = connection.exec_driver_sql("SELECT 2").scalar()
        return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}


@flow
def shop(customers: list[dict]) -> dict:
    add_customers(customers)
    return read()
'''

GOVERNED = '''\
from prefect import flow, task
from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector


''' + STOCK.partition("\n\n\n")[2]


def _module(folder: Path, name: str, text: str) -> ModuleType:
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_one_import_apart() -> None:
    changed = [line for line in difflib.ndiff(STOCK.splitlines(), GOVERNED.splitlines()) if line[0] in "+-"]
    assert changed == [
        "- from prefect_sqlalchemy import SqlAlchemyConnector",
        "+ from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector",
    ]


def test_both_give_the_same(governed: GovernedPrefect, tmp_path: Path) -> None:
    direct = governed.shop.direct_uri.replace("postgres://", "postgresql+psycopg://")
    SqlAlchemyConnector(connection_info=direct).save("shop", overwrite=True)
    governed.gateway().save("taskgate", overwrite=True)
    governed.connector().save("shop", overwrite=True)
    results: list[Any] = []
    for number, (name, text) in enumerate((("stock_shop", STOCK), ("governed_shop", GOVERNED))):
        ids = [{"id": 9000 + number}, {"id": 1}]
        results.append(_module(tmp_path, name, text).shop(ids))
        assert governed.count(f"name = 'Ford {ids[0]['id']}'", "customers") == 1
    assert results[0] == results[1]
    assert results[1]["one"] != results[1]["next"]
    assert results[1]["one"] == results[1]["again"]
