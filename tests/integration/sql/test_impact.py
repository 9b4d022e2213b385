"""The planner's estimate of real statements."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Parameter
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader
from taskgate.sql.impact import Impact, estimate
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, target

SCRIPT = """
create schema app;
create table app.orders (id int primary key, region text);
create table app.lines (id int, order_id int references app.orders on delete cascade);
create function app.noop() returns trigger language plpgsql as 'begin return new; end';
create trigger t before delete on app.orders for each row execute function app.noop();
create function app.evil() returns int language plpgsql immutable as 'begin raise exception ''ran''; end';
insert into app.orders select n, 'r' || n % 4 from generate_series(1, 1000) n;
analyze app.orders;
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[Connection]:
    connection = new_database(postgres, "impact", SCRIPT)
    yield connection
    connection.close()


@pytest.fixture
async def reader(postgres: PostgresServer, database: Connection) -> AsyncIterator[CatalogReader]:
    reader = CatalogReader(target(postgres, "impact"), postgres.password)
    yield reader
    await reader.close()


async def ask(reader: CatalogReader, text: str, parameters: Sequence[Parameter] = ()) -> Impact:
    catalog: Catalog = await reader.read()
    return await estimate(reader, text, analyze(text, catalog, ("app",)), parameters, ("app",), catalog)


async def test_a_delete(reader: CatalogReader, database: Connection) -> None:
    found = await ask(reader, "delete from orders where region = 'r1'")
    assert found["operation"] == "Delete"
    assert 200 <= found["rows"] <= 300  # type: ignore[operator]
    assert found["relations"] == ["orders"]
    assert (found["triggers"], found["cascades"]) == (1, 1)
    assert "triggers" in found["not_counted"]  # type: ignore[operator]
    assert database.execute("select count(*) from app.orders").fetchone() == (1000,), "nothing ran"


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter(23, 0, b"10"),
        Parameter(23, 1, struct.pack(">i", 10)),
        Parameter(0, 0, b"10"),
    ],
)
async def test_bound_parameters_count(reader: CatalogReader, parameter: Parameter) -> None:
    found = await ask(reader, "delete from orders where id < $1", [parameter])
    assert 1 <= found["rows"] <= 30, found  # type: ignore[operator]


async def test_values_of_unknown_form_are_said_not_to_count(reader: CatalogReader) -> None:
    found = await ask(reader, "select * from orders where id < $1::numeric", [Parameter(1700, 1, b"\0\1\0\0")])
    assert "the values of some parameters" in found["not_counted"]  # type: ignore[operator]


@pytest.mark.parametrize("value", [b"'; delete from app.orders; --", b"\\'; drop table app.orders", b"it's"])
async def test_values_are_values(reader: CatalogReader, database: Connection, value: bytes) -> None:
    found = await ask(reader, "delete from orders where region = $1", [Parameter(25, 0, value)])
    assert "rows" in found
    assert database.execute("select count(*) from app.orders").fetchone() == (1000,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("truncate orders", "only a single"),
        ("select 1; select 2", "only a single"),
        ("select app.evil()", "not listed"),
        ("delete from nowhere", "42P01"),
        ("select * from orders where id = 'x'", "22P02"),
    ],
)
async def test_what_cannot_be_estimated_says_why(reader: CatalogReader, text: str, why: str) -> None:
    assert why in str((await ask(reader, text))["unavailable"])
    assert "rows" in await ask(reader, "select 1"), "the connection is still good"


async def test_two_statements_can_not_be_smuggled_in(reader: CatalogReader, database: Connection) -> None:
    """Even if the analysis said one, the server takes one."""
    catalog = await reader.read()
    one = analyze("select 1", catalog, ("app",))
    found = await estimate(reader, "select 1; delete from app.orders", one, (), ("app",), catalog)
    assert "42601" in str(found["unavailable"])
    assert database.execute("select count(*) from app.orders").fetchone() == (1000,)


async def test_it_leaves_nothing_prepared(reader: CatalogReader) -> None:
    await ask(reader, "select * from orders")
    await ask(reader, "select * from nowhere")
    async with reader.connection() as connection:
        names = await connection.fetch("select name from pg_prepared_statements where name like 'taskgate%'")
    assert names == []
