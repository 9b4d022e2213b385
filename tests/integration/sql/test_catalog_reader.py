"""Reading a real catalogue, and noticing every kind of DDL."""

# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.errors import TargetFault
from taskgate.sql import catalog_json
from taskgate.sql.catalog_reader import CatalogReader
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog, target

SCRIPT = """
create schema app;
create table app.users (id int primary key, ssn text, dropped int, twice int generated always as (id * 2) stored);
alter table app.users drop column dropped;
create view app.v as select id, upper(ssn) as s from app.users where ssn <> '';
create materialized view app.m as select ssn from app.users;
create table app.logs (id int, at date) partition by range (at);
create table app.logs_1 partition of app.logs for values from ('2020-01-01') to ('2021-01-01');
create type app.mood as enum ('a');
create domain app.mail as text;
create type app.pair as (a int, b int);
create function app.lower(int) returns text language sql as 'select $1::text';
create operator app.=== (leftarg = int, rightarg = int, function = int4eq);
create function app.to_pair(text) returns app.pair language sql as 'select null::app.pair';
create cast (text as app.pair) with function app.to_pair(text);
create table app.ruled (id int);
create rule r as on insert to app.ruled do also delete from app.users;
create sequence app.seq;
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[Connection]:
    connection = new_database(postgres, "catalogue", SCRIPT)
    yield connection
    connection.close()


def test_what_is_read(postgres: PostgresServer, database: Connection) -> None:
    catalog = read_catalog(postgres, "catalogue")
    users = catalog.named("app", "users")
    assert users is not None
    assert [(column.name, column.number, column.type, column.generated) for column in users.columns] == [
        ("id", 1, "pg_catalog.int4", False),
        ("ssn", 2, "pg_catalog.text", False),
        ("twice", 4, "pg_catalog.int4", True),
    ]
    oid = database.execute("select 'app.users'::regclass::oid::int8").fetchone()
    assert oid == (users.oid,)
    assert catalog.origin("app.users.twice") == (users.oid, 4)
    assert catalog.database == "catalogue"
    assert catalog.schemas >= {"app", "public", "pg_catalog", "information_schema"}
    view = catalog.named("app", "v")
    assert view is not None
    assert view.definition is not None
    assert "app.users" in view.definition
    part, whole = catalog.named("app", "logs_1"), catalog.named("app", "logs")
    assert part is not None
    assert whole is not None
    assert part.parents == (whole.oid,)
    assert catalog.functions["lower"] == ("app",)
    assert catalog.functions["pg_sleep"] == ("pg_catalog",)
    assert "upper" not in catalog.functions
    assert catalog.operators == {"===": ("app",)}
    assert catalog.types["mood"] == {"app": "e"}
    assert catalog.types["mail"] == {"app": "d"}
    assert catalog.types["pair"] == {"app": "c"}
    assert "users" not in catalog.types
    assert catalog.casts == {"app.pair": "app.to_pair"}
    ruled = catalog.named("app", "ruled")
    assert ruled is not None
    assert ruled.rules
    assert catalog.named("pg_catalog", "pg_class") is not None
    assert catalog.closure(["app.users.ssn"]) == {"app.users.ssn", "app.v.s", "app.m.ssn"}
    assert catalog_json.loads(catalog_json.dumps(catalog)).version == catalog.version


def test_lineage_through_a_real_view(postgres: PostgresServer, database: Connection) -> None:
    (found,) = analyze("select s from v", read_catalog(postgres, "catalogue"), ("app",))
    assert found.complete
    assert found.outputs is not None
    assert found.outputs[0].sources == {"app.v.s", "app.users.ssn"}


DDL = [
    "create table t (a int)",
    "alter table t add column b int",
    "alter table t rename column a to c",
    "alter table t alter column c type bigint",
    "alter table t rename to t2",
    "create view v as select c from t2",
    "create or replace view v as select c, b from t2",
    "create or replace view v as select c, b + 1 as b from t2",
    "alter view v rename to v2",
    "create table p (a int) partition by list (a)",
    "create table p1 partition of p for values in (1)",
    "alter table p detach partition p1",
    "create function f(int) returns int language sql as 'select 1'",
    "alter function f(int) rename to g",
    "create schema s",
    "alter table t2 set schema s",
    "alter schema s rename to s2",
    "create type mood as enum ('a')",
    "create domain d as text",
    "create operator === (leftarg = int, rightarg = int, function = int4eq)",
    "create rule r as on insert to p do also nothing",
    "drop rule r on p",
    "alter table s2.t2 drop column b cascade",
    "drop operator === (int, int)",
    "drop function g(int)",
    "drop domain d",
    "drop table p1",
    "drop table s2.t2 cascade",
    "drop schema s2",
]


async def test_every_ddl_is_noticed(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "noticed")
    reader = CatalogReader(target(postgres, "noticed"), postgres.password)
    try:
        assert await reader.changed(), "nothing was read yet"
        version = (await reader.read()).version
        for statement in DDL:
            assert not await reader.changed(), f"before {statement}"
            connection.execute(statement.encode())
            assert await reader.changed(), statement
            read = await reader.read()
            assert read.version != version, statement
            version = read.version
    finally:
        await reader.close()
        connection.close()


async def test_what_is_no_ddl_is_not_noticed(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "unnoticed", "create table t (a int primary key)")
    reader = CatalogReader(target(postgres, "unnoticed"), postgres.password)
    try:
        await reader.read()
        for statement in (
            "insert into t select generate_series(1, 1000)",
            "create temp table x (a int)",
            "create temp view y as select 1 as a",
            "analyze",
            "vacuum",
            "drop table x",
            "update t set a = a + 1000",
        ):
            connection.execute(statement.encode())
            assert not await reader.changed(), statement
    finally:
        await reader.close()
        connection.close()


async def test_a_long_transaction_that_commits_after_a_younger_one(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "younger", "create table t (a int); create table u (a int)")
    import psycopg

    other = psycopg.connect(postgres.dsn("younger"))
    reader = CatalogReader(target(postgres, "younger"), postgres.password)
    try:
        other.execute("alter table t rename column a to b")
        connection.execute("alter table u rename column a to b")
        await reader.read()
        assert not await reader.changed()
        other.commit()
        assert await reader.changed()
    finally:
        await reader.close()
        other.close()
        connection.close()


async def test_rolled_back_ddl_leaves_the_version(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "rolled")
    reader = CatalogReader(target(postgres, "rolled"), postgres.password)
    try:
        before = (await reader.read()).version
        with connection.transaction(force_rollback=True):
            connection.execute("create table t (a int)")
        assert (await reader.read()).version == before
    finally:
        await reader.close()
        connection.close()


async def test_errors_are_the_targets_and_hold_no_secret(postgres: PostgresServer) -> None:
    reader = CatalogReader(target(postgres, "nowhere"), postgres.password)
    with pytest.raises(TargetFault) as fault:
        await reader.read()
    assert postgres.password not in f"{fault.value} {fault.value.detail} {reader!r}"
    wrong = CatalogReader(target(postgres, "postgres"), "wrong-secret")
    with pytest.raises(TargetFault) as fault:
        await wrong.changed()
    assert "wrong-secret" not in f"{fault.value} {fault.value.detail} {wrong!r}"


async def test_a_broken_connection_is_replaced(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "broken")
    reader = CatalogReader(target(postgres, "broken"), postgres.password)
    try:
        await reader.read()
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'taskgate catalogue' and datname = 'broken'"
        )
        await asyncio.sleep(0.1)
        assert not await reader.changed()
    finally:
        await reader.close()
        connection.close()


async def test_a_large_catalogue_is_cheap_to_watch(postgres18: PostgresServer) -> None:
    tables = ";".join(f"create table t{n} ({', '.join(f'c{c} int' for c in range(20))})" for n in range(1000))
    connection = new_database(postgres18, "large", tables)
    reader = CatalogReader(target(postgres18, "large"), postgres18.password)
    try:
        started = time.monotonic()
        await reader.read()
        read = time.monotonic() - started
        times = []
        for _ in range(5):
            started = time.monotonic()
            assert not await reader.changed()
            times.append(time.monotonic() - started)
        print(f"1,000 tables of 20 columns: read {read * 1000:.0f} ms, changed {min(times) * 1000:.1f} ms")
        assert min(times) < 0.5
    finally:
        await reader.close()
        connection.close()
