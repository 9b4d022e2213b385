"""Name resolution and the setting's syntax against the server's own."""

from __future__ import annotations

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql import search_path
from tests.integration.sql.conftest import new_database, read_catalog

SCRIPT = """
create schema a; create schema b; create schema "Mixed Case"; create schema "quo""ted"; create schema postgres;
create table a.t (x int); create table b.t (x int); create table public.t (x int); create table "Mixed Case".t (x int);
create table "quo""ted".t (x int); create table postgres.t (x int); create table b.pg_class (x int);
"""
PATHS = [
    "public", "a, b", "b,a", "B, public", '"Mixed Case"', '"quo""ted", a', '"$user", public', "gone, b",
    "b, pg_catalog",
    "", '""', "pg_catalog, b", "pg_temp, a", '  a  ,  "b"  ',
]  # fmt: skip


def test_resolution(postgres: PostgresServer) -> None:
    connection = new_database(postgres, "paths", SCRIPT)
    catalog = read_catalog(postgres, "paths")
    for setting in PATHS:
        connection.execute("select set_config('search_path', %s, false)", (setting,))
        for name in ("t", "pg_class", "nothing"):
            row = connection.execute(
                "select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
                "on n.oid = c.relnamespace where c.oid = pg_catalog.to_regclass(%s)",
                (name,),
            ).fetchone()
            found = catalog.resolve((name,), search_path.parse(setting, "postgres"))
            assert (found.full_name if found else None) == (row[0] if row else None), (setting, name)
    connection.close()


@pytest.mark.parametrize("setting", ['"unclosed', "a b"])
def test_settings_the_server_refuses(postgres18: PostgresServer, setting: str) -> None:
    connection = new_database(postgres18, "paths2")
    with pytest.raises(psycopg.Error):
        connection.execute("select set_config('search_path', %s, false)", (setting,))
    connection.close()
