"""What real clients ask a server on their own is fully understood: psql's describe commands, pg_dump, the drivers'
introspection. The statements are the server's own log of them."""

# ruff: noqa: E501  (texts of clients)

from __future__ import annotations

import os
import re
import subprocess
import warnings
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql import settings
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import SessionNames
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import new_database, read_catalog

SCRIPT = """
create schema app;
create table app.users (id serial primary key, name text not null default 'x', mail text unique, tags text[]);
create table app.orders (id int primary key, user_id int references app.users on delete cascade, total numeric(10, 2));
create index on app.orders (total) where total > 0;
create view app.v as select id, upper(name) as n from app.users;
create type app.mood as enum ('a', 'b');
create type app.pair as (a int, b text);
create domain app.mail as text check (value <> '');
create table app.typed (m app.mood, p app.pair, d app.mail, j jsonb, u uuid, r int4range);
create table app.parts (id int) partition by range (id);
create table app.parts_1 partition of app.parts for values from (1) to (10);
create function app.f(int) returns int language sql as 'select 1';
comment on table app.users is 'people';
"""
_ENTRY = re.compile(
    r"^\S+ \S+ \S+ \[\d+\] (\S*) LOG:  (?:statement|execute [^:]*): (.*?)(?=^\S+ \S+ \S+ \[\d+\] )", re.S | re.M
)


@pytest.fixture(scope="module")
def catalog(postgres: PostgresServer) -> Catalog:
    new_database(postgres, "clients", SCRIPT).close()
    return read_catalog(postgres, "clients")


def logged(server: PostgresServer, offset: int) -> list[str]:
    """Statements since `offset` of the log, in order."""
    text = server.log_file.read_bytes()[offset:].decode() + "\n0 0 0 [0] "
    return [re.sub(r"\n\t", "\n", statement).rstrip("\n") for _, statement in _ENTRY.findall(text)]


def understood(catalog: Catalog, statements: list[str]) -> list[StatementFacts]:
    names = SessionNames()
    found = []
    for statement in statements:
        for facts in analyze(statement, catalog, ("app", "public"), names):
            assert facts.complete, f"{facts.notes}\n{statement}"
            for pair in facts.pairs:
                assert pair.resolved, f"{pair}\n{statement}"
                if pair.effect == "sql.set":
                    known = {*settings.ALLOWED, *settings.PINNED, *settings.READ_ONLY}
                    assert pair.object in known, statement
            names.confirm(names.stage(facts.name_changes))
            found.append(facts)
    return found


def environment(server: PostgresServer) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
        "PGPASSWORD": server.password, "PGDATABASE": "clients", "PGOPTIONS": "-c log_statement=all",
    }  # fmt: skip


PSQL = [
    "\\d", "\\d+ app.users", "\\d app.*", "\\d+ app.v", "\\dt+ app.*", "\\di+ app.*", "\\dv app.*", "\\ds app.*", "\\df app.*",
    "\\df+ app.f", "\\dn+", "\\dT+ app.*", "\\dD app.*", "\\du+", "\\l+", "\\dp app.*", "\\dx", "\\da", "\\do app.*", "\\dC", "\\db",
    "\\dc", "\\ddp", "\\dL", "\\dm", "\\dP", "\\dRp", "\\dy", "\\sf app.f", "\\sv app.v", "\\dO", "\\dE", "\\drds", "\\dFd",
]  # fmt: skip


def test_psql(postgres: PostgresServer, catalog: Catalog) -> None:
    offset = postgres.log_file.stat().st_size
    psql = str(postgres.bin / "psql")
    assert Path(psql).exists(), "an older psql asks for columns that a newer server does not have"
    commands = [part for command in PSQL for part in ("-c", command)]
    subprocess.run(
        [psql, "-X", "-q", *commands], env=environment(postgres), check=False, capture_output=True, timeout=60
    )
    statements = logged(postgres, offset)
    assert len(statements) > len(PSQL) - 8, "psql asked hardly anything"
    understood(catalog, statements)


def test_pg_dump(postgres15: PostgresServer) -> None:
    new_database(postgres15, "clients", SCRIPT).close()
    catalog = read_catalog(postgres15, "clients")
    offset = postgres15.log_file.stat().st_size
    dump = subprocess.run(
        [str(postgres15.bin / "pg_dump")], env=environment(postgres15), check=True, capture_output=True, timeout=60
    )
    assert b"CREATE TABLE app.users" in dump.stdout
    statements = logged(postgres15, offset)
    assert len(statements) > 20
    known = [
        statement
        for statement in statements
        # The one function pg_dump calls to serialise reading sequences and roles is not listed: policy decides.
        if "pg_sequence_last_value" not in statement and "pg_logical" not in statement
    ]
    understood(catalog, known)


async def test_asyncpg(postgres: PostgresServer, catalog: Catalog) -> None:
    offset = postgres.log_file.stat().st_size
    connection = await asyncpg.connect(postgres.dsn("clients"), server_settings={"log_statement": "all"})
    await connection.fetch("select * from app.typed where m = $1", "a")
    await connection.fetch("select * from app.users where tags && $1", ["x"])
    await connection.set_type_codec("mood", schema="app", encoder=str, decoder=str)
    async with connection.transaction(isolation="serializable", readonly=True):
        async for _ in connection.cursor("select * from app.users"):
            pass
    await connection.execute("select 1; select 2")
    await connection.reset()
    await connection.close()
    statements = logged(postgres, offset)
    assert len(statements) > 8
    reset = [statement for statement in statements if "pg_advisory_unlock_all" in statement]
    assert reset, "asyncpg's reset releases advisory locks"
    found = understood(catalog, [statement for statement in statements if statement not in reset])
    assert found
    # Its reset calls one function that is not listed; everything else in it is understood.
    for facts in analyze(reset[0], catalog, ("public",)):
        assert {pair.object for pair in facts.pairs if pair.effect == "sql.call"} <= {
            "pg_catalog.pg_advisory_unlock_all"
        }


def test_psycopg(postgres: PostgresServer, catalog: Catalog) -> None:
    offset = postgres.log_file.stat().st_size
    with psycopg.connect(postgres.dsn("clients"), options="-c log_statement=all") as connection:
        connection.execute("select * from app.users where id = %s", (1,))
        psycopg.types.TypeInfo.fetch(connection, "app.mood")
        psycopg.types.enum.EnumInfo.fetch(connection, "app.mood")
        psycopg.types.composite.CompositeInfo.fetch(connection, "app.pair")
        psycopg.types.range.RangeInfo.fetch(connection, "int4range")
        with connection.cursor("named") as cursor:
            cursor.execute("select * from app.users")
            cursor.fetchmany(2)
        with connection.transaction():
            connection.execute("select 1")
    statements = logged(postgres, offset)
    assert len(statements) > 8
    understood(catalog, statements)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_sqlalchemy(postgres: PostgresServer, catalog: Catalog, driver: str) -> None:
    offset = postgres.log_file.stat().st_size
    url = postgres.dsn("clients").replace("postgresql://", f"postgresql+{driver}://")
    engine = sqlalchemy.create_engine(url, connect_args={"options": "-c log_statement=all"})
    inspector = sqlalchemy.inspect(engine)
    warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)  # it does not know composite types
    for table in inspector.get_table_names("app"):
        inspector.get_columns(table, "app")
        inspector.get_foreign_keys(table, "app")
        inspector.get_indexes(table, "app")
        inspector.get_check_constraints(table, "app")
        inspector.get_unique_constraints(table, "app")
        inspector.get_pk_constraint(table, "app")
        inspector.get_table_comment(table, "app")
    inspector.get_view_names("app")
    inspector.get_view_definition("v", "app")
    inspector.get_schema_names()
    inspector.get_sequence_names("app")
    inspector.get_enums("app")  # type: ignore[attr-defined]
    inspector.get_domains("app")  # type: ignore[attr-defined]
    engine.dispose()
    statements = logged(postgres, offset)
    assert len(statements) > 15
    understood(catalog, statements)


JDBC = """
SELECT current_database() AS current_database, n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum) LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class') WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped
SELECT result.TABLE_CAT, result.COLUMN_NAME FROM (SELECT NULL AS TABLE_CAT, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME, information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE i.indisprimary ) result where result.A_ATTNUM = (result.KEYS).x
SET extra_float_digits = 3
SET application_name = 'PostgreSQL JDBC Driver'
SHOW TRANSACTION ISOLATION LEVEL
"""


def test_jdbc(catalog: Catalog) -> None:
    """The driver does not run here; these are the texts its sources hold."""
    understood(catalog, JDBC.strip().splitlines())
